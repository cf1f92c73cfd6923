//! Where client connections come from.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::Io;

mod tcp;

pub use tcp::TcpListener;

/// Where client connections come from. Implementations log and retry transient accept errors themselves.
pub trait Listener: Send + 'static {
    /// The stream of a connection.
    type Io: Io;

    /// The next connection.
    ///
    /// # Cancel safety
    /// Dropping the future loses no connection.
    fn accept(&mut self) -> impl Future<Output = (Self::Io, Peer)> + Send;

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    fn local_addr(&self) -> io::Result<SocketAddr>;
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
}

impl Peer {
    /// A client at this address.
    pub fn new(address: SocketAddr) -> Self {
        Peer { address: Some(address), ..Peer::default() }
    }

    /// The client's address as it is shown: an IPv4 one mapped into IPv6 is IPv4.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip().to_canonical())
    }
}
