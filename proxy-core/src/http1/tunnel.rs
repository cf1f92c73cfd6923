//! A connection as a byte stream, after an upgrade or without any HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::reader::Reader;
use crate::pool::{Connection, Place};

/// A connection as a plain byte stream: first what was read from it already, then the rest.
pub(crate) struct Tunnel {
    reader: Reader,
    /// Given up after the connection: it is declared behind it.
    _place: Option<Place>,
}

impl Tunnel {
    pub(crate) fn new(reader: Reader) -> Self {
        Tunnel { reader, _place: None }
    }

    /// The socket, if the bytes are those of one and nothing lies between.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        self.reader.stream.socket()
    }

    pub(crate) fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// Takes what was read from it and not yet used.
    pub(crate) fn take_read(&mut self) -> Vec<u8> {
        let bytes = self.reader.buffer.filled().to_vec();
        self.reader.buffer.consume(bytes.len());
        bytes
    }
}

impl From<Connection> for Tunnel {
    fn from(connection: Connection) -> Self {
        let (reader, place) = connection.into_parts();
        Tunnel { reader, _place: place }
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
