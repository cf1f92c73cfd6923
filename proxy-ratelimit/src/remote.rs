//! Limits that are counted somewhere else.

use std::fmt;

use async_trait::async_trait;
use proxy_core::Instant;

use crate::{Decision, Quota};

/// A limit that is counted somewhere else, for a fleet: see `RedisLimiter` (feature `redis`).
#[async_trait]
pub trait Remote: Send + Sync + fmt::Debug + 'static {
    /// Decides about a request under this key.
    ///
    /// # Cancel safety
    /// The cost may have been taken.
    async fn check(&self, key: &[u8], now: Instant, cost: u64) -> Answered;

    /// The quotas, in the order of [`Decision::limit`].
    fn quotas(&self) -> Vec<Quota>;
}

/// What a [`Remote`] limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answered {
    /// This, from wherever the limit is counted, or from what stands in for it.
    Decided(Decision),
    /// Nobody could say, and requests pass then.
    Open,
    /// Nobody could say, and requests are refused then.
    Closed,
}
