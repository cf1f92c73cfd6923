use std::io;

use tokio::net::TcpStream;

use super::Store;

/// A place for bytes between two sockets, lent from the thread's pool.
///
/// On Linux this is a kernel pipe of 256 KiB, or of what the kernel grants. Dropped while empty it
/// goes back to the pool; dropped with bytes in it, they are lost and the pipe is closed.
///
/// ```no_run
/// # async fn example(from: tokio::net::TcpStream, to: tokio::net::TcpStream) -> std::io::Result<()> {
/// use proxy_zerocopy::splice::Pipe;
///
/// let mut pipe = Pipe::take();
/// from.readable().await?;
/// if pipe.fill(&from, 1024)? > 0 {
///     to.writable().await?;
///     pipe.drain(&to)?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pipe {
    store: Store,
}

impl Pipe {
    /// Lends an empty pipe. Where the kernel refuses a new one, a buffer takes its place.
    #[must_use]
    pub fn take() -> Self {
        Self { store: Store::take() }
    }

    /// Bytes inside.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether no byte is inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Moves at most `max` bytes out of the socket and into the empty pipe, without waiting.
    /// `Ok(0)` means end of stream, unless `max` is 0.
    ///
    /// # Errors
    ///
    /// - `WouldBlock`: nothing to read. The socket's readiness is cleared, so that
    ///   [`TcpStream::poll_read_ready`] waits for new bytes.
    /// - `ResourceBusy`: the pipe still holds bytes. A full pipe and an empty socket would both
    ///   answer `WouldBlock`, and clearing readiness for the former would lose a wake-up.
    /// - whatever reading from the socket reports.
    pub fn fill(&mut self, from: &TcpStream, max: usize) -> io::Result<usize> {
        if !self.is_empty() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        self.store.fill(from, max)
    }

    /// Moves bytes out of the pipe and into the socket, without waiting. `Ok(0)` means that the
    /// pipe was empty.
    ///
    /// # Errors
    ///
    /// - `WouldBlock`: the socket takes nothing now. Its readiness is cleared, so that
    ///   [`TcpStream::poll_write_ready`] waits for room.
    /// - whatever writing to the socket reports; `BrokenPipe` if its peer is gone.
    pub fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        if self.is_empty() {
            return Ok(0);
        }
        match self.store.drain(to)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            moved => Ok(moved),
        }
    }
}
