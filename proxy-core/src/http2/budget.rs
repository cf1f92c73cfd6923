//! What a client may do that costs more than it brings.

use std::time::Duration;

use crate::clock::Instant;

/// Tokens that some things cost, and others earn; time earns some, too. The clock is asked only where
/// there are none left.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    most: u32,
    /// How long one token takes to come by itself.
    pace: Duration,
    filled: Instant,
}

impl Budget {
    /// A full one, of at most `most` tokens.
    pub(super) fn new(most: u32, pace: Duration, now: Instant) -> Self {
        Budget { left: most, most, pace, filled: now }
    }

    pub(super) fn earn(&mut self, tokens: u32) {
        self.left = self.left.saturating_add(tokens).min(self.most);
    }

    /// Takes a token; `false` where there is none.
    pub(super) fn spend(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.left == 0 {
            self.fill(now());
        }
        let spent = self.left > 0;
        self.left = self.left.saturating_sub(1);
        spent
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        let tokens = passed.as_nanos() / self.pace.as_nanos().max(1);
        self.filled = now;
        self.earn(u32::try_from(tokens).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_fills_by_work_and_by_time() {
        let start = Instant::now();
        let mut budget = Budget::new(3, Duration::from_millis(100), start);
        let spend = |budget: &mut Budget, millis| budget.spend(|| start + Duration::from_millis(millis));
        assert!((0..3).all(|_| spend(&mut budget, 0)));
        assert!(!spend(&mut budget, 99));
        budget.earn(2);
        assert!(spend(&mut budget, 99) && spend(&mut budget, 99));
        assert!(!spend(&mut budget, 150), "what was seen at 99 is paid");
        assert!((0..3).all(|_| spend(&mut budget, 10_000)));
        assert!(!spend(&mut budget, 10_000), "no more than at the start");
    }
}
