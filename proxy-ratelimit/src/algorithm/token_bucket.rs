//! The token bucket.

use std::time::Duration;

use super::Algorithm;
use crate::{Decision, Quota, Time, Verdict};

/// The token bucket: it holds a burst, fills at the rate, and a request takes its cost out of it.
///
/// Source: J. Turner, *New Directions in Communications*, IEEE Communications Magazine 24(10), 1986;
/// in the form of RFC 2697. In any stretch of time `t` it allows at most burst + rate × `t`, exactly:
/// parts of tokens are kept as whole numbers. `4/s`, burst 4:
///
/// ```text
/// arrivals  ||||||||        |   |   |   |||
/// allowed   ||||            |   |   |   |
/// seconds   0               1           2
/// ```
///
/// [`Gcra`](super::Gcra) allows the same with a third of the memory.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    quota: Quota,
    /// How long an empty bucket takes to fill, in nanoseconds.
    refill: u64,
}

/// What is in the bucket of a key.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucketState {
    tokens: u64,
    /// Of the next token, in `period` parts: each nanosecond brings `rate` of them.
    parts: u64,
    /// Up to when it was filled, in nanoseconds.
    filled: u64,
}

impl TokenBucket {
    /// Limits to this quota.
    pub fn new(quota: Quota) -> Self {
        TokenBucket { quota, refill: quota.refill_nanos() }
    }

    fn fill(&self, state: &mut TokenBucketState, elapsed: u64) {
        if elapsed >= self.refill {
            (state.tokens, state.parts) = (self.quota.burst(), 0);
            return;
        }
        let (gained, parts) = self.gain(elapsed, state.parts);
        state.tokens = state.tokens.saturating_add(gained);
        state.parts = parts;
        if state.tokens >= self.quota.burst() {
            (state.tokens, state.parts) = (self.quota.burst(), 0);
        }
    }

    /// Whole tokens and the parts of the next, after so many nanoseconds.
    fn gain(&self, elapsed: u64, parts: u64) -> (u64, u64) {
        let (rate, period) = (self.quota.rate(), self.quota.period_nanos());
        match elapsed.checked_mul(rate).and_then(|gained| gained.checked_add(parts)) {
            Some(all) => (all / period, all % period),
            None => {
                let all = u128::from(elapsed) * u128::from(rate) + u128::from(parts);
                let tokens = u64::try_from(all / u128::from(period)).unwrap_or(u64::MAX);
                (tokens, (all % u128::from(period)) as u64)
            }
        }
    }

    /// How long until the bucket holds so many.
    #[inline]
    fn until(&self, state: &TokenBucketState, tokens: u64) -> u64 {
        let (rate, period) = (self.quota.rate(), self.quota.period_nanos());
        match tokens.saturating_sub(state.tokens) {
            0 => 0,
            // The common case takes one division of 64 bits.
            1 => (period - state.parts).div_ceil(rate),
            missing => {
                let parts = u128::from(missing) * u128::from(period) - u128::from(state.parts);
                u64::try_from(parts.div_ceil(u128::from(rate))).unwrap_or(u64::MAX)
            }
        }
    }

    fn more_in(&self, state: &TokenBucketState) -> u64 {
        match state.tokens < self.quota.burst() {
            true => self.until(state, state.tokens + 1),
            false => 0,
        }
    }
}

impl Algorithm for TokenBucket {
    type State = TokenBucketState;

    fn fresh(&self, now: Time) -> TokenBucketState {
        TokenBucketState { tokens: self.quota.burst(), parts: 0, filled: now.as_nanos() }
    }

    fn settle(&self, state: &mut TokenBucketState, now: Time) {
        let now = now.as_nanos();
        match now.checked_sub(state.filled) {
            Some(elapsed) => {
                self.fill(state, elapsed);
                state.filled = now;
            }
            // Threads read the clock before they get here: a little backwards is usual, and must not
            // be credited twice. A clock that was set back must not stop the bucket for good.
            None => state.filled = state.filled.min(now.saturating_add(self.refill)),
        }
    }

    fn judge(&self, state: &TokenBucketState, _: Time, cost: u64) -> Decision {
        let (verdict, tokens) = match state.tokens.checked_sub(cost) {
            Some(rest) => (Verdict::Allowed, rest),
            None => {
                let never = cost > self.quota.burst();
                let retry_after = (!never).then(|| Duration::from_nanos(self.until(state, cost)));
                (Verdict::Denied { retry_after }, state.tokens)
            }
        };
        let after = TokenBucketState { tokens, ..*state };
        Decision::new(verdict, tokens, Duration::from_nanos(self.more_in(&after)))
    }

    fn spend(&self, state: &mut TokenBucketState, _: Time, cost: u64) {
        state.tokens -= cost;
    }

    fn debt(&self, state: &TokenBucketState, now: Time) -> u64 {
        let elapsed = now.as_nanos().saturating_sub(state.filled);
        self.until(state, self.quota.burst()).saturating_sub(elapsed)
    }

    fn quotas(&self) -> Vec<Quota> {
        vec![self.quota]
    }
}

#[cfg(feature = "redis")]
impl TokenBucket {
    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }
}
