//! The fixed window.

use std::num::NonZeroU64;
use std::time::Duration;

use super::Algorithm;
use crate::{Decision, Quota, Time, Verdict};

/// A counter that starts anew with each period.
///
/// Source: none older than counting; as *fixed window* in Redis' documentation of `INCR`. Cheap and
/// easy to explain, with one weakness: around a border it lets two quotas pass at once. `4/s`:
///
/// ```text
/// arrivals           ||||||||                ||||||
/// allowed            ||||||||                ||||
/// seconds   0            1               2
/// ```
///
/// It allows at most the rate's count in each period, counted from the epoch, and so at most twice that in any
/// stretch as long as one. The quota's burst means nothing to it.
#[derive(Clone, Copy, Debug)]
pub struct FixedWindow {
    quota: Quota,
}

/// What a key used of its window.
#[derive(Clone, Copy, Debug)]
pub struct FixedWindowState {
    /// When the window began, in nanoseconds.
    start: u64,
    used: u64,
}

impl FixedWindow {
    /// Limits to this quota, without its burst.
    pub fn new(quota: Quota) -> Self {
        FixedWindow { quota }
    }

    fn rest_of_window(&self, state: &FixedWindowState, now: Time) -> u64 {
        let period = self.quota.period_nanos();
        state.start.saturating_add(period).saturating_sub(now.as_nanos())
    }

    fn more_in(&self, rest: u64, end: Duration) -> Duration {
        if rest < self.quota.rate() { end } else { Duration::ZERO }
    }
}

/// The window that a time is in.
pub(super) fn window_start(now: u64, period: u64) -> u64 {
    now - now % period
}

impl Algorithm for FixedWindow {
    type State = FixedWindowState;

    fn fresh(&self, now: Time) -> FixedWindowState {
        FixedWindowState { start: window_start(now.as_nanos(), self.quota.period_nanos()), used: 0 }
    }

    fn settle(&self, state: &mut FixedWindowState, now: Time) {
        let (now, period) = (now.as_nanos(), self.quota.period_nanos());
        match now.checked_sub(state.start) {
            Some(elapsed) if elapsed < period => {}
            Some(_) => *state = FixedWindowState { start: window_start(now, period), used: 0 },
            // A little backwards stays in the newer window; a clock that was set back takes its use along.
            None if state.start - now > period => state.start = window_start(now, period),
            None => {}
        }
    }

    fn judge(&self, state: &FixedWindowState, now: Time, cost: u64) -> Decision {
        let rest = self.quota.rate() - state.used;
        let end = Duration::from_nanos(self.rest_of_window(state, now));
        match rest.checked_sub(cost) {
            Some(rest) => Decision::new(Verdict::Allowed, rest, self.more_in(rest, end)),
            None => {
                let never = cost > self.quota.rate();
                Decision::new(Verdict::Denied { retry_after: (!never).then_some(end) }, rest, self.more_in(rest, end))
            }
        }
    }

    fn spend(&self, state: &mut FixedWindowState, _: Time, cost: u64) {
        state.used += cost;
    }

    fn debt(&self, state: &FixedWindowState, now: Time) -> u64 {
        match state.used {
            0 => 0,
            // Of those whose window ends together, the one that used least has least to be forgiven.
            used => {
                let share = u128::from(self.rest_of_window(state, now)) * u128::from(used);
                (share / u128::from(self.quota.rate())) as u64
            }
        }
    }

    fn quotas(&self) -> Vec<Quota> {
        let burst = NonZeroU64::new(self.quota.rate()).unwrap_or(NonZeroU64::MIN);
        vec![self.quota.with_burst(burst)]
    }
}

#[cfg(feature = "redis")]
impl FixedWindow {
    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }
}

#[cfg(feature = "redis")]
impl FixedWindowState {
    /// Of the window that begins at the epoch.
    pub(crate) fn new(used: u64) -> Self {
        FixedWindowState { start: 0, used }
    }
}
