//! How connections to backends are made.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use crate::{Address, Io, Target};

/// Makes connections. A test's connector hands out in-memory streams and needs no socket. One of your own
/// performs [`Target::tls`] on what it connected.
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

/// Makes a connection to a backend secure: TLS.
///
/// `tls::ClientTls` (feature `tls`) is the one to take; another library's TLS fits in by this trait.
/// It is part of a [`Target`], so it alone decides, by being the same one, who shares connections.
#[async_trait]
pub trait ClientHandshake: fmt::Debug + Send + Sync + 'static {
    /// Shakes hands with the target's backend over `io`, and returns the secure stream.
    ///
    /// # Errors
    /// If the backend is not whom it should be (`ErrorKind::InvalidData`), or the stream fails.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    async fn perform(&self, io: Box<dyn Io>, target: &Target) -> io::Result<Box<dyn Io>>;
}

/// Why a backend that is a proxy did not lead to a [destination](Target::destination). A [`Connector`] returns it inside
/// of an [`io::Error`]: then the backend counts as one that works, for all that clients name destinations that do not.
///
/// ```
/// use http::StatusCode;
/// use proxy_core::NextHopRefusal;
///
/// let refusal = NextHopRefusal::new(StatusCode::FORBIDDEN, "it answered CONNECT with 403");
/// assert_eq!(std::io::Error::from(refusal).to_string(), "it answered CONNECT with 403");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NextHopRefusal {
    status: StatusCode,
    reason: String,
    is_worth_another: bool,
}

impl NextHopRefusal {
    /// A refusal for this reason; the status is what the client gets.
    pub fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        NextHopRefusal { status, reason: reason.into(), is_worth_another: false }
    }

    /// Another backend may lead there.
    #[must_use]
    pub fn worth_another(mut self) -> Self {
        self.is_worth_another = true;
        self
    }

    /// What the client gets.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn is_worth_another(&self) -> bool {
        self.is_worth_another
    }

    pub(crate) fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// What lies beneath an error of a request.
    pub(crate) fn of(error: &crate::Error) -> Option<&Self> {
        NextHopRefusal::within(error.source()?.downcast_ref()?)
    }
}

impl From<NextHopRefusal> for io::Error {
    fn from(refusal: NextHopRefusal) -> Self {
        io::Error::other(refusal)
    }
}

/// Connects by TCP, with `TCP_NODELAY`, or to a Unix socket; sends the PROXY header, and speaks TLS, where the target
/// has them. Names are resolved at each connect, and their addresses tried in turn.
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
        let stream = introduced(dial(target.backend().address()).await?, target).await?;
        match target.tls() {
            Some(tls) => tls.perform(stream, target).await,
            None => Ok(stream),
        }
    }
}

/// The stream, with the target's PROXY header sent.
pub(crate) async fn introduced(mut stream: Box<dyn Io>, target: &Target) -> io::Result<Box<dyn Io>> {
    if let Some(header) = target.proxy_header() {
        stream.write_all(header).await?;
    }
    Ok(stream)
}

async fn dial(address: &Address) -> io::Result<Box<dyn Io>> {
    let stream = match address {
        Address::Tcp(address) => TcpStream::connect(address).await?,
        Address::Name(name, port) => TcpStream::connect(&resolve(name, *port).await?[..]).await?,
        Address::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
    };
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}
