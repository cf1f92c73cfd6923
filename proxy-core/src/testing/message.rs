//! A message as it came over the wire, read without the engine's own parser.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

/// A request or response, byte for byte, with its body decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    head: String,
    body: Vec<u8>,
    trailers: String,
}

impl Message {
    /// Start line and fields as they came, with the empty line.
    pub fn head(&self) -> &str {
        &self.head
    }

    /// The first line, without its end.
    pub fn start_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// The status of a response.
    ///
    /// # Panics
    /// If this is a request.
    pub fn status(&self) -> u16 {
        let word = self.head.split(' ').nth(1).unwrap_or_default();
        word.parse().unwrap_or_else(|_| panic!("no status in {:?}", self.start_line()))
    }

    /// The value of the first field of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Every field: name as it was spelled, and value.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        fields(&self.head[self.start_line().len()..])
    }

    /// The body, without its framing.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    ///
    /// # Panics
    /// If it is none.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// The value of a trailer field.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        fields(&self.trailers).find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some()
    }

    fn has_no_body(&self) -> bool {
        matches!(self.status(), 100..200 | 204 | 304)
    }
}

fn fields(lines: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = lines.split("\r\n").filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name, value.trim()))
}

/// A stream, and what was read from it beyond the last message.
#[derive(Debug)]
pub(super) struct Wire<S> {
    pub(super) stream: S,
    pub(super) ahead: Vec<u8>,
    seen: Seen,
}

/// Everything that was ever read from a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    fn add(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    pub(super) fn new(stream: S, seen: Seen) -> Self {
        Wire { stream, ahead: Vec::new(), seen }
    }

    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Reads more; `false` at the end.
    ///
    /// Cancel safe.
    pub(super) async fn fill(&mut self) -> bool {
        let mut block = vec![0; 16 * 1024];
        let count = self.stream.read(&mut block).await.unwrap_or(0);
        self.ahead.extend_from_slice(&block[..count]);
        self.seen.add(&block[..count]);
        count > 0
    }

    /// `None` where the stream ends before that many bytes.
    pub(super) async fn read(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.ahead.drain(..count).collect())
    }

    pub(super) async fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.ahead)
    }

    /// Everything up to and with `end`.
    async fn read_through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.ahead.windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return Some(self.ahead.drain(..at + end.len()).collect());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    pub(super) async fn read_head(&mut self) -> Option<Message> {
        let head = self.read_through(b"\r\n\r\n").await?;
        Some(Message { head: String::from_utf8_lossy(&head).into_owned(), ..Message::default() })
    }

    pub(super) async fn read_request(&mut self) -> Option<Message> {
        let head = self.read_head().await?;
        match head.header("content-length").is_some() || head.is_chunked() {
            true => self.read_body(head).await,
            false => Some(head),
        }
    }

    /// Reads a response, the answer to HEAD where `bodiless`.
    pub(super) async fn read_response(&mut self, bodiless: bool) -> Option<Message> {
        let head = self.read_head().await?;
        match bodiless || head.has_no_body() {
            true => Some(head),
            false => self.read_body(head).await,
        }
    }

    async fn read_body(&mut self, mut message: Message) -> Option<Message> {
        if message.is_chunked() {
            return self.read_chunks(message).await;
        }
        message.body = match message.header("content-length").map(str::parse) {
            Some(Ok(length)) => self.read(length).await?,
            Some(Err(_)) => panic!("Content-Length is no number in {:?}", message.head),
            None => self.read_to_end().await,
        };
        Some(message)
    }

    async fn read_chunks(&mut self, mut message: Message) -> Option<Message> {
        loop {
            let line = self.read_through(b"\r\n").await?;
            let text = std::str::from_utf8(&line).unwrap_or_default().trim_end();
            let size = usize::from_str_radix(text, 16).unwrap_or_else(|_| panic!("no chunk size: {text:?}"));
            if size == 0 {
                break;
            }
            message.body.extend(self.read(size).await?);
            assert_eq!(self.read(2).await?, b"\r\n", "a chunk ends in CRLF");
        }
        loop {
            let line = self.read_through(b"\r\n").await?;
            if line == b"\r\n" {
                return Some(message);
            }
            message.trailers.push_str(&String::from_utf8_lossy(&line));
        }
    }
}
