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
pub use lease::{Home, Lease};
pub use shared::{PoolBuilder, PoolSettings, PoolStats, SharedPool};
pub use target::{Protocol, Target};

/// Upstream connections kept for the next request.
#[async_trait]
pub trait Pool: Send + Sync + 'static {
    /// A kept connection that is still alive: the common case, without a future or a system call.
    /// `now` decides what has been idle for too long.
    fn checkout(&self, target: &Target, now: Instant) -> Option<Lease>;

    /// A connection, new or kept; waits for a free place where the target has all it may have.
    ///
    /// # Errors
    /// If the backend cannot be connected to, the wait queue is full, or `deadline` passes.
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
