//! Limits on rate, concurrency and bandwidth.

mod algorithm;
mod decision;
mod quota;
mod time;

pub use algorithm::{
    Algorithm, AtomicGcra, FixedWindow, FixedWindowState, Gcra, LeakyBucket, SlidingLog, SlidingLogState,
    SlidingWindow, SlidingWindowState, TokenBucket, TokenBucketState,
};
pub use decision::{Decision, Verdict};
pub use quota::{Quota, QuotaError};
pub use time::Time;
