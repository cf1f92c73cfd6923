//! The generic cell rate algorithm.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Algorithm;
use super::ticks::Ticks;
use crate::{Decision, Quota, Time, Verdict};

/// The generic cell rate algorithm: one number per key.
///
/// Source: ATM Forum, *Traffic Management Specification* 4.0 (af-tm-0056.000), 1996, §4.4.2, in its
/// form *virtual scheduling*. The number is when the key is free again, the *theoretical arrival
/// time*. A request moves it back by one interval, and conforms while it is at most a burst ahead.
///
/// It allows what a [`TokenBucket`](super::TokenBucket) allows: in any stretch of time `t` at most
/// burst + rate × `t`. `4/s`, burst 4:
///
/// ```text
/// arrivals  ||||||||        |   |   |   |||
/// allowed   ||||            |   |   |   |
/// seconds   0               1           2
/// ```
///
/// It is exact where rate/period, in lowest terms, has at most 16 above the line (every usual rate);
/// otherwise each cost is rounded up, to no more than 1/8 ns, and a window to a whole nanosecond. A
/// burst that takes more than 4 years to come back is cut to that, and time stands still 18 years after the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Gcra {
    quota: Quota,
    ticks: Ticks,
}

impl Gcra {
    /// Limits to this quota.
    pub fn new(quota: Quota) -> Self {
        Gcra { quota, ticks: Ticks::of(&quota) }
    }

    /// Never more than a burst ahead: then the clock went backwards.
    #[inline]
    fn settled(&self, arrival: u64, now: u64) -> u64 {
        arrival.clamp(now, now + self.ticks.burst())
    }

    #[inline(always)]
    fn conforms(&self, arrival: u64, now: u64, cost: u64) -> bool {
        arrival + cost <= now + self.ticks.burst()
    }

    #[inline(always)]
    fn judge_at(&self, arrival: u64, now: u64, cost: u64) -> Decision {
        let after = arrival + cost;
        let bound = now + self.ticks.burst();
        let (verdict, arrival) = match after <= bound {
            true => (Verdict::Allowed, after),
            false => {
                let never = cost > self.ticks.burst();
                let retry_after = (!never).then(|| self.ticks.duration(after - bound));
                (Verdict::Denied { retry_after }, arrival)
            }
        };
        let (remaining, more) = self.ticks.worth(bound - arrival);
        Decision::new(verdict, remaining, self.ticks.duration(more.min(arrival - now)))
    }
}

impl Algorithm for Gcra {
    /// When the key is free again, in parts of a nanosecond.
    type State = u64;

    #[inline]
    fn fresh(&self, _: Time) -> u64 {
        0
    }

    #[inline]
    fn settle(&self, state: &mut u64, now: Time) {
        *state = self.settled(*state, self.ticks.at(now));
    }

    #[inline]
    fn judge(&self, state: &u64, now: Time, cost: u64) -> Decision {
        self.judge_at(*state, self.ticks.at(now), self.ticks.cost(cost))
    }

    #[inline]
    fn spend(&self, state: &mut u64, _: Time, cost: u64) {
        *state += self.ticks.cost(cost);
    }

    fn debt(&self, state: &u64, now: Time) -> u64 {
        self.ticks.nanos(state.saturating_sub(self.ticks.at(now)))
    }

    fn quotas(&self) -> Vec<Quota> {
        vec![self.quota]
    }

    /// The three steps at once: ticks are converted once instead of three times.
    #[inline(always)]
    fn decide_with(&self, state: &mut u64, now: Time, cost: u64, other: impl FnOnce() -> Option<Decision>) -> Decision {
        let (now, cost) = (self.ticks.at(now), self.ticks.cost(cost));
        let arrival = self.settled(*state, now);
        *state = arrival;
        if !self.conforms(arrival, now, cost) {
            return self.judge_at(arrival, now, cost);
        }
        match other() {
            Some(other) => {
                *state += if other.is_allowed() { cost } else { 0 };
                self.judge_at(arrival, now, cost).and(other)
            }
            None => {
                *state += cost;
                self.judge_at(arrival, now, cost)
            }
        }
    }
}

/// [`Gcra`] for one key, shared by threads without a lock: the state is one atomic word.
///
/// ```
/// use proxy_ratelimit::{AtomicGcra, Time};
///
/// let limit = AtomicGcra::new("2/s".parse()?);
/// let allowed = [(); 3].map(|()| limit.decide(Time::ZERO, 1).is_allowed());
/// assert_eq!(allowed, [true, true, false]);
/// # Ok::<(), proxy_ratelimit::QuotaError>(())
/// ```
#[derive(Debug)]
pub struct AtomicGcra {
    gcra: Gcra,
    arrival: AtomicU64,
}

impl AtomicGcra {
    /// Limits to this quota.
    pub fn new(quota: Quota) -> Self {
        AtomicGcra { gcra: Gcra::new(quota), arrival: AtomicU64::new(0) }
    }

    /// Decides about a request.
    pub fn decide(&self, now: Time, cost: u64) -> Decision {
        let (now, cost) = (self.gcra.ticks.at(now), self.gcra.ticks.cost(cost));
        // The word guards nothing but itself.
        let mut seen = self.arrival.load(Ordering::Relaxed);
        loop {
            let arrival = self.gcra.settled(seen, now);
            let decision = self.gcra.judge_at(arrival, now, cost);
            if !decision.is_allowed() {
                return decision;
            }
            match self.arrival.compare_exchange_weak(seen, arrival + cost, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return decision,
                Err(other) => seen = other,
            }
        }
    }

    /// Gives back what a request was charged that did not happen after all.
    pub fn refund(&self, cost: u64) {
        let cost = self.gcra.ticks.cost(cost);
        let _ = self
            .arrival
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |arrival| Some(arrival.saturating_sub(cost)));
    }

    /// The quota.
    pub fn quota(&self) -> Quota {
        self.gcra.quota
    }
}

#[cfg(feature = "redis")]
impl Gcra {
    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }

    /// The state, at the epoch, of a key that is free after so long.
    pub(crate) fn ahead(&self, duration: std::time::Duration) -> u64 {
        self.ticks.at(Time::ZERO + duration)
    }

    /// The state, at a time, of a key that is free after so long.
    pub(crate) fn ahead_at(&self, now: Time, duration: std::time::Duration) -> u64 {
        self.ticks.at(now + duration)
    }

    /// What is said of a key that may be further ahead than a burst.
    pub(crate) fn judge_in_debt(&self, state: u64, now: Time, cost: u64) -> Decision {
        let (now, cost) = (self.ticks.at(now), self.ticks.cost(cost));
        let excess = state.saturating_sub(now + self.ticks.burst());
        let mut decision = self.judge_at(self.settled(state, now), now, cost);
        if let Verdict::Denied { retry_after: Some(after) } = &mut decision.verdict {
            *after += self.ticks.duration(excess);
        }
        decision
    }

    /// The state after a cost.
    pub(crate) fn spent(&self, state: u64, now: Time, cost: u64) -> u64 {
        // Far beyond what can be owed: half of the 64 bits.
        state.max(self.ticks.at(now)).saturating_add(self.ticks.cost(cost)).min(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_refusal_says_when() {
        let gcra = Gcra::new("4/s".parse().unwrap());
        let mut state = gcra.fresh(Time::ZERO);
        for remaining in [3, 2, 1, 0] {
            assert_eq!(gcra.decide(&mut state, Time::ZERO, 1).remaining, remaining);
        }
        let denied = gcra.decide(&mut state, Time::ZERO, 1);
        assert_eq!(denied.verdict, Verdict::Denied { retry_after: Some(Duration::from_millis(250)) });
        assert_eq!(denied.more_in, Duration::from_millis(250));
        let later = Time::ZERO + Duration::from_millis(250);
        assert!(!gcra.decide(&mut state, Time::from_nanos(later.as_nanos() - 1), 1).is_allowed());
        assert!(gcra.decide(&mut state, later, 1).is_allowed());
        assert_eq!(gcra.decide(&mut state, later, 5).verdict, Verdict::Denied { retry_after: None });
    }

    #[test]
    fn threads_share_what_there_is() {
        let limit = AtomicGcra::new("1000/h".parse().unwrap());
        let allowed: usize = std::thread::scope(|scope| {
            let count = || (0..1000).filter(|_| limit.decide(Time::ZERO, 1).is_allowed()).count();
            let threads = [(); 4].map(|()| scope.spawn(count));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(allowed, 1000);
        limit.refund(1);
        assert!(limit.decide(Time::ZERO, 1).is_allowed());
        assert!(!limit.decide(Time::ZERO, 1).is_allowed());
    }
}
