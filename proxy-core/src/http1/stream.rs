//! One connection shared by its two halves.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll, ready};

use tokio::io::ReadBuf;

use super::buffer::Buffer;
use super::reader::Parked;
use crate::Io;

/// A connection that a reader and a writer hold together. The lock is never contended on the engine
/// path, where one task drives both, and no call under it waits.
#[derive(Clone)]
pub(crate) struct Stream(Arc<Inner>);

struct Inner {
    io: Mutex<Box<dyn Io>>,
    /// The read half, given home by a request body that was dropped.
    parked: Mutex<Option<Parked>>,
    /// Nobody is at home any more.
    abandoned: AtomicBool,
    /// A request body is still being written.
    uploading: AtomicBool,
    /// TCP keeps nothing back: there is nothing to flush.
    unbuffered: bool,
}

impl Stream {
    pub(crate) fn new(io: Box<dyn Io>) -> Self {
        let unbuffered = io.as_tcp().is_some();
        Stream(Arc::new(Inner {
            unbuffered,
            io: Mutex::new(io),
            parked: Mutex::new(None),
            abandoned: AtomicBool::new(false),
            uploading: AtomicBool::new(false),
        }))
    }

    fn io(&self) -> MutexGuard<'_, Box<dyn Io>> {
        self.0.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads into the buffer's room. A buffer that stays empty keeps no memory.
    pub(crate) fn poll_fill(&self, cx: &mut Task<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(buffer.spare());
        let result = Pin::new(&mut **self.io()).poll_read(cx, &mut room);
        let count = room.filled().len();
        buffer.fill(count);
        buffer.release_if_empty();
        result.map_ok(|()| count)
    }

    /// The same where nothing is expected to be there yet: then it costs no buffer.
    pub(crate) fn poll_await(&self, cx: &mut Task<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        if self.0.unbuffered {
            ready!(self.io().as_tcp().map_or(Poll::Ready(Ok(())), |tcp| tcp.poll_read_ready(cx)))?;
        }
        self.poll_fill(cx, buffer)
    }

    pub(crate) fn poll_write(&self, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        nonzero(Pin::new(&mut **self.io()).poll_write(cx, bytes))
    }

    /// Writes `first`, then `second`, in one call.
    pub(crate) fn poll_write_two(&self, cx: &mut Task<'_>, first: &[u8], second: &[u8]) -> Poll<io::Result<usize>> {
        if first.is_empty() {
            return self.poll_write(cx, second);
        }
        nonzero(Pin::new(&mut **self.io()).poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)]))
    }

    pub(crate) fn poll_flush(&self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        if self.0.unbuffered {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut **self.io()).poll_flush(cx)
    }

    pub(crate) fn poll_shutdown(&self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.io()).poll_shutdown(cx)
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

    pub(crate) fn set_uploading(&self, uploading: bool) {
        self.0.uploading.store(uploading, Ordering::Relaxed);
    }

    pub(crate) fn is_uploading(&self) -> bool {
        self.0.uploading.load(Ordering::Relaxed)
    }

    /// Whether the bytes are those of a TCP socket.
    pub(crate) fn is_tcp(&self) -> bool {
        self.0.unbuffered
    }

    /// Runs `f` with the connection, for what only its type can do.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Box<dyn Io>) -> T) -> T {
        f(&mut self.io())
    }
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
