//! A proxy that is replaced while it serves.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::{Proxy, Shared};

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
pub struct LiveProxy(Arc<Live>);

struct Live {
    current: ArcSwap<Shared>,
    /// How often it was replaced: what a connection compares before each request.
    generation: AtomicUsize,
    servers: Mutex<Vec<Weak<Server>>>,
}

/// What a server is told by.
#[derive(Debug, Default)]
pub(crate) struct Server {
    /// Wakes every connection.
    pub(crate) changed: Arc<Notify>,
    /// Counts how often they were woken.
    pub(crate) epoch: AtomicUsize,
    /// Wakes the server itself.
    pub(crate) left: Notify,
}

impl Server {
    pub(crate) fn wake(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        self.left.notify_one();
    }
}

impl LiveProxy {
    /// This proxy, until it is replaced.
    pub fn new(proxy: Proxy) -> Self {
        LiveProxy(Arc::new(Live {
            current: ArcSwap::new(proxy.0),
            generation: AtomicUsize::new(0),
            servers: Mutex::default(),
        }))
    }

    /// The present proxy.
    pub fn load(&self) -> Proxy {
        Proxy(self.0.current.load_full())
    }

    /// Lets every request from now on go to `proxy`; returns the one before.
    pub fn replace(&self, proxy: Proxy) -> Proxy {
        let before = self.0.current.swap(proxy.0);
        // Only now: who sees the number sees the proxy.
        self.0.generation.fetch_add(1, Ordering::Release);
        let mut servers = self.0.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|server| server.upgrade().inspect(|server| server.wake()).is_some());
        Proxy(before)
    }

    /// Has this server told of replacements, as long as it lives.
    pub(crate) fn tell(&self, server: &Arc<Server>) {
        self.0.servers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(server));
    }

    /// The present proxy and its number. The number may be that of one before: then it is looked at twice.
    pub(crate) fn current(&self) -> (Arc<Shared>, usize) {
        let generation = self.generation();
        (self.0.current.load_full(), generation)
    }

    /// The number of the present proxy.
    pub(crate) fn generation(&self) -> usize {
        self.0.generation.load(Ordering::Acquire)
    }

    pub(crate) fn max_connections(&self) -> usize {
        self.0.current.load().limits.max_connections
    }
}

impl From<Proxy> for LiveProxy {
    fn from(proxy: Proxy) -> Self {
        LiveProxy::new(proxy)
    }
}

impl fmt::Debug for LiveProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveProxy").field("proxy", &self.load()).field("generation", &self.generation()).finish()
    }
}
