//! The sliding window that counts in two buckets.

use std::num::NonZeroU64;
use std::time::Duration;

use super::Algorithm;
use super::fixed_window::window_start;
use crate::{Decision, Quota, Time, Verdict};

/// Two fixed windows, of which the older one counts for the part that the sliding one still covers.
///
/// Source: J. Desgats, *How we built rate limiting capable of scaling to millions of domains*,
/// Cloudflare, 2017. It takes what came in the last window to have come evenly; then it is the
/// [`SlidingLog`](super::SlidingLog), in constant memory. `4/s`:
///
/// ```text
/// arrivals           ||||  ||||    | | | | |
/// allowed            ||||        |   |   |
/// seconds   0            1               2
/// ```
///
/// It allows at most the rate's count in each period counted from the epoch, and less than twice that in any stretch as
/// long as one, the worst being a window used up at its very end. The quota's burst means nothing to it.
#[derive(Clone, Copy, Debug)]
pub struct SlidingWindow {
    quota: Quota,
}

/// What a key used of this window and of the one before.
#[derive(Clone, Copy, Debug)]
pub struct SlidingWindowState {
    /// When this window began, in nanoseconds.
    start: u64,
    current: u64,
    previous: u64,
}

impl SlidingWindow {
    /// Limits to this quota, without its burst.
    pub fn new(quota: Quota) -> Self {
        SlidingWindow { quota }
    }

    /// What of the previous window still counts, rounded up, `into` nanoseconds into the current one.
    fn carried(&self, previous: u64, into: u64) -> u64 {
        let period = self.quota.period_nanos();
        let weighted = u128::from(previous) * u128::from(period.saturating_sub(into));
        weighted.div_ceil(u128::from(period)) as u64
    }

    fn into(&self, state: &SlidingWindowState, now: Time) -> u64 {
        now.as_nanos().saturating_sub(state.start).min(self.quota.period_nanos())
    }

    /// How long until `cost` would pass, which is at most the rate's count.
    fn until(&self, state: &SlidingWindowState, now: Time, cost: u64) -> u64 {
        let (period, into) = (self.quota.period_nanos(), self.into(state, now));
        let room = self.quota.rate() - cost;
        // In this window, if the current one leaves room at all; else in the next one.
        match room.checked_sub(state.current) {
            Some(room) => self.fades_at(state.previous, room).saturating_sub(into),
            None => (period - into).saturating_add(self.fades_at(state.current, room)),
        }
    }

    /// How far into a window no more than `room` of the one before still counts.
    fn fades_at(&self, previous: u64, room: u64) -> u64 {
        let period = u128::from(self.quota.period_nanos());
        match u128::from(previous) {
            0 => 0,
            previous => period.saturating_sub(u128::from(room) * period / previous) as u64,
        }
    }
}

impl Algorithm for SlidingWindow {
    type State = SlidingWindowState;

    fn fresh(&self, now: Time) -> SlidingWindowState {
        let start = window_start(now.as_nanos(), self.quota.period_nanos());
        SlidingWindowState { start, current: 0, previous: 0 }
    }

    fn settle(&self, state: &mut SlidingWindowState, now: Time) {
        let (now, period) = (now.as_nanos(), self.quota.period_nanos());
        match now.checked_sub(state.start) {
            Some(elapsed) if elapsed < period => {}
            Some(elapsed) => {
                let previous = if elapsed - period < period { state.current } else { 0 };
                *state = SlidingWindowState { start: window_start(now, period), current: 0, previous };
            }
            // As for the fixed window.
            None if state.start - now > period => state.start = window_start(now, period),
            None => {}
        }
    }

    fn judge(&self, state: &SlidingWindowState, now: Time, cost: u64) -> Decision {
        let used = state.current.saturating_add(self.carried(state.previous, self.into(state, now)));
        let rest = self.quota.rate().saturating_sub(used);
        let (verdict, rest, current) = match rest.checked_sub(cost) {
            Some(rest) => (Verdict::Allowed, rest, state.current + cost),
            None => {
                let never = cost > self.quota.rate();
                let retry_after = (!never).then(|| Duration::from_nanos(self.until(state, now, cost)));
                (Verdict::Denied { retry_after }, rest, state.current)
            }
        };
        let after = SlidingWindowState { current, ..*state };
        let more_in = if rest < self.quota.rate() { self.until(&after, now, rest + 1) } else { 0 };
        Decision::new(verdict, rest, Duration::from_nanos(more_in))
    }

    fn spend(&self, state: &mut SlidingWindowState, _: Time, cost: u64) {
        state.current += cost;
    }

    fn debt(&self, state: &SlidingWindowState, now: Time) -> u64 {
        let used = u128::from(state.current.max(state.previous));
        let share = u128::from(self.free_in(state, now)) * used / u128::from(self.quota.rate());
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    fn quotas(&self) -> Vec<Quota> {
        let burst = NonZeroU64::new(self.quota.rate()).unwrap_or(NonZeroU64::MIN);
        vec![self.quota.with_burst(burst)]
    }
}

impl SlidingWindow {
    /// How long until nothing counts any more.
    fn free_in(&self, state: &SlidingWindowState, now: Time) -> u64 {
        let period = self.quota.period_nanos();
        let windows = match (state.current, state.previous) {
            (0, 0) => return 0,
            (0, _) => 1,
            _ => 2,
        };
        let end = u128::from(state.start) + u128::from(period) * windows;
        u64::try_from(end.saturating_sub(u128::from(now.as_nanos()))).unwrap_or(u64::MAX)
    }
}

#[cfg(feature = "redis")]
impl SlidingWindow {
    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }
}

#[cfg(feature = "redis")]
impl SlidingWindowState {
    /// Of the window that begins at the epoch.
    pub(crate) fn new(current: u64, previous: u64) -> Self {
        SlidingWindowState { start: 0, current, previous }
    }
}
