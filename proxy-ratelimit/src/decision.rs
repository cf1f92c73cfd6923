//! What a limiter says.

use std::time::Duration;

/// What a limiter says about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether it may go ahead.
    pub verdict: Verdict,
    /// How much is left, after this request if it may go ahead.
    pub remaining: u64,
    /// How long until more than that is left, if nothing else comes; zero if nothing is used.
    pub more_in: Duration,
    /// Which of several limits this is about: the tightest one.
    pub limit: usize,
}

/// Whether a request may go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// At once.
    Allowed,
    /// After so long: it has its place in the queue.
    Delayed(Duration),
    /// No.
    Denied {
        /// When the same request would be allowed, if nothing else came; `None`: it costs more than
        /// there can ever be.
        retry_after: Option<Duration>,
    },
}

impl Decision {
    /// No limit at all.
    pub const UNLIMITED: Decision =
        Decision { verdict: Verdict::Allowed, remaining: u64::MAX, more_in: Duration::ZERO, limit: 0 };

    pub(crate) fn new(verdict: Verdict, remaining: u64, more_in: Duration) -> Self {
        Decision { verdict, remaining, more_in, limit: 0 }
    }

    /// Whether the request may go ahead, now or after a delay.
    pub fn is_allowed(&self) -> bool {
        !matches!(self.verdict, Verdict::Denied { .. })
    }

    /// How long the request has to wait, if it may go ahead.
    pub fn delay(&self) -> Duration {
        match self.verdict {
            Verdict::Delayed(delay) => delay,
            _ => Duration::ZERO,
        }
    }

    pub(crate) fn of_limit(self, limit: usize) -> Self {
        Decision { limit, ..self }
    }

    /// What two limits say together: the stricter verdict, the smaller rest.
    #[must_use]
    pub fn and(self, other: Decision) -> Decision {
        let (tight, loose) = match (self.strictness(), other.strictness()) {
            (one, two) if one > two => (self, other),
            (one, two) if one < two => (other, self),
            _ if other.remaining < self.remaining => (other, self),
            _ => (self, other),
        };
        let remaining = tight.remaining.min(loose.remaining);
        Decision { remaining, ..tight }
    }

    /// Denied is more than delayed is more than allowed; then the longer time.
    fn strictness(&self) -> (u8, Duration) {
        match self.verdict {
            Verdict::Allowed => (0, Duration::ZERO),
            Verdict::Delayed(delay) => (1, delay),
            Verdict::Denied { retry_after } => (2, retry_after.unwrap_or(Duration::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(verdict: Verdict, remaining: u64) -> Decision {
        Decision::new(verdict, remaining, Duration::from_secs(remaining))
    }

    #[test]
    fn together_the_stricter_one_speaks() {
        let second = Duration::from_secs(1);
        let allowed = decision(Verdict::Allowed, 5).of_limit(1);
        let fewer = decision(Verdict::Allowed, 3).of_limit(2);
        let delayed = decision(Verdict::Delayed(second), 7).of_limit(3);
        let denied = decision(Verdict::Denied { retry_after: Some(second) }, 9).of_limit(4);
        let never = decision(Verdict::Denied { retry_after: None }, 9).of_limit(5);
        let check = |one: Decision, two: Decision, limit| {
            assert_eq!((one.and(two).limit, two.and(one).limit), (limit, limit), "{one:?} {two:?}");
        };
        check(allowed, fewer, 2);
        check(fewer, delayed, 3);
        check(delayed, denied, 4);
        check(denied, never, 5);
        check(Decision::UNLIMITED, allowed, 1);
        assert_eq!(denied.and(fewer).remaining, 3);
    }
}
