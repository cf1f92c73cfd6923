//! What metrics stand on: events beside the life of a request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Attempt, Backend, BackendState, Context, ErrorKind, Outcome, Peer};

/// Sees connections, the pool, attempts and health as they happen.
///
/// Every method defaults to nothing. They run on the data path: count, and return. What changes a
/// request, or keeps something for it, is a [`Filter`](crate::Filter)'s; who only looks costs less here,
/// where no head is copied for its hooks.
///
/// Each part tells the observer it was given: the proxy about client connections and requests, the
/// cluster about attempts and health, its pool about connections to backends. One observer can have them
/// all, and a pair of observers is one:
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use proxy_core::{Attempt, Backend, Cluster, Observer, Peer, PoolEvent, Proxy, Route, selector_fn};
///
/// #[derive(Default)]
/// struct Counts {
///     clients: AtomicU64,
///     connects: AtomicU64,
///     attempts: AtomicU64,
/// }
///
/// impl Observer for Counts {
///     fn on_connection_opened(&self, _: &Peer) {
///         self.clients.fetch_add(1, Ordering::Relaxed);
///     }
///
///     fn on_pool(&self, _: &Backend, event: PoolEvent) {
///         if let PoolEvent::Opened(_) = event {
///             self.connects.fetch_add(1, Ordering::Relaxed);
///         }
///     }
///
///     fn on_attempt(&self, _: &Backend, _: &Attempt) {
///         self.attempts.fetch_add(1, Ordering::Relaxed);
///     }
/// }
///
/// let counts = Arc::new(Counts::default());
/// let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
///     .backend("127.0.0.1:9001".parse()?)
///     .observer(counts.clone())
///     .build(); // its pool, too
/// let proxy = Proxy::builder()
///     .observer(counts.clone())
///     .upstream("app", cluster)
///     .route(Route::to("app"))
///     .build()?;
/// # let _ = proxy;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Observer: Send + Sync + 'static {
    /// A client connection was admitted.
    fn on_connection_opened(&self, peer: &Peer) {
        let _ = peer;
    }

    /// A client connection ended after so many requests.
    fn on_connection_closed(&self, peer: &Peer, requests: u64) {
        let _ = (peer, requests);
    }

    /// A connection was turned away before it was admitted (its PROXY header was bad or missing, there is no place for
    /// another session of UDP), or one that several requests share (HTTP/2) was ended for what the client did with it.
    fn on_connection_failed(&self, peer: &Peer, kind: ErrorKind) {
        let _ = (peer, kind);
    }

    /// A TLS handshake with a client ended, after this time; it failed where [`Peer::tls`] has nothing.
    fn on_handshake(&self, peer: &Peer, time: Duration) {
        let _ = (peer, time);
    }

    /// A raw connection or a session of datagrams ended, after the last
    /// [`Filter::on_done`](crate::Filter::on_done): exactly once. It has no request, and its outcome no status. Where no
    /// backend could be had for a session it was never opened, and ends all the same.
    fn on_relayed(&self, outcome: &Outcome, context: &Context) {
        let _ = (outcome, context);
    }

    /// A request began. [`on_request_ended`](Self::on_request_ended) follows for each, whatever happens.
    fn on_request_started(&self, peer: &Peer) {
        let _ = peer;
    }

    /// A request ended, after the last [`Filter::on_done`](crate::Filter::on_done): exactly once.
    fn on_request_ended(&self, outcome: &Outcome, context: &Context) {
        let _ = (outcome, context);
    }

    /// Something happened in a pool.
    fn on_pool(&self, backend: &Backend, event: PoolEvent) {
        let _ = (backend, event);
    }

    /// An attempt ended.
    fn on_attempt(&self, backend: &Backend, attempt: &Attempt) {
        let _ = (backend, attempt);
    }

    /// A backend changed its state; [`Backend::status`] says why. It runs under the set's lock: do not
    /// change the set.
    fn on_health(&self, backend: &Backend, state: BackendState) {
        let _ = (backend, state);
    }
}

/// What happens in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolEvent {
    /// A new connection was made, in this time.
    Opened(Duration),
    /// A kept connection was used again.
    Reused,
    /// A connection was closed.
    Closed,
    /// A request waits for a free connection.
    Waiting,
    /// Connecting failed.
    Failed,
}

impl Observer for () {}

/// First the one, then the other.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn on_connection_opened(&self, peer: &Peer) {
        self.0.on_connection_opened(peer);
        self.1.on_connection_opened(peer);
    }

    fn on_connection_closed(&self, peer: &Peer, requests: u64) {
        self.0.on_connection_closed(peer, requests);
        self.1.on_connection_closed(peer, requests);
    }

    fn on_connection_failed(&self, peer: &Peer, kind: ErrorKind) {
        self.0.on_connection_failed(peer, kind);
        self.1.on_connection_failed(peer, kind);
    }

    fn on_handshake(&self, peer: &Peer, time: Duration) {
        self.0.on_handshake(peer, time);
        self.1.on_handshake(peer, time);
    }

    fn on_relayed(&self, outcome: &Outcome, context: &Context) {
        self.0.on_relayed(outcome, context);
        self.1.on_relayed(outcome, context);
    }

    fn on_request_started(&self, peer: &Peer) {
        self.0.on_request_started(peer);
        self.1.on_request_started(peer);
    }

    fn on_request_ended(&self, outcome: &Outcome, context: &Context) {
        self.0.on_request_ended(outcome, context);
        self.1.on_request_ended(outcome, context);
    }

    fn on_pool(&self, backend: &Backend, event: PoolEvent) {
        self.0.on_pool(backend, event);
        self.1.on_pool(backend, event);
    }

    fn on_attempt(&self, backend: &Backend, attempt: &Attempt) {
        self.0.on_attempt(backend, attempt);
        self.1.on_attempt(backend, attempt);
    }

    fn on_health(&self, backend: &Backend, state: BackendState) {
        self.0.on_health(backend, state);
        self.1.on_health(backend, state);
    }
}

macro_rules! forward {
    ($pointer:ident) => {
        impl<O: Observer + ?Sized> Observer for $pointer<O> {
            fn on_connection_opened(&self, peer: &Peer) {
                (**self).on_connection_opened(peer);
            }

            fn on_connection_closed(&self, peer: &Peer, requests: u64) {
                (**self).on_connection_closed(peer, requests);
            }

            fn on_connection_failed(&self, peer: &Peer, kind: ErrorKind) {
                (**self).on_connection_failed(peer, kind);
            }

            fn on_handshake(&self, peer: &Peer, time: Duration) {
                (**self).on_handshake(peer, time);
            }

            fn on_relayed(&self, outcome: &Outcome, context: &Context) {
                (**self).on_relayed(outcome, context);
            }

            fn on_request_started(&self, peer: &Peer) {
                (**self).on_request_started(peer);
            }

            fn on_request_ended(&self, outcome: &Outcome, context: &Context) {
                (**self).on_request_ended(outcome, context);
            }

            fn on_pool(&self, backend: &Backend, event: PoolEvent) {
                (**self).on_pool(backend, event);
            }

            fn on_attempt(&self, backend: &Backend, attempt: &Attempt) {
                (**self).on_attempt(backend, attempt);
            }

            fn on_health(&self, backend: &Backend, state: BackendState) {
                (**self).on_health(backend, state);
            }
        }
    };
}

forward!(Box);
forward!(Arc);

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
