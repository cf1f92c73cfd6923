//! Where client connections come from.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Io, ProxyHeader};

mod tcp;
mod tls_info;

pub use tcp::TcpListener;
pub use tls_info::{ClientCertificate, TlsInfo};

/// Where client connections come from.
///
/// An error of `accept` is nobody else's: implementations log it, wait a little where the process has
/// run out of something, and go on, as [`TcpListener`] does.
///
/// ```
/// use proxy_core::{Listener, Peer};
/// use tokio::net::{UnixListener, UnixStream};
///
/// struct Socket(UnixListener);
///
/// impl Listener for Socket {
///     type Io = UnixStream;
///
///     async fn accept(&mut self) -> (UnixStream, Peer) {
///         loop {
///             match self.0.accept().await {
///                 Ok((stream, _)) => return (stream, Peer::default()),
///                 Err(error) => {
///                     tracing::warn!(%error, "accept failed");
///                     tokio::time::sleep(std::time::Duration::from_millis(100)).await;
///                 }
///             }
///         }
///     }
///
///     fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
///         Err(std::io::ErrorKind::Unsupported.into()) // a path, not an address
///     }
/// }
/// ```
pub trait Listener: Send + 'static {
    /// The stream of a connection.
    type Io: Io;

    /// The next connection. It is called only while another one may be open.
    ///
    /// # Cancel safety
    /// Required: the server drops the future when it is told to stop, and no connection may be lost
    /// with it.
    fn accept(&mut self) -> impl Future<Output = (Self::Io, Peer)> + Send;

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say, or it is no such address.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Makes a client's connection secure before anything is read from it: TLS.
///
/// `tls::ServerTls` (feature `tls`) is the one to take; another library's TLS fits in by this trait. It
/// runs in the connection's own task, behind [`Filter::on_connection`](crate::Filter::on_connection).
#[async_trait]
pub trait ServerHandshake: fmt::Debug + Send + Sync + 'static {
    /// Shakes hands over `io`, puts what was agreed on into [`Peer::tls`], and returns the secure stream.
    /// It keeps its own deadline.
    ///
    /// # Errors
    /// If there is no agreement: the connection is closed.
    ///
    /// # Cancel safety
    /// Dropping the future, which happens when a drain meets its deadline, closes the connection.
    async fn perform(&self, io: Box<dyn Io>, peer: &mut Peer) -> io::Result<Box<dyn Io>>;
}

/// The client's side of a connection.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Peer {
    /// The address the connection came from; `None` in memory and over Unix sockets.
    pub address: Option<SocketAddr>,
    /// The address it came to.
    pub local: Option<SocketAddr>,
    /// The name of the listener, where it has one.
    pub listener: Option<Arc<str>>,
    /// What the TLS handshake agreed on, where there was one.
    pub tls: Option<Arc<TlsInfo>>,
    /// The PROXY header that the connection began with; the addresses are those it names.
    pub proxy_header: Option<Arc<ProxyHeader>>,
}

impl Peer {
    pub(crate) const UNKNOWN: Peer = Peer { address: None, local: None, listener: None, tls: None, proxy_header: None };

    /// A client at this address.
    pub fn new(address: SocketAddr) -> Self {
        Peer { address: Some(address), ..Peer::default() }
    }

    /// The client's address as it is shown: an IPv4 one mapped into IPv6 is IPv4.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip().to_canonical())
    }
}
