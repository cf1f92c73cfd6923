//! Where datagrams arrive.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// Where clients' datagrams arrive, and answers leave.
///
/// On a machine with several addresses bind one listener to each: from one on `0.0.0.0` answers leave by the address
/// that the system prefers, which need not be the one that a client sent to.
#[derive(Debug)]
pub struct UdpListener {
    pub(super) socket: UdpSocket,
    pub(super) local: SocketAddr,
    pub(super) name: Option<Arc<str>>,
}

impl UdpListener {
    /// Receives at this address.
    ///
    /// # Errors
    /// If the address is taken or not ours; the error names it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::open(address, false)
    }

    /// Receives at this address beside others that do so too (`SO_REUSEPORT`): the kernel spreads clients over them,
    /// and a client stays with one.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind_reuse_port(address: SocketAddr) -> io::Result<Self> {
        Self::open(address, true)
    }

    /// Takes over a bound socket.
    ///
    /// # Errors
    /// If the socket cannot be registered with the runtime.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        Ok(UdpListener { socket: UdpSocket::from_std(socket)?, local, name: None })
    }

    /// The socket itself, no longer registered with the runtime.
    ///
    /// # Errors
    /// If it cannot be taken from the runtime.
    pub fn into_std(self) -> io::Result<std::net::UdpSocket> {
        self.socket.into_std()
    }

    /// Names the listener in [`Peer::listener`](crate::Peer::listener), logs and metrics.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The address it receives at.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn open(address: SocketAddr, reuse_port: bool) -> io::Result<Self> {
        bound(address, reuse_port)
            .and_then(Self::from_std)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
    }
}

fn bound(address: SocketAddr, reuse_port: bool) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    #[cfg(unix)]
    socket.set_reuse_port(reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}
