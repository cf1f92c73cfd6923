//! How connections to backends are made.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use crate::{Address, Io, Target};

/// Makes connections. A test's connector hands out in-memory streams and needs no socket.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// Connects to the target's backend, and sends it the target's [PROXY header](Target::proxy_header) where there is
    /// one: before anything else, a TLS handshake included.
    ///
    /// # Errors
    /// If it cannot be reached. `ErrorKind::NotFound` means that its name has no address.
    ///
    /// # Cancel safety
    /// Dropping the future closes the half-made connection.
    async fn connect(&self, target: &Target) -> io::Result<Box<dyn Io>>;
}

/// Connects by TCP, with `TCP_NODELAY`, or to a Unix socket, and sends the PROXY header. Names are resolved at each connect, and
/// their addresses tried in turn.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TcpConnector;

/// Every address of a name. Any failure is `NotFound`, as [`Connector::connect`] promises.
async fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses = tokio::net::lookup_host((name, port)).await;
    addresses.map(Iterator::collect).map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))
}

#[async_trait]
impl Connector for TcpConnector {
    async fn connect(&self, target: &Target) -> io::Result<Box<dyn Io>> {
        let stream = match target.backend().address() {
            Address::Tcp(address) => TcpStream::connect(address).await?,
            Address::Name(name, port) => TcpStream::connect(&resolve(name, *port).await?[..]).await?,
            Address::Unix(path) => return introduced(UnixStream::connect(path).await?, target).await,
        };
        stream.set_nodelay(true)?;
        introduced(stream, target).await
    }
}

/// The stream, with the target's PROXY header sent.
pub(crate) async fn introduced(mut stream: impl Io, target: &Target) -> io::Result<Box<dyn Io>> {
    if let Some(header) = target.proxy_header() {
        stream.write_all(header).await?;
    }
    Ok(Box::new(stream))
}
