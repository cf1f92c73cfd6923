//! A backend is well if it can be connected to.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proxy_core::{Address, Backend, ClientHandshake, Connector, Target, TcpConnector};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

use super::{Check, CheckFailure};

/// A backend is well if it can be connected to.
///
/// The connection is reset at once, so neither side is left with a socket in `TIME_WAIT`. A kernel accepts
/// connections for a process that hangs: where that matters, ask by [`HttpCheck`](super::HttpCheck).
#[derive(Clone, Default)]
pub struct TcpCheck {
    connector: Option<Arc<dyn Connector>>,
    tls: Option<Arc<dyn ClientHandshake>>,
}

impl TcpCheck {
    /// Connects by TCP, or to a Unix socket.
    pub fn new() -> Self {
        TcpCheck::default()
    }

    /// Connects in this way.
    pub fn over(connector: Arc<dyn Connector>) -> Self {
        TcpCheck { connector: Some(connector), tls: None }
    }

    /// Shakes hands with the backend, too, as traffic does.
    #[must_use]
    pub fn tls(mut self, handshake: impl ClientHandshake) -> Self {
        self.tls = Some(Arc::new(handshake));
        self
    }
}

#[async_trait]
impl Check for TcpCheck {
    async fn check(&self, backend: &Backend) -> Result<(), CheckFailure> {
        let target = || self.tls.iter().cloned().fold(Target::new(backend.clone()), Target::with_tls);
        let stream = match (&self.connector, backend.address()) {
            (Some(connector), _) => connector.connect(&target()).await?,
            (None, Address::Tcp(address)) if self.tls.is_none() => return Ok(knock(*address).await?),
            (None, _) => TcpConnector::default().connect(&target()).await?,
        };
        if let Some(tcp) = stream.as_tcp() {
            tcp.set_zero_linger()?;
        }
        Ok(())
    }
}

/// Connects and resets, in as few system calls as there can be: with thousands of backends they are what
/// checks cost.
async fn knock(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&address.into()) {
        Ok(()) => return Ok(()),
        Err(error) if is_under_way(&error) => {}
        Err(error) => return Err(error),
    }
    // Within one machine the handshake is over by now, and the reactor need not be told.
    if socket.peer_addr().is_ok() {
        return Ok(());
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    stream.take_error()?.map_or(Ok(()), Err)
}

/// `EINPROGRESS` has no kind of its own in the standard library.
fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

impl fmt::Debug for TcpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TcpCheck")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_listens_is_well_and_who_does_not_is_not() {
        for host in ["127.0.0.1", "::1"] {
            let listener = std::net::TcpListener::bind((host, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let backend = Backend::new(address.into());
            assert_eq!(TcpCheck::new().check(&backend).await, Ok(()));
            // It came, and was reset.
            let (mut came, _) = listener.accept().unwrap();
            assert!(std::io::Read::read(&mut came, &mut [0]).is_err());
            drop((came, listener));
            let refused = TcpCheck::new().check(&backend).await.unwrap_err();
            assert!(refused.to_string().starts_with("Connection refused"), "{refused}");
        }
    }
}
