//! What metrics stand on: events beside the life of a request.

use std::fmt;
use std::time::Duration;

use crate::{Attempt, Backend, BackendState, Peer};

/// Sees connections, the pool, attempts and health as they happen.
///
/// Every method defaults to nothing. They run on the data path: count, and return.
pub trait Observer: Send + Sync + 'static {
    /// A client connection was admitted.
    fn on_connection_opened(&self, peer: &Peer) {
        let _ = peer;
    }

    /// A client connection ended after so many requests.
    fn on_connection_closed(&self, peer: &Peer, requests: u64) {
        let _ = (peer, requests);
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

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
