//! A stream of which too much was read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use proxy_core::Io;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream, and what was read of it already.
struct Ahead {
    bytes: Vec<u8>,
    io: Box<dyn Io>,
}

/// The stream as it was before `bytes` were read of it: itself where those are none, so that a socket stays one.
pub(super) fn unread(io: Box<dyn Io>, bytes: Vec<u8>) -> Box<dyn Io> {
    if bytes.is_empty() { io } else { Box::new(Ahead { bytes, io }) }
}

impl AsyncRead for Ahead {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Task<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, room);
        }
        let count = self.bytes.len().min(room.remaining());
        room.put_slice(&self.bytes[..count]);
        self.bytes.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ahead {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Its socket is not shown: it is behind what was read.
impl Io for Ahead {}
