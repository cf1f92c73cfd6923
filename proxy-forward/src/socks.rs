//! SOCKS: another way to say CONNECT.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use proxy_core::{Listener, Peer};

use crate::auth::Credentials;

mod messages;
mod stream;

pub use stream::SocksStream;

/// A listener whose clients speak SOCKS5 (RFC 1928), or SOCKS4 and 4a, rather than HTTP.
///
/// A request to connect reaches the proxy as the CONNECT that it is: so the same filters, policy and limits
/// hold, and logs and metrics see it. The proxy's answer goes back as that of SOCKS. It serves CONNECT alone:
/// BIND and UDP ASSOCIATE are answered with `command not supported`.
///
/// ```no_run
/// use proxy_core::{TcpListener, serve};
/// use proxy_forward::{ForwardUpstream, SocksListener};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let address = "127.0.0.1:1080".parse()?;
/// let listener = SocksListener::new(TcpListener::bind(address)?);
/// let proxy = ForwardUpstream::builder().own(address).build().into_proxy().build()?;
/// serve(listener, proxy).await;
/// # Ok(())
/// # }
/// ```
///
/// The deadline of a handshake is that of a request head, [`Timeouts::head`](proxy_core::Timeouts::head).
pub struct SocksListener<L> {
    inner: L,
    settings: Arc<Settings>,
}

/// What the connections of a listener have in common.
#[derive(Clone, Default)]
struct Settings {
    credentials: Option<Arc<dyn Credentials>>,
    also_http: bool,
}

impl<L: Listener> SocksListener<L> {
    /// Speaks SOCKS on the connections of `inner`.
    pub fn new(inner: L) -> Self {
        SocksListener { inner, settings: Arc::default() }
    }

    /// Asks for a name and a password (RFC 1929), and passes them on in `Proxy-Authorization`: put a
    /// [`BasicAuth`](crate::BasicAuth) with the same credentials before the upstream, for rules about users.
    /// SOCKS4 has no password, and is refused then.
    #[must_use]
    pub fn credentials(mut self, credentials: Arc<dyn Credentials>) -> Self {
        Arc::make_mut(&mut self.settings).credentials = Some(credentials);
        self
    }

    /// Serves clients that speak HTTP on the same port: the first byte says which. A port of their own serves
    /// them faster.
    #[must_use]
    pub fn also_http(mut self) -> Self {
        Arc::make_mut(&mut self.settings).also_http = true;
        self
    }
}

impl<L: Listener> Listener for SocksListener<L> {
    type Io = SocksStream<L::Io>;

    async fn accept(&mut self) -> (Self::Io, Peer) {
        let (io, peer) = self.inner.accept().await;
        (SocksStream::new(io, Arc::clone(&self.settings)), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl<L: fmt::Debug> fmt::Debug for SocksListener<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocksListener")
            .field("inner", &self.inner)
            .field("authenticates", &self.settings.credentials.is_some())
            .field("also_http", &self.settings.also_http)
            .finish()
    }
}
