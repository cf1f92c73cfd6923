//! The algorithms: pure functions of a state, a time and a cost.

use crate::{Decision, Quota, Time};

mod fixed_window;
mod gcra;
mod leaky_bucket;
pub(crate) mod pacer;
mod several;
mod sliding_log;
mod sliding_window;
pub(crate) mod ticks;
mod token_bucket;

pub use fixed_window::{FixedWindow, FixedWindowState};
pub use gcra::{AtomicGcra, Gcra};
pub use leaky_bucket::LeakyBucket;
pub use sliding_log::{SlidingLog, SlidingLogState};
pub use sliding_window::{SlidingWindow, SlidingWindowState};
pub use token_bucket::{TokenBucket, TokenBucketState};

/// A way to limit: what is remembered of each key, and what follows from it.
///
/// Deciding has three steps, so that several limits can decide together: [`settle`](Self::settle)
/// brings the state up to date, [`judge`](Self::judge) looks, [`spend`](Self::spend) takes. Arrays
/// `[A; N]` and pairs `(A, B)` of algorithms are algorithms: a request passes all of them, or costs
/// nothing in any.
///
/// Time that goes backwards adds nothing, and takes at most as long to make good as the quota takes
/// to recover.
///
/// ```
/// use proxy_ratelimit::{Algorithm, Gcra, Time};
///
/// let both = [Gcra::new("10/s".parse()?), Gcra::new("15/h".parse()?)];
/// let mut state = both.fresh(Time::ZERO);
/// let allowed = |now| (0..20).filter(|_| both.decide(&mut state, now, 1).is_allowed()).count();
/// let seconds = |count: u64| Time::from_nanos(count * 1_000_000_000);
/// assert_eq!([0, 1, 2].map(seconds).map(allowed), [10, 5, 0]);
/// # Ok::<(), proxy_ratelimit::QuotaError>(())
/// ```
pub trait Algorithm: Sized + Send + Sync + 'static {
    /// How many limits this is.
    const LIMITS: usize = 1;

    /// What is remembered of a key.
    type State: Send + 'static;

    /// The state of a key that was never seen.
    fn fresh(&self, now: Time) -> Self::State;

    /// Brings the state up to date.
    fn settle(&self, state: &mut Self::State, now: Time);

    /// What a request of this cost would be told. The state is settled.
    fn judge(&self, state: &Self::State, now: Time, cost: u64) -> Decision;

    /// Takes the cost of a request that was judged to go ahead. The state is settled.
    fn spend(&self, state: &mut Self::State, now: Time, cost: u64);

    /// What would be forgiven if the key were forgotten, in nanoseconds until it is free anyway.
    fn debt(&self, state: &Self::State, now: Time) -> u64;

    /// The quotas, in the order of [`Decision::limit`]; for windows with the count as burst.
    fn quotas(&self) -> Vec<Quota>;

    /// Decides about a request.
    fn decide(&self, state: &mut Self::State, now: Time, cost: u64) -> Decision {
        self.decide_with(state, now, cost, |decision| decision)
    }

    /// Decides together with someone else: `other` is asked last, only if all is well so far, and
    /// nothing is spent if it says no.
    fn decide_with(
        &self,
        state: &mut Self::State,
        now: Time,
        cost: u64,
        other: impl FnOnce(Decision) -> Decision,
    ) -> Decision {
        self.settle(state, now);
        let mut decision = self.judge(state, now, cost);
        if decision.is_allowed() {
            decision = other(decision);
            if decision.is_allowed() {
                self.spend(state, now, cost);
            }
        }
        decision
    }
}
