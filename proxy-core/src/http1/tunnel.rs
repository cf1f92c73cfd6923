//! Bytes both ways after an upgrade.

use std::io;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::reader::Reader;

/// A connection as a plain byte stream: first what was read from it already, then the rest.
pub(crate) struct Tunnel {
    reader: Reader,
}

impl Tunnel {
    pub(crate) fn new(reader: Reader) -> Self {
        Tunnel { reader }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Task<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let reader = &mut self.reader;
        if reader.buffer.is_empty() {
            ready!(reader.poll_fill(cx))?;
        }
        let count = reader.buffer.len().min(room.remaining());
        room.put_slice(&reader.buffer.filled()[..count]);
        reader.buffer.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.reader.stream.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        self.reader.stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        self.reader.stream.poll_shutdown(cx)
    }
}
