//! What a pool may keep, and for how long.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::SharedPool;
use crate::connector::{Connector, TcpConnector};
use crate::observer::Observer;

/// The limits of a [`SharedPool`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSettings {
    /// Idle connections kept per backend. At the limit a connection that comes back replaces the one
    /// to this target that its thread has kept idle longest; where its thread has none, it is
    /// closed. Never exceeded; from 16 per thread on, up to a quarter may lie unused with other threads.
    /// Default 256.
    pub max_idle_per_backend: usize,
    /// Idle connections kept in all, under the same rule but among all targets. Default 4096.
    pub max_idle: usize,
    /// Connections open to one backend, in use or idle, at least 1. Beyond it requests wait.
    /// Default `None`: no limit.
    pub max_open_per_backend: Option<usize>,
    /// Requests that may wait for a connection to one backend. Default 1024.
    pub max_pending: usize,
    /// How long one of them may wait, within the deadline it has anyway. Default `None`: only that deadline.
    pub pending_timeout: Option<Duration>,
    /// How long a connection may be idle. Default 60 s, below the 75 s after which nginx closes.
    pub idle_timeout: Duration,
    /// The age from which on a connection is not used again. Default `None`: no limit.
    pub max_age: Option<Duration>,
    /// Exchanges after which a connection is closed. Default `None`: no limit.
    pub max_requests: Option<u64>,
    /// How long connecting may take, TLS handshake and name resolution included. Default 5 s.
    pub connect_timeout: Duration,
    /// Connections that many requests share.
    pub http2: PoolHttp2,
}

/// HTTP/2 connections of a [`SharedPool`]. Its other limits hold for them, too: `max_requests` counts streams, and
/// `max_pending` those who wait for one. As many idle ones are kept as were needed, for `idle_timeout`.
///
/// ```
/// use proxy_core::{PoolHttp2, SharedPool};
///
/// let pool = SharedPool::builder().http2(PoolHttp2 { max_streams: 32, ..Default::default() }).build();
/// # let _ = pool;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolHttp2 {
    /// Requests of one connection at a time, at least 1, where the backend takes so many. Beyond, another connection is
    /// made. Default 100: the least that RFC 9113 §6.5.2 recommends to servers.
    pub max_streams: usize,
    /// What a backend may send of one response body before the client has taken it, in bytes. A connection may have as
    /// much of all its streams together: no slow client keeps others' responses back. Default 256 KiB.
    pub stream_window: u32,
    /// A connection with requests that has been silent for so long is asked whether it is there (PING). Servers of gRPC
    /// may close connections that ask more often than every five minutes. Default `None`: none is asked, but one that
    /// brought nothing until a request's deadline gets no more requests.
    pub ping_interval: Option<Duration>,
    /// How long the answer to that may take; then the connection is closed. Default 10 s.
    pub ping_timeout: Duration,
}

impl Default for PoolHttp2 {
    fn default() -> Self {
        PoolHttp2 {
            max_streams: 100,
            stream_window: 256 * 1024,
            ping_interval: None,
            ping_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for PoolSettings {
    fn default() -> Self {
        PoolSettings {
            max_idle_per_backend: 256,
            max_idle: 4096,
            max_open_per_backend: None,
            max_pending: 1024,
            pending_timeout: None,
            idle_timeout: Duration::from_secs(60),
            max_age: None,
            max_requests: None,
            connect_timeout: Duration::from_secs(5),
            http2: PoolHttp2::default(),
        }
    }
}

/// Makes a [`SharedPool`].
pub struct PoolBuilder {
    pub(super) settings: PoolSettings,
    pub(super) connector: Arc<dyn Connector>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) shards: usize,
}

impl Default for PoolBuilder {
    fn default() -> Self {
        PoolBuilder {
            settings: PoolSettings::default(),
            connector: Arc::new(TcpConnector),
            observer: None,
            // Twice the processors: the runtime's workers and some more threads each have their own.
            shards: std::thread::available_parallelism().map_or(2, |count| 2 * count.get().next_power_of_two()),
        }
    }
}

impl PoolBuilder {
    /// All limits at once.
    #[must_use]
    pub fn settings(mut self, settings: PoolSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Idle connections kept per backend. Default 256.
    #[must_use]
    pub fn max_idle_per_backend(mut self, count: usize) -> Self {
        self.settings.max_idle_per_backend = count;
        self
    }

    /// Idle connections kept in all. Default 4096.
    #[must_use]
    pub fn max_idle(mut self, count: usize) -> Self {
        self.settings.max_idle = count;
        self
    }

    /// Connections open to one backend, at least 1. Default: no limit.
    #[must_use]
    pub fn max_open_per_backend(mut self, count: usize) -> Self {
        self.settings.max_open_per_backend = Some(count);
        self
    }

    /// Requests that may wait for a connection to one backend. Default 1024.
    #[must_use]
    pub fn max_pending(mut self, count: usize) -> Self {
        self.settings.max_pending = count;
        self
    }

    /// How long a request may wait for a connection. Default: as long as its own deadline allows.
    #[must_use]
    pub fn pending_timeout(mut self, timeout: Duration) -> Self {
        self.settings.pending_timeout = Some(timeout);
        self
    }

    /// How long a connection may be idle. Default 60 s.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    /// The age from which on a connection is not used again. Default: no limit.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.settings.max_age = Some(age);
        self
    }

    /// Exchanges after which a connection is closed. Default: no limit.
    #[must_use]
    pub fn max_requests(mut self, count: u64) -> Self {
        self.settings.max_requests = Some(count);
        self
    }

    /// How long connecting may take. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// Connections that many requests share.
    #[must_use]
    pub fn http2(mut self, settings: PoolHttp2) -> Self {
        self.settings.http2 = settings;
        self
    }

    /// What makes the connections. Default [`TcpConnector`].
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self
    }

    /// Who sees what happens. Default: nobody, which costs nothing.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The pool, empty.
    pub fn build(self) -> SharedPool {
        SharedPool::new(self)
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
