//! Upstream connections kept for the next request.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::clock::Instant;
use crate::{Backend, Result};

mod connection;
mod lease;
mod shared;
mod target;

pub use connection::Connection;

pub(crate) use connection::Place;
pub use lease::{Home, Lease};
pub use shared::{PoolBuilder, PoolHttp2, PoolSettings, PoolStats, SharedPool};
pub use target::{Protocol, Target};

/// Upstream connections kept for the next request.
///
/// [`SharedPool`] is the one to take. A pool of your own hands out [`Lease`]s of [`Connection`]s; a
/// lease comes back to the [`Home`] it was made with after a complete exchange, and is closed
/// otherwise. This one keeps nothing:
///
/// ```
/// use async_trait::async_trait;
/// use proxy_core::{
///     Backend, Connection, Connector, Error, ErrorKind, Instant, Lease, Pool, Result, Target, TcpConnector,
/// };
///
/// struct KeepsNothing;
///
/// #[async_trait]
/// impl Pool for KeepsNothing {
///     fn checkout(&self, _: &Target, _: Instant) -> Option<Lease> {
///         None
///     }
///
///     async fn acquire(&self, target: &Target, _: Option<Instant>) -> Result<Lease> {
///         let stream = TcpConnector::default().connect(target).await;
///         let stream = stream.map_err(|error| Error::new(ErrorKind::ConnectRefused).with_source(error))?;
///         Ok(Lease::once(Connection::from_boxed(stream)))
///     }
///
///     fn idle(&self, _: &Target) -> usize {
///         0
///     }
///
///     fn evict(&self, _: &Backend) {}
/// }
/// ```
///
/// Two targets are the same only if they are equal in full: backend, protocol, TLS identity, and no
/// PROXY header of a client.
#[async_trait]
pub trait Pool: Send + Sync + 'static {
    /// A kept connection that is still alive: the common case, without a future or a system call.
    /// `now` decides what has been idle for too long.
    fn checkout(&self, target: &Target, now: Instant) -> Option<Lease>;

    /// A connection, new or kept; waits for a free place where the target has all it may have.
    ///
    /// # Errors
    /// If the backend cannot be connected to (`connect_refused`, `connect_timeout`, `resolve`), the
    /// wait queue is full (`pool_full`), or `deadline` passes while it waits (`pool_timeout`). Nothing was sent:
    /// the cluster tries another backend.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue; no connection is lost.
    async fn acquire(&self, target: &Target, deadline: Option<Instant>) -> Result<Lease>;

    /// How many idle connections are kept for this target.
    fn idle(&self, target: &Target) -> usize;

    /// Closes every idle connection to this backend; those in use close when they come back.
    fn evict(&self, backend: &Backend);
}

#[async_trait]
impl<P: Pool + ?Sized> Pool for Arc<P> {
    fn checkout(&self, target: &Target, now: Instant) -> Option<Lease> {
        (**self).checkout(target, now)
    }

    async fn acquire(&self, target: &Target, deadline: Option<Instant>) -> Result<Lease> {
        (**self).acquire(target, deadline).await
    }

    fn idle(&self, target: &Target) -> usize {
        (**self).idle(target)
    }

    fn evict(&self, backend: &Backend) {
        (**self).evict(backend);
    }
}

#[async_trait]
impl<P: Pool + ?Sized> Pool for Box<P> {
    fn checkout(&self, target: &Target, now: Instant) -> Option<Lease> {
        (**self).checkout(target, now)
    }

    async fn acquire(&self, target: &Target, deadline: Option<Instant>) -> Result<Lease> {
        (**self).acquire(target, deadline).await
    }

    fn idle(&self, target: &Target) -> usize {
        (**self).idle(target)
    }

    fn evict(&self, backend: &Backend) {
        (**self).evict(backend);
    }
}

impl fmt::Debug for dyn Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}
