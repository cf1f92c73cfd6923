//! TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{self, TcpStream};

use super::{Listener, Peer};

/// Connections waiting in the kernel's queue; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// How long accepting pauses when the process has no descriptor left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts TCP connections, with `TCP_NODELAY` on each.
///
/// When the process runs out of descriptors or memory it logs a warning, waits 100 ms and goes on.
#[derive(Debug)]
pub struct TcpListener {
    inner: net::TcpListener,
    local: SocketAddr,
    name: Option<Arc<str>>,
}

impl TcpListener {
    /// Listens on this address.
    ///
    /// # Errors
    /// If the address is taken or not ours; the error names it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::open(address, false)
    }

    /// Listens on this address beside others that do so too (`SO_REUSEPORT`): the kernel spreads
    /// connections over them.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind_reuse_port(address: SocketAddr) -> io::Result<Self> {
        Self::open(address, true)
    }

    /// Takes over a listening socket.
    ///
    /// # Errors
    /// If the socket cannot be registered with the runtime.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
        let local = listener.local_addr()?;
        Ok(TcpListener { inner: net::TcpListener::from_std(listener)?, local, name: None })
    }

    /// The socket itself, no longer registered with the runtime.
    ///
    /// # Errors
    /// If it cannot be taken from the runtime.
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        self.inner.into_std()
    }

    /// Names the listener in [`Peer::listener`], logs and metrics.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    fn open(address: SocketAddr, reuse_port: bool) -> io::Result<Self> {
        listen(address, reuse_port)
            .and_then(Self::from_std)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
    }
}

fn listen(address: SocketAddr, reuse_port: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> (TcpStream, Peer) {
        loop {
            match self.inner.accept().await {
                Ok((stream, address)) => {
                    if let Err(error) = without_delay(&stream) {
                        tracing::debug!(%error, %address, "connection gone before it was served");
                        continue;
                    }
                    let listener = self.name.clone();
                    let peer = Peer { local: Some(self.local_of(&stream)), listener, ..Peer::new(address) };
                    return (stream, peer);
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, listen = %self.local, "accept failed; waiting before the next");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

impl TcpListener {
    /// Where a connection arrived: one that listens on every address has to ask.
    fn local_of(&self, stream: &TcpStream) -> SocketAddr {
        match self.local.ip().is_unspecified() {
            true => stream.local_addr().unwrap_or(self.local),
            false => self.local,
        }
    }
}

/// On Linux an accepted socket has the options of the one it was accepted on: one system call less.
fn without_delay(stream: &TcpStream) -> io::Result<()> {
    const INHERITED: bool = cfg!(target_os = "linux");
    if INHERITED { Ok(()) } else { stream.set_nodelay(true) }
}

/// The one connection failed, not the listener.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_send_without_delay() {
        let adopted = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let made = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        for mut listener in [made, TcpListener::from_std(adopted).unwrap()] {
            let client = TcpStream::connect(listener.local_addr().unwrap());
            let (_client, (stream, _)) = tokio::join!(client, listener.accept());
            assert!(stream.nodelay().unwrap());
        }
    }
}
