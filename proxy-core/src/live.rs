//! What is served, and can be replaced meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

/// What is served, and can be replaced meanwhile.
pub(crate) struct Live<S> {
    current: ArcSwap<S>,
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

impl<S> Live<S> {
    pub(crate) fn new(service: Arc<S>) -> Arc<Self> {
        Arc::new(Live { current: ArcSwap::new(service), generation: AtomicUsize::new(0), servers: Mutex::default() })
    }

    pub(crate) fn load(&self) -> Arc<S> {
        self.current.load_full()
    }

    /// Returns the one before.
    pub(crate) fn replace(&self, service: Arc<S>) -> Arc<S> {
        let before = self.current.swap(service);
        // Only now: who sees the number sees the service.
        self.generation.fetch_add(1, Ordering::Release);
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|server| server.upgrade().inspect(|server| server.wake()).is_some());
        before
    }

    /// Has this server told of replacements, as long as it lives.
    pub(crate) fn tell(&self, server: &Arc<Server>) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(server));
    }

    /// The present one and its number. The number may be that of one before: then it is looked at twice.
    pub(crate) fn current(&self) -> (Arc<S>, usize) {
        let generation = self.generation();
        (self.load(), generation)
    }

    /// The number of the present one.
    pub(crate) fn generation(&self) -> usize {
        self.generation.load(Ordering::Acquire)
    }

    /// What `ask` wants to know of the present one.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&S) -> T) -> T {
        ask(&self.current.load())
    }
}
