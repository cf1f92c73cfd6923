//! How many retries a cluster may add to its load.

use std::sync::atomic::{AtomicI64, Ordering};

/// What one retry costs, in the hundredths that requests pay in.
const RETRY: i64 = 100;

/// A retry budget, as Finagle has it: every request pays a percentage of one retry in, every retry
/// takes one out. A reserve lets a quiet cluster retry at all, a ceiling forgets old savings.
///
/// tower's own budget is not used: it truncates 1/percent, so 30 % becomes 33 and 60 % becomes 100.
#[derive(Debug)]
pub(super) struct RetryBudget {
    balance: AtomicI64,
    percent: i64,
    ceiling: i64,
}

impl RetryBudget {
    /// `percent` of requests may be retried, and `reserve` more in the beginning.
    pub(super) fn new(percent: u32, reserve: u32) -> Self {
        let reserve = i64::from(reserve) * RETRY;
        RetryBudget { balance: AtomicI64::new(reserve), percent: i64::from(percent), ceiling: reserve.max(100 * RETRY) }
    }

    /// A request began.
    pub(super) fn deposit(&self) {
        // A full budget costs a read; two at once may pass the ceiling by one deposit.
        if self.balance.load(Ordering::Relaxed) < self.ceiling {
            self.balance.fetch_add(self.percent, Ordering::Relaxed);
        }
    }

    /// Pays for a retry, where there is enough.
    pub(super) fn withdraw(&self) -> bool {
        let paid = |balance| (balance >= RETRY).then_some(balance - RETRY);
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_pay_for_retries() {
        for percent in [0, 1, 20, 30, 60, 100] {
            let budget = RetryBudget::new(percent, 0);
            let mut granted = 0;
            for _ in 0..1000 {
                budget.deposit();
                granted += u32::from(budget.withdraw());
            }
            assert_eq!(granted, percent * 10);
        }
    }

    #[test]
    fn savings_have_a_ceiling() {
        let budget = RetryBudget::new(100, 10);
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!((0..10_000).filter(|_| budget.withdraw()).count(), 100);
    }
}
