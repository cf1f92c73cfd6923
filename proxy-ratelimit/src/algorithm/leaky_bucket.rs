//! The leaky bucket that queues.

use super::Algorithm;
use super::ticks::Ticks;
use crate::{Decision, Quota, Time, Verdict};

/// The leaky bucket as a queue: requests leave it evenly at the rate, and wait for their turn.
///
/// Source: J. Turner, *New Directions in Communications*, 1986, in the reading of A. Tanenbaum,
/// *Computer Networks* §5.3; nginx's `limit_req` without `nodelay`. The quota's burst is how
/// many may wait; more are refused. `4/s`, burst 4:
///
/// ```text
/// arrivals  ||||||||                        |
/// leaving   |   |   |   |   |               |
/// refused   |||
/// seconds   0               1               2
/// ```
///
/// Whatever comes, what leaves is never closer together than 1/rate times its cost, and nothing waits longer than
/// burst/rate. It is as exact as [`Gcra`](super::Gcra) is.
#[derive(Clone, Copy, Debug)]
pub struct LeakyBucket {
    quota: Quota,
    ticks: Ticks,
}

impl LeakyBucket {
    /// Limits to this quota.
    pub fn new(quota: Quota) -> Self {
        LeakyBucket { quota, ticks: Ticks::of(&quota) }
    }

    /// With what is left when the next one would wait so long.
    fn decision(&self, verdict: Verdict, wait: u64) -> Decision {
        let bound = self.ticks.burst();
        let (remaining, more) = match bound.checked_sub(wait) {
            Some(room) => self.ticks.worth(room),
            None => (0, wait - bound),
        };
        Decision::new(verdict, remaining, self.ticks.duration(more.min(wait)))
    }
}

impl Algorithm for LeakyBucket {
    /// When the next one may leave, in parts of a nanosecond.
    type State = u64;

    fn fresh(&self, _: Time) -> u64 {
        0
    }

    fn settle(&self, state: &mut u64, now: Time) {
        let now = self.ticks.at(now);
        // The last to come waits for at most a burst, and takes at most one: more is a clock set back.
        *state = (*state).clamp(now, now + 2 * self.ticks.burst());
    }

    fn judge(&self, state: &u64, now: Time, cost: u64) -> Decision {
        let wait = state - self.ticks.at(now);
        let bound = self.ticks.burst();
        let cost = self.ticks.cost(cost);
        if cost > bound || wait > bound {
            let retry_after = (cost <= bound).then(|| self.ticks.duration(wait - bound));
            return self.decision(Verdict::Denied { retry_after }, wait);
        }
        let verdict = match wait {
            0 => Verdict::Allowed,
            wait => Verdict::Delayed(self.ticks.duration(wait)),
        };
        self.decision(verdict, wait + cost)
    }

    fn spend(&self, state: &mut u64, _: Time, cost: u64) {
        *state += self.ticks.cost(cost);
    }

    fn debt(&self, state: &u64, now: Time) -> u64 {
        self.ticks.nanos(state.saturating_sub(self.ticks.at(now)))
    }

    fn quotas(&self) -> Vec<Quota> {
        vec![self.quota]
    }
}

#[cfg(feature = "redis")]
impl LeakyBucket {
    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }

    /// The state, at the epoch, of a bucket that is empty after so long.
    pub(crate) fn ahead(&self, duration: std::time::Duration) -> u64 {
        self.ticks.at(Time::ZERO + duration)
    }
}
