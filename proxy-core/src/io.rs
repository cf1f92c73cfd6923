//! Byte streams.

use std::any::Any;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpStream, UnixStream};

/// A byte stream: a client connection, or one to an upstream.
///
/// Not a blanket implementation, so that TCP can show itself to the paths that move bytes within
/// the kernel. For a stream of your own the empty `impl Io for MyStream {}` is enough.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + Any {
    /// The TCP socket under this stream, if its bytes are the socket's bytes.
    fn as_tcp(&self) -> Option<&TcpStream> {
        None
    }

    /// What both sides agreed to speak on it, where something was agreed (ALPN): `h2`, `http/1.1`.
    fn agreed_protocol(&self) -> Option<&[u8]> {
        None
    }
}

impl Io for TcpStream {
    fn as_tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Io for UnixStream {}

impl Io for DuplexStream {}

impl<I: Io + ?Sized> Io for Box<I> {
    fn as_tcp(&self) -> Option<&TcpStream> {
        (**self).as_tcp()
    }

    fn agreed_protocol(&self) -> Option<&[u8]> {
        (**self).agreed_protocol()
    }
}
