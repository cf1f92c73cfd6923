//! The algorithms as Redis runs them.

use std::time::Duration;

use super::with_verdict;
use crate::{
    Algorithm, Decision, FixedWindow, FixedWindowState, Gcra, LeakyBucket, Quota, SlidingWindow, SlidingWindowState,
    Time, TokenBucket,
};

/// An algorithm that a fleet can share: all but the [`SlidingLog`](crate::SlidingLog), whose memory
/// grows with its quota, and several at once.
pub trait SharedAlgorithm: Algorithm + Clone + Scripted {}

impl<A: Algorithm + Clone + Scripted> SharedAlgorithm for A {}

/// A script, what it is told, and what its reply means.
pub trait Scripted: Send + Sync + 'static {
    #[doc(hidden)]
    fn script(&self) -> &'static str;
    #[doc(hidden)]
    fn arguments(&self, cost: u64) -> Vec<String>;
    #[doc(hidden)]
    fn decision(&self, reply: &[i64], cost: u64) -> Decision;
    /// As a bucket that can be overdrawn, for the approximate mode.
    #[doc(hidden)]
    fn as_bucket(&self) -> Option<Gcra> {
        None
    }
}

pub(super) const BUCKET: &str = include_str!("bucket.lua");
const WINDOW: &str = include_str!("window.lua");

pub(super) fn bucket_arguments(quota: &Quota, cost: u64, beyond: &str) -> Vec<String> {
    let interval = quota.period_nanos() as f64 / 1000.0 / quota.rate() as f64;
    let burst = interval * quota.burst() as f64;
    vec![format!("{interval:.6}"), format!("{burst:.6}"), cost.to_string(), beyond.to_owned()]
}

fn window_arguments(quota: &Quota, cost: u64, weight: u8) -> Vec<String> {
    let period = quota.period_nanos() as f64 / 1000.0;
    vec![format!("{period:.3}"), quota.rate().to_string(), cost.to_string(), weight.to_string()]
}

/// A number of the reply; scripts of ours return as many as are asked for.
fn number(reply: &[i64], index: usize) -> u64 {
    reply.get(index).copied().unwrap_or(0).try_into().unwrap_or(0)
}

fn micros(reply: &[i64], index: usize) -> Duration {
    Duration::from_micros(number(reply, index))
}

/// What a bucket so far ahead says: as one with that state at the epoch.
fn bucket_decision<A: Algorithm<State = u64>>(bucket: &A, state: u64, reply: &[i64], cost: u64) -> Decision {
    let allowed = number(reply, 0) == 1;
    let decision = bucket.judge(&state, Time::ZERO, if allowed { 0 } else { cost });
    with_verdict(allowed, micros(reply, 1), decision)
}

impl Scripted for Gcra {
    fn script(&self) -> &'static str {
        BUCKET
    }

    fn arguments(&self, cost: u64) -> Vec<String> {
        bucket_arguments(&self.quota(), cost, "refuse")
    }

    fn decision(&self, reply: &[i64], cost: u64) -> Decision {
        let mut state = self.ahead(micros(reply, 2));
        self.settle(&mut state, Time::ZERO);
        bucket_decision(self, state, reply, cost)
    }

    fn as_bucket(&self) -> Option<Gcra> {
        Some(*self)
    }
}

impl Scripted for TokenBucket {
    fn script(&self) -> &'static str {
        BUCKET
    }

    fn arguments(&self, cost: u64) -> Vec<String> {
        Gcra::new(self.quota()).arguments(cost)
    }

    fn decision(&self, reply: &[i64], cost: u64) -> Decision {
        Gcra::new(self.quota()).decision(reply, cost)
    }

    fn as_bucket(&self) -> Option<Gcra> {
        Some(Gcra::new(self.quota()))
    }
}

impl Scripted for LeakyBucket {
    fn script(&self) -> &'static str {
        BUCKET
    }

    fn arguments(&self, cost: u64) -> Vec<String> {
        bucket_arguments(&self.quota(), cost, "queue")
    }

    fn decision(&self, reply: &[i64], cost: u64) -> Decision {
        bucket_decision(self, self.ahead(micros(reply, 2)), reply, cost)
    }
}

impl Scripted for FixedWindow {
    fn script(&self) -> &'static str {
        WINDOW
    }

    fn arguments(&self, cost: u64) -> Vec<String> {
        window_arguments(&self.quota(), cost, 0)
    }

    fn decision(&self, reply: &[i64], cost: u64) -> Decision {
        let state = FixedWindowState::new(number(reply, 1).min(self.quota().rate()));
        let allowed = number(reply, 0) == 1;
        let decision = self.judge(&state, Time::ZERO + micros(reply, 3), if allowed { 0 } else { cost });
        with_verdict(allowed, Duration::ZERO, decision)
    }
}

impl Scripted for SlidingWindow {
    fn script(&self) -> &'static str {
        WINDOW
    }

    fn arguments(&self, cost: u64) -> Vec<String> {
        window_arguments(&self.quota(), cost, 1)
    }

    fn decision(&self, reply: &[i64], cost: u64) -> Decision {
        let state = SlidingWindowState::new(number(reply, 1), number(reply, 2));
        let allowed = number(reply, 0) == 1;
        let decision = self.judge(&state, Time::ZERO + micros(reply, 3), if allowed { 0 } else { cost });
        with_verdict(allowed, Duration::ZERO, decision)
    }
}
