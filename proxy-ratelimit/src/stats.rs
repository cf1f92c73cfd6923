//! What a limit did.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a limit did, counted since it was made. What passed at once is not counted: that would be
/// every request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitStats {
    /// Refused.
    pub refused: u64,
    /// Let pass after a delay.
    pub delayed: u64,
    /// Let pass, and would have been refused or delayed but for dry-run.
    pub would_refuse: u64,
    /// Let pass or refused by the policy for when the shared limit cannot be reached.
    pub undecided: u64,
}

/// Rare events, so that the counters share a cache line.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) refused: Counter,
    pub(crate) delayed: Counter,
    pub(crate) would_refuse: Counter,
    pub(crate) undecided: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn read(&self) -> LimitStats {
        LimitStats {
            refused: self.refused.get(),
            delayed: self.delayed.get(),
            would_refuse: self.would_refuse.get(),
            undecided: self.undecided.get(),
        }
    }
}
