//! A proxy of raw connections that is replaced while it serves.

use std::fmt;
use std::sync::Arc;

use super::{Shared, TcpProxy};
use crate::Upstream;
use crate::live::Live;

/// A proxy of raw connections that can be replaced while it is served. A clone is a handle to the same one.
///
/// A connection is relayed to its end by the proxy it began with, later ones by the successor.
///
/// ```no_run
/// use proxy_core::{LiveTcpProxy, TcpListener, TcpProxy, serve_tcp};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let live = LiveTcpProxy::new(TcpProxy::to("127.0.0.1:5433")?);
/// let listener = TcpListener::bind("127.0.0.1:5432".parse()?)?;
/// tokio::spawn(serve_tcp(listener, live.clone()).into_future());
/// live.replace(TcpProxy::to("127.0.0.1:5434")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LiveTcpProxy(pub(crate) Arc<Live<Shared>>);

impl LiveTcpProxy {
    /// This proxy, until it is replaced.
    pub fn new(proxy: TcpProxy) -> Self {
        LiveTcpProxy(Live::new(proxy.0))
    }

    /// The present proxy.
    pub fn load(&self) -> TcpProxy {
        TcpProxy(self.0.load())
    }

    /// Lets every connection from now on go to `proxy`; returns the one before.
    pub fn replace(&self, proxy: TcpProxy) -> TcpProxy {
        TcpProxy(self.0.replace(proxy.0))
    }
}

impl From<TcpProxy> for LiveTcpProxy {
    fn from(proxy: TcpProxy) -> Self {
        LiveTcpProxy::new(proxy)
    }
}

impl<U: Upstream> From<U> for LiveTcpProxy {
    fn from(upstream: U) -> Self {
        LiveTcpProxy::new(TcpProxy::over(upstream))
    }
}

impl fmt::Debug for LiveTcpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveTcpProxy").field("proxy", &self.load()).field("generation", &self.0.generation()).finish()
    }
}
