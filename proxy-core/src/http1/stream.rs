//! One connection shared by its two halves.

use std::any::Any;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll, ready};

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::buffer::Buffer;
use super::reader::Parked;
use super::socket;
use crate::Io;

/// A connection that a reader and a writer hold together.
#[derive(Clone)]
pub(crate) struct Stream(Arc<Inner>);

struct Inner {
    channel: Channel,
    /// The read half, given home by a request body that was dropped.
    parked: Mutex<Option<Parked>>,
    /// Nobody is at home any more.
    abandoned: AtomicBool,
    /// A request body is still being written.
    uploading: AtomicBool,
    /// Writing has found that the other side gave the connection up.
    reset: AtomicBool,
}

enum Channel {
    /// A socket is read and written by shared reference: the common case takes no lock.
    Tcp(TcpStream),
    /// The lock is never contended on the engine path, where one task drives both halves, and no call
    /// under it waits.
    Other { io: Mutex<Box<dyn Io>>, is_tcp: bool },
}

impl Channel {
    fn new(io: Box<dyn Io>) -> Self {
        let is_socket = (&*io as &dyn Any).is::<TcpStream>();
        if !is_socket {
            return Channel::Other { is_tcp: io.as_tcp().is_some(), io: Mutex::new(io) };
        }
        let any: Box<dyn Any> = io;
        match any.downcast() {
            Ok(socket) => Channel::Tcp(*socket),
            Err(_) => unreachable!("it was just seen to be a socket"),
        }
    }
}

impl Stream {
    pub(crate) fn new(io: Box<dyn Io>) -> Self {
        Stream(Arc::new(Inner {
            channel: Channel::new(io),
            parked: Mutex::new(None),
            abandoned: AtomicBool::new(false),
            uploading: AtomicBool::new(false),
            reset: AtomicBool::new(false),
        }))
    }

    /// Reads into the buffer's room. A buffer that stays empty keeps no memory, and takes none from a
    /// socket that has nothing.
    pub(crate) fn poll_fill(&self, cx: &mut Task<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        match &self.0.channel {
            Channel::Tcp(socket) => {
                let polled = socket::poll_read(socket, cx, || buffer.spare());
                if let Poll::Ready(Ok(count)) = polled {
                    buffer.fill(count);
                }
                buffer.release_if_empty();
                polled
            }
            Channel::Other { io, .. } => {
                let mut room = ReadBuf::new(buffer.spare());
                let result = Pin::new(&mut **lock(io)).poll_read(cx, &mut room);
                let count = room.filled().len();
                buffer.fill(count);
                buffer.release_if_empty();
                result.map_ok(|()| count)
            }
        }
    }

    /// Whether the other side said nothing and closed nothing. No system call in the common case: the
    /// runtime knows.
    pub(crate) fn is_quiet(&self) -> bool {
        match &self.0.channel {
            Channel::Tcp(socket) => socket::is_quiet(socket),
            Channel::Other { io, .. } => {
                let (mut byte, mut task) = ([0], Task::from_waker(std::task::Waker::noop()));
                Pin::new(&mut **lock(io)).poll_read(&mut task, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }

    pub(crate) fn poll_write(&self, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        nonzero(match &self.0.channel {
            Channel::Tcp(socket) => socket::poll_write(socket, cx, bytes),
            Channel::Other { io, .. } => Pin::new(&mut **lock(io)).poll_write(cx, bytes),
        })
    }

    /// The same before more that follows at once: a socket may wait for it, and send both together.
    pub(crate) fn poll_write_more(&self, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &self.0.channel {
            Channel::Tcp(socket) => nonzero(socket::poll_write_more(socket, cx, bytes)),
            Channel::Other { .. } => self.poll_write(cx, bytes),
        }
    }

    /// Writes `first`, then `second`, in one call.
    pub(crate) fn poll_write_two(&self, cx: &mut Task<'_>, first: &[u8], second: &[u8]) -> Poll<io::Result<usize>> {
        if first.is_empty() {
            return self.poll_write(cx, second);
        }
        let both = [IoSlice::new(first), IoSlice::new(second)];
        nonzero(match &self.0.channel {
            Channel::Tcp(socket) => socket::poll_write_vectored(socket, cx, &both),
            Channel::Other { io, .. } => Pin::new(&mut **lock(io)).poll_write_vectored(cx, &both),
        })
    }

    pub(crate) fn poll_flush(&self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        match &self.0.channel {
            // TCP keeps nothing back.
            Channel::Tcp(_) => Poll::Ready(Ok(())),
            Channel::Other { io, .. } => Pin::new(&mut **lock(io)).poll_flush(cx),
        }
    }

    pub(crate) fn poll_shutdown(&self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        match &self.0.channel {
            Channel::Tcp(socket) => Poll::Ready(socket::shutdown(socket)),
            Channel::Other { io, .. } => Pin::new(&mut **lock(io)).poll_shutdown(cx),
        }
    }

    /// Writes everything in `out`, which is left empty.
    pub(crate) fn poll_write_all(&self, cx: &mut Task<'_>, out: &mut Out) -> Poll<io::Result<()>> {
        while !out.is_empty() {
            let count = ready!(self.poll_write(cx, out.pending()))?;
            out.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn parked(&self) -> MutexGuard<'_, Option<Parked>> {
        self.0.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn park(&self, parked: Parked) {
        let mut home = self.parked();
        if !self.0.abandoned.load(Ordering::Relaxed) {
            *home = Some(parked);
        }
    }

    pub(crate) fn unpark(&self) -> Option<Parked> {
        self.parked().take()
    }

    /// The connection's task has ended. A reader left at home holds the stream it lies in: nothing
    /// would ever close it.
    pub(crate) fn abandon(&self) {
        let mut home = self.parked();
        self.0.abandoned.store(true, Ordering::Relaxed);
        let left = home.take();
        drop(home);
        drop(left);
    }

    /// Another task, or the same one under another proxy, serves the connection on.
    pub(crate) fn adopt(&self) {
        self.0.abandoned.store(false, Ordering::Relaxed);
    }

    pub(crate) fn set_uploading(&self, uploading: bool) {
        self.0.uploading.store(uploading, Ordering::Relaxed);
    }

    pub(crate) fn is_uploading(&self) -> bool {
        self.0.uploading.load(Ordering::Relaxed)
    }

    pub(crate) fn set_reset(&self) {
        self.0.reset.store(true, Ordering::Relaxed);
    }

    /// Whether an end that is read now is that of a connection which was cut off.
    pub(crate) fn is_reset(&self) -> bool {
        self.0.reset.load(Ordering::Relaxed)
    }

    /// Whether the bytes are those of a TCP socket.
    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self.0.channel, Channel::Tcp(_) | Channel::Other { is_tcp: true, .. })
    }

    /// The socket, if this is nothing but one.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match &self.0.channel {
            Channel::Tcp(socket) => Some(socket),
            Channel::Other { .. } => None,
        }
    }

    /// Runs `f` with the socket whose bytes these are, if they are a socket's.
    pub(crate) fn with_tcp<T>(&self, f: impl FnOnce(&TcpStream) -> T) -> Option<T> {
        match &self.0.channel {
            Channel::Tcp(socket) => Some(f(socket)),
            Channel::Other { io, .. } => lock(io).as_tcp().map(f),
        }
    }

    /// Unequal for connections that are open at the same time.
    #[cfg(test)]
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

fn lock(io: &Mutex<Box<dyn Io>>) -> MutexGuard<'_, Box<dyn Io>> {
    io.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

fn nonzero(result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    match result {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        other => other,
    }
}

/// Bytes to write, and how many of them were written.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) bytes: Vec<u8>,
    written: usize,
}

impl Out {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Out { bytes, written: 0 }
    }

    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.written += count;
        if self.is_empty() {
            self.bytes.clear();
            self.written = 0;
        }
    }
}
