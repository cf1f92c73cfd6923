//! A client that sends whatever frames it likes.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

/// How long a read may bring nothing: longer than every default deadline of a proxy.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// A connection that was opened with the preface and empty settings.
#[derive(Debug)]
pub struct Frames<S = DuplexStream>(S);

/// A frame (RFC 9113 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What follows its head.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Frame { kind, flags, stream, payload: payload.into() }
    }

    /// HEADERS with a whole field block.
    pub fn headers(stream: u32, end: bool, fields: &[u8]) -> Self {
        Frame::new(1, 4 | u8::from(end), stream, fields)
    }

    /// DATA.
    pub fn data(stream: u32, end: bool, data: &[u8]) -> Self {
        Frame::new(0, u8::from(end), stream, data)
    }

    /// RST_STREAM with CANCEL.
    pub fn reset(stream: u32) -> Self {
        Frame::new(3, 0, stream, [0, 0, 0, 8])
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let length = (self.payload.len() as u32).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], self.kind, self.flags];
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The error code of RST_STREAM or GOAWAY.
    ///
    /// # Panics
    /// If it is neither.
    pub fn code(&self) -> u32 {
        let at = match self.kind {
            3 => 0,
            7 => 4,
            _ => panic!("{self:?} has no code"),
        };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

/// A field block: every field literal, without an index and uncompressed (RFC 7541 §6.2.2).
pub fn fields<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend(text.bytes());
        }
    }
    block
}

/// RFC 7541 §5.1, with a prefix of seven bits.
fn length(length: usize, block: &mut Vec<u8>) {
    let Some(mut rest) = length.checked_sub(127) else { return block.push(length as u8) };
    block.push(127);
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

impl Frames {
    /// Opens the connection as a server: with empty settings, and the client's acknowledged.
    ///
    /// # Panics
    /// If no client's preface comes.
    ///
    /// # Cancel safety
    /// The connection is lost.
    pub async fn accept(mut stream: DuplexStream) -> Self {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.expect("a preface");
        let mut frames = Frames(stream);
        frames.send(&Frame::new(4, 0, 0, [])).await;
        frames.send(&Frame::new(4, 1, 0, [])).await;
        frames
    }

    /// Its two sides apart.
    pub fn split(self) -> (Frames<ReadHalf<DuplexStream>>, Frames<WriteHalf<DuplexStream>>) {
        let (read, write) = tokio::io::split(self.0);
        (Frames(read), Frames(write))
    }

    /// Opens the connection.
    ///
    /// # Cancel safety
    /// The connection is lost.
    pub async fn open(stream: DuplexStream) -> Self {
        let mut frames = Frames(stream);
        frames.send_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        frames.send(&Frame::new(4, 0, 0, [])).await;
        frames
    }
}

impl<S: AsyncWrite + Unpin> Frames<S> {
    /// Sends bytes; those that the server does not take any more are lost.
    ///
    /// # Cancel safety
    /// Some of them may have been sent.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// Sends a frame, which is lost where the server takes nothing any more.
    ///
    /// # Cancel safety
    /// A part of it may have been sent.
    pub async fn send(&mut self, frame: &Frame) {
        self.send_bytes(&frame.bytes()).await;
    }

    /// Sends frames for as long as the server takes them, at most so many, reading nothing.
    ///
    /// # Cancel safety
    /// Some of them may have been sent.
    pub async fn flood(&mut self, count: usize, mut frame: impl FnMut(u32) -> Vec<Frame>) {
        for number in 0..count {
            let bytes: Vec<u8> = frame(number as u32).iter().flat_map(Frame::bytes).collect();
            if self.0.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Frames<S> {
    /// The next frame; `None` at the end of the connection.
    ///
    /// # Panics
    /// If nothing comes for a day of the runtime's time.
    ///
    /// # Cancel safety
    /// A part of it may be lost.
    pub async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame::new(head[3], head[4], stream, payload))
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the server says something, or closes the connection")
    }

    /// The next frame of this type; `None` at the end of the connection.
    ///
    /// # Panics
    /// If nothing comes for a day of the runtime's time.
    ///
    /// # Cancel safety
    /// A part of it may be lost.
    pub async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The code of the GOAWAY before the end of the connection, where there is one.
    ///
    /// # Panics
    /// If nothing comes for a day of the runtime's time.
    ///
    /// # Cancel safety
    /// Some frames may be lost.
    pub async fn goodbye(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.next().await {
            if frame.kind == 7 {
                code = Some(frame.code());
            }
        }
        code
    }
}
