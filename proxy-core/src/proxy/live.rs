//! A proxy that is replaced while it serves.

use std::fmt;
use std::sync::Arc;

use super::{Proxy, Shared};
use crate::live::Live;

/// A proxy that can be replaced while it is served. A clone is a handle to the same one.
///
/// A request is served to its end by the proxy it began with. Every later one goes to the successor, also
/// on a connection that is open already: connections learn of a replacement between two requests, and
/// those that idle are woken for it, so that nothing keeps the old proxy longer than its last request.
///
/// Connections keep what filters gave them when they were accepted
/// ([`Admission::Hold`](crate::Admission::Hold)), and stay with the observer that saw them come.
///
/// ```no_run
/// use proxy_core::{LiveProxy, Proxy, TcpListener, serve};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let live = LiveProxy::new(Proxy::to("127.0.0.1:9000")?);
/// let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
/// tokio::spawn(serve(listener, live.clone()).into_future());
/// live.replace(Proxy::to("127.0.0.1:9001")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LiveProxy(pub(crate) Arc<Live<Shared>>);

impl LiveProxy {
    /// This proxy, until it is replaced.
    pub fn new(proxy: Proxy) -> Self {
        LiveProxy(Live::new(proxy.0))
    }

    /// The present proxy.
    pub fn load(&self) -> Proxy {
        Proxy(self.0.load())
    }

    /// Lets every request from now on go to `proxy`; returns the one before.
    pub fn replace(&self, proxy: Proxy) -> Proxy {
        Proxy(self.0.replace(proxy.0))
    }
}

impl From<Proxy> for LiveProxy {
    fn from(proxy: Proxy) -> Self {
        LiveProxy::new(proxy)
    }
}

impl fmt::Debug for LiveProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveProxy").field("proxy", &self.load()).field("generation", &self.0.generation()).finish()
    }
}
