//! A proxy of datagrams that is replaced while it serves.

use std::fmt;
use std::sync::Arc;

use super::{Shared, UdpProxy};
use crate::Upstream;
use crate::live::Live;

/// A proxy of datagrams that can be replaced while it is served. A clone is a handle to the same one.
///
/// A session goes on to its end with the backend it began with; later ones are the successor's.
///
/// ```no_run
/// use proxy_core::{LiveUdpProxy, UdpListener, UdpProxy, serve_udp};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let live = LiveUdpProxy::new(UdpProxy::to("127.0.0.1:5301")?);
/// let listener = UdpListener::bind("127.0.0.1:5300".parse()?)?;
/// tokio::spawn(serve_udp(listener, live.clone()).into_future());
/// live.replace(UdpProxy::to("127.0.0.1:5302")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LiveUdpProxy(pub(crate) Arc<Live<Shared>>);

impl LiveUdpProxy {
    /// This proxy, until it is replaced.
    pub fn new(proxy: UdpProxy) -> Self {
        LiveUdpProxy(Live::new(proxy.0))
    }

    /// The present proxy.
    pub fn load(&self) -> UdpProxy {
        UdpProxy(self.0.load())
    }

    /// Lets every session from now on be one of `proxy`; returns the one before.
    pub fn replace(&self, proxy: UdpProxy) -> UdpProxy {
        UdpProxy(self.0.replace(proxy.0))
    }
}

impl From<UdpProxy> for LiveUdpProxy {
    fn from(proxy: UdpProxy) -> Self {
        LiveUdpProxy::new(proxy)
    }
}

impl<U: Upstream> From<U> for LiveUdpProxy {
    fn from(upstream: U) -> Self {
        LiveUdpProxy::new(UdpProxy::over(upstream))
    }
}

impl fmt::Debug for LiveUdpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveUdpProxy").field("proxy", &self.load()).field("generation", &self.0.generation()).finish()
    }
}
