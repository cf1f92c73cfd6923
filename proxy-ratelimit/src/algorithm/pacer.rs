//! The pacer: it never refuses, it says how long to wait.

use std::time::Duration;

use super::ticks::Ticks;
use crate::{Quota, Time};

/// A token bucket that may be overdrawn by who then waits: the rate holds, nothing is lost.
///
/// Source: the shaping of RFC 2475 §2.3.3.3, as a bucket in the form of [`Gcra`](super::Gcra).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    ticks: Ticks,
}

impl Pacer {
    pub(crate) fn new(quota: Quota) -> Self {
        Pacer { ticks: Ticks::of(&quota) }
    }

    /// Takes `cost`, and says how long until it may be used. The state is 0 in the beginning.
    pub(crate) fn reserve(&self, state: &mut u64, now: Time, cost: u64) -> Duration {
        let now = self.ticks.at(now);
        // Far beyond what waiters can have reserved: half of the 64 bits.
        let after = (*state).max(now).saturating_add(self.ticks.cost(cost)).min(u64::MAX / 2);
        *state = after;
        self.ticks.duration(after.saturating_sub(now + self.ticks.burst()))
    }

    pub(crate) fn debt(&self, state: u64, now: Time) -> u64 {
        self.ticks.nanos(state.saturating_sub(self.ticks.at(now)))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    #[test]
    fn who_overdraws_waits_and_the_rate_holds() {
        let quota: Quota = "1000/s".parse().unwrap();
        let pacer = Pacer::new(quota.with_burst(NonZeroU64::new(500).unwrap()));
        let mut state = 0;
        let wait = |state: &mut u64, millis: u64, cost| {
            pacer.reserve(state, Time::ZERO + Duration::from_millis(millis), cost).as_millis()
        };
        assert_eq!(wait(&mut state, 0, 500), 0);
        assert_eq!(wait(&mut state, 0, 100), 100);
        assert_eq!(wait(&mut state, 0, 100), 200);
        assert_eq!(wait(&mut state, 200, 100), 100);
        assert_eq!(wait(&mut state, 10_000, 500), 0);
        assert_eq!(pacer.debt(state, Time::ZERO + Duration::from_secs(10)), 500_000_000);
    }
}
