//! Limits on rate, concurrency and bandwidth, for one instance and for a fleet.
//!
//! ```
//! use proxy_core::Instant;
//! use proxy_ratelimit::{Limiter, TokenBucket};
//!
//! let limiter = Limiter::new(TokenBucket::new("2/s".parse()?));
//! let now = Instant::now();
//! let allowed = [(); 3].map(|()| limiter.check("ada", now, 1).is_allowed());
//! assert_eq!(allowed, [true, true, false]);
//! # Ok::<(), proxy_ratelimit::QuotaError>(())
//! ```
//!
//! Usable three ways: [`RateLimit`] is a [`Filter`](proxy_core::Filter) for a proxy;
//! [`RateLimit::layer`] is a tower layer for any HTTP service; the algorithms are pure functions of a
//! state, a time and a cost, for anything else.
//!
//! | algorithm | in any stretch of time `t` it allows | bytes of state |
//! |---|---|---|
//! | [`Gcra`] | burst + rate × `t` | 8 |
//! | [`TokenBucket`] | the same | 24 |
//! | [`LeakyBucket`] | rate × `t`, evenly: the rest waits | 8 |
//! | [`SlidingLog`] | the count, if `t` is a period | 40, and 16 for each it remembers |
//! | [`SlidingWindow`] | about the count, if `t` is a period | 24 |
//! | [`FixedWindow`] | at most twice the count, if `t` is a period | 16 |
//!
//! For a fleet the same limits are counted in Redis or Valkey (feature `redis`): `RedisLimiter`.
//!
//! Beside it [`ConnectionLimit`] limits connections at accept, [`ConcurrencyLimit`] how many requests
//! run at a time, and [`BandwidthLimit`] how many bytes flow.

mod algorithm;
mod answer;
mod bandwidth;
mod concurrency;
mod connections;
mod cost;
mod decision;
mod key;
mod limiter;
mod notes;
mod quota;
mod rate_limit;
mod ready;
mod remote;
#[cfg(feature = "redis")]
mod shared;
mod stats;
mod store;
mod subject;
mod time;

pub use algorithm::{
    Algorithm, AtomicGcra, FixedWindow, FixedWindowState, Gcra, LeakyBucket, SlidingLog, SlidingLogState,
    SlidingWindow, SlidingWindowState, TokenBucket, TokenBucketState,
};
pub use answer::Announce;
pub use bandwidth::BandwidthLimit;
pub use concurrency::{ConcurrencyLimit, Gradient, GradientSettings, Priorities, Sample};
pub use connections::ConnectionLimit;
pub use cost::Cost;
pub use decision::{Decision, Verdict};
pub use key::{Key, Missing, TlsClient};
pub use limiter::Limiter;
pub use quota::{Quota, QuotaError};
pub use rate_limit::{RateLimit, RateLimitFuture, RateLimitLayer, RateLimitService};
pub use remote::{Answered, Remote};
#[cfg(feature = "redis")]
pub use shared::{OnFailure, RedisError, RedisLimiter, RedisSettings, SharedAlgorithm};
pub use stats::LimitStats;
pub use subject::Subject;
pub use time::Time;
