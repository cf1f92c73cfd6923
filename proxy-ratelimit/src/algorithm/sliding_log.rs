//! The sliding window that remembers everything.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::Duration;

use super::Algorithm;
use crate::{Decision, Quota, Time, Verdict};

/// A list of when what was allowed: exact in every window, and the only algorithm here whose memory
/// grows with its quota.
///
/// Source: the leaky list of arrival times that B. Raghavan et al., *Cloud Control with Distributed
/// Rate Limiting*, SIGCOMM 2007, measure the others against; common as a sorted set in Redis. `4/s`:
///
/// ```text
/// arrivals           ||||  ||||        ||||||
/// allowed            ||||              ||||
/// seconds   0            1               2
/// ```
///
/// In any stretch as long as the period it allows at most the rate's count. What comes in the same nanosecond
/// shares an entry of 16 bytes; there are at most as many entries as the rate's count. The quota's burst
/// means nothing to it.
#[derive(Clone, Copy, Debug)]
pub struct SlidingLog {
    quota: Quota,
}

/// What a key was allowed within the last period.
#[derive(Clone, Debug, Default)]
pub struct SlidingLogState {
    /// When, in nanoseconds, and what: oldest first.
    log: VecDeque<(u64, u64)>,
    /// The sum of the costs.
    used: u64,
}

impl SlidingLog {
    /// Limits to this quota, without its burst.
    pub fn new(quota: Quota) -> Self {
        SlidingLog { quota }
    }

    /// How long until a cost, at most the rate's count, would pass.
    fn until(&self, state: &SlidingLogState, now: Time, cost: u64) -> u64 {
        let mut used = state.used;
        let room = self.quota.rate() - cost;
        let leaves = state.log.iter().find(|(_, cost)| {
            used -= cost;
            used <= room
        });
        leaves.map_or(0, |(at, _)| self.leaves_in(*at, now))
    }

    fn leaves_in(&self, at: u64, now: Time) -> u64 {
        at.saturating_add(self.quota.period_nanos()).saturating_sub(now.as_nanos())
    }

    fn free_in(&self, state: &SlidingLogState, now: Time) -> u64 {
        state.log.back().map_or(0, |(at, _)| self.leaves_in(*at, now))
    }
}

impl Algorithm for SlidingLog {
    type State = SlidingLogState;

    fn fresh(&self, _: Time) -> SlidingLogState {
        SlidingLogState::default()
    }

    fn settle(&self, state: &mut SlidingLogState, now: Time) {
        let (now, period) = (now.as_nanos(), self.quota.period_nanos());
        while let Some((at, cost)) = state.log.front().copied() {
            if now.saturating_sub(at) < period {
                break;
            }
            state.used -= cost;
            state.log.pop_front();
        }
        // A clock that was set back takes the entries along.
        if state.log.back().is_some_and(|(at, _)| at.saturating_sub(now) > period) {
            state.log.clear();
            state.log.push_back((now, state.used));
        }
    }

    fn judge(&self, state: &SlidingLogState, now: Time, cost: u64) -> Decision {
        let rest = self.quota.rate() - state.used;
        match rest.checked_sub(cost) {
            Some(rest) => {
                // What is taken now leaves last.
                let taken = if cost > 0 { self.quota.period_nanos() } else { 0 };
                let more_in = state.log.front().map_or(taken, |(at, _)| self.leaves_in(*at, now));
                Decision::new(Verdict::Allowed, rest, Duration::from_nanos(more_in))
            }
            None => {
                let never = cost > self.quota.rate();
                let retry_after = (!never).then(|| Duration::from_nanos(self.until(state, now, cost)));
                let more_in = state.log.front().map_or(0, |(at, _)| self.leaves_in(*at, now));
                Decision::new(Verdict::Denied { retry_after }, rest, Duration::from_nanos(more_in))
            }
        }
    }

    fn spend(&self, state: &mut SlidingLogState, now: Time, cost: u64) {
        let now = now.as_nanos();
        state.used += cost;
        match state.log.back_mut() {
            _ if cost == 0 => {}
            // Not before the last: the list is in order.
            Some((at, sum)) if *at >= now => *sum += cost,
            _ => state.log.push_back((now, cost)),
        }
    }

    fn debt(&self, state: &SlidingLogState, now: Time) -> u64 {
        let share = u128::from(self.free_in(state, now)) * u128::from(state.used);
        (share / u128::from(self.quota.rate())) as u64
    }

    fn quotas(&self) -> Vec<Quota> {
        let burst = NonZeroU64::new(self.quota.rate()).unwrap_or(NonZeroU64::MIN);
        vec![self.quota.with_burst(burst)]
    }
}
