//! Parts of files on their way out.

use std::{
    fs::File,
    future::{Future, poll_fn},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    net::TcpStream,
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    Error, Side, Transferred,
    buffer::{Buffer, DEFAULT_SIZE},
    error::Fault,
};

#[cfg(all(target_os = "linux", not(proxy_portable)))]
mod kernel;
#[cfg(not(all(target_os = "linux", not(proxy_portable))))]
#[path = "file/portable.rs"]
mod kernel;

/// How much is known, or brought, to be in memory at a time: one `sendfile` takes a fraction of a millisecond for
/// it, and asking the kernel about it costs nothing beside that.
const WINDOW: u64 = 1024 * 1024;

/// System calls per poll before other tasks get a turn: at most 4 MiB.
const ROUNDS: usize = 4;

/// Sends a part of a file to a TCP socket, on Linux without copying the bytes through this process.
///
/// ```no_run
/// # async fn example(socket: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// let file = std::fs::File::open("video.mp4")?;
/// proxy_zerocopy::send_file(file, 1000..2000, &socket).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As [`FileRange::poll_send`]. [`Error::transferred`] says how many bytes were taken.
///
/// # Panics
///
/// If the file has to be read from its disk outside of a Tokio runtime.
///
/// # Cancel safety
///
/// Not cancel safe: dropping the future loses the count. Keep a [`FileRange`] where that matters.
pub async fn send_file(file: impl Into<Arc<File>>, range: Range<u64>, to: &TcpStream) -> Result<(), Error> {
    let mut part = FileRange::new(file, range);
    poll_fn(|cx| part.poll_send(cx, to)).await
}

/// A part of a file that goes to a TCP socket, or is read where bytes are needed.
///
/// [`poll_send`](Self::poll_send) moves it within the kernel; [`poll_read`](Self::poll_read) shows it
/// piece by piece, for a stream that encrypts. Both may be used in turn.
///
/// Neither waits for a disk in the task that polls: what the kernel does not have in memory is read
/// by a blocking thread of the runtime first, up to 1 MiB at a time. Whether a piece is in memory is asked of its
/// first and its last byte: where only the middle of it was evicted, a poll waits for that.
#[derive(Debug)]
pub struct FileRange {
    file: Arc<File>,
    /// What is not read yet.
    left: Range<u64>,
    /// Up to here the bytes are in memory.
    warm: u64,
    /// A thread brings more of them there, up to the number it returns.
    warming: Option<JoinHandle<io::Result<u64>>>,
    /// Read, and not taken yet; lent while it holds something.
    buffer: Option<Buffer>,
    moved: u64,
    /// The file system cannot send.
    is_copied: bool,
}

impl FileRange {
    /// The bytes from `range.start` up to but without `range.end`.
    #[must_use]
    pub fn new(file: impl Into<Arc<File>>, range: Range<u64>) -> Self {
        let (file, warm) = (file.into(), range.start);
        Self { file, left: range, warm, warming: None, buffer: None, moved: 0, is_copied: false }
    }

    /// Bytes that nobody has taken yet.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.unread() + self.data().len() as u64
    }

    /// Bytes that the socket has taken, or that were consumed.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Whether it waits for the disk.
    #[must_use]
    pub fn is_waiting_for_disk(&self) -> bool {
        self.warming.is_some()
    }

    /// What was read and not consumed.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], Buffer::pending)
    }

    /// The first `count` bytes of [`data`](Self::data) are done with.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.data().len(), "only what was read can be consumed");
        self.moved += count as u64;
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(count);
        }
        self.buffer = self.buffer.take().filter(|buffer| !buffer.is_empty());
    }

    /// Gives the memory of [`data`](Self::data) back: it is read again when it is asked for.
    pub fn release(&mut self) {
        self.left.start -= self.data().len() as u64;
        self.buffer = None;
    }

    /// Reads until there is [`data`](Self::data), and says how much; 0 is the end.
    ///
    /// # Errors
    ///
    /// Reading failed, or the file has become shorter than the range. Always on [`Side::A`].
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Error>> {
        let result = match self.data().len() {
            0 if self.unread() > 0 => ready!(self.poll_fill(cx)),
            length => Ok(length),
        };
        Poll::Ready(result.map_err(|fault| self.error(fault)))
    }

    /// Sends what the socket takes now; ready once all of it is sent, and then again at each later call. A poll
    /// does a bounded amount of work and, if there is more to do, wakes its task.
    ///
    /// Registers with [`TcpStream::poll_write_ready`], which remembers the latest task only.
    ///
    /// # Errors
    ///
    /// Reading failed, or the file has become shorter than the range: on [`Side::A`], the file. Writing failed:
    /// on [`Side::B`], the socket.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<Result<(), Error>> {
        for _ in 0..ROUNDS {
            if self.left() == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Err(fault) = ready!(self.poll_round(cx, to)) {
                return Poll::Ready(Err(self.error(fault)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One attempt to send. Ready also if nothing was sent: then readiness is cleared, and the next round
    /// registers the task.
    fn poll_round(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<Result<(), Fault>> {
        if self.is_copied && self.data().is_empty() {
            ready!(self.poll_fill(cx))?;
        }
        if !self.data().is_empty() {
            ready!(to.poll_write_ready(cx)).map_err(Fault::Write)?;
            return Poll::Ready(self.write(to));
        }
        ready!(self.poll_warm(cx)).map_err(Fault::Read)?;
        ready!(to.poll_write_ready(cx)).map_err(Fault::Write)?;
        Poll::Ready(self.send(to))
    }

    fn write(&mut self, to: &TcpStream) -> Result<(), Fault> {
        match to.try_write(self.data()) {
            Ok(0) => Err(Fault::Write(io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                self.consume(count);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(Fault::Write(error)),
        }
    }

    fn send(&mut self, to: &TcpStream) -> Result<(), Fault> {
        let piece = self.left.start..self.warm.min(self.left.end);
        match kernel::send(&self.file, piece, to) {
            Ok(0) => Err(Fault::Read(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                self.left.start += count as u64;
                self.moved += count as u64;
                Ok(())
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Ok(()),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => {
                    self.is_copied = true;
                    Ok(())
                }
                io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::NotConnected
                | io::ErrorKind::TimedOut => Err(Fault::Write(error)),
                _ => Err(Fault::Read(error)),
            },
        }
    }

    /// Reads the next piece into a buffer that holds nothing; never ready with 0.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        ready!(self.poll_warm(cx)).map_err(Fault::Read)?;
        let mut buffer = Buffer::take(DEFAULT_SIZE);
        let warm = self.warm.min(self.left.end) - self.left.start;
        let room = usize::try_from(warm).map_or(DEFAULT_SIZE, |warm| warm.min(DEFAULT_SIZE));
        match read_at(&self.file, &mut buffer.room()[..room], self.left.start) {
            Ok(0) => Poll::Ready(Err(Fault::Read(io::ErrorKind::UnexpectedEof.into()))),
            Ok(count) => {
                buffer.filled(count);
                self.left.start += count as u64;
                self.buffer = Some(buffer);
                Poll::Ready(Ok(count))
            }
            Err(error) => Poll::Ready(Err(Fault::Read(error))),
        }
    }

    /// Ready once the next bytes are in memory.
    fn poll_warm(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.warm <= self.left.start {
            if let Some(thread) = &mut self.warming {
                let read = ready!(Pin::new(thread).poll(cx));
                self.warming = None;
                self.warm = read.map_err(io::Error::other)??;
                return Poll::Ready(Ok(()));
            }
            let piece = self.left.start..self.left.end.min(self.left.start + WINDOW);
            if kernel::is_in_memory(&self.file, &piece) {
                self.warm = piece.end;
            } else {
                let file = Arc::clone(&self.file);
                self.warming = Some(spawn_blocking(move || warm(&file, piece)));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn unread(&self) -> u64 {
        self.left.end.saturating_sub(self.left.start)
    }

    fn error(&self, fault: Fault) -> Error {
        let so_far = Transferred { a_to_b: self.moved, b_to_a: 0 };
        match fault {
            Fault::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof => Error::unexpected_eof(so_far),
            fault => fault.into_error(Side::A, so_far),
        }
    }
}

/// Reads the piece to leave it in the kernel's memory, and says where it ends. Waits for the disk.
fn warm(file: &File, piece: Range<u64>) -> io::Result<u64> {
    let mut scratch = vec![0; DEFAULT_SIZE];
    let mut at = piece.start;
    while at < piece.end {
        match read_at(file, &mut scratch, at)? {
            // Shorter than it was: whoever sends or reads it finds that out.
            0 => break,
            count => at += count as u64,
        }
    }
    Ok(piece.end)
}

fn read_at(file: &File, room: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(room, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
