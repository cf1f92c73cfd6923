//! What the pool did so far.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a pool did since it was made. The counts are read one after another, so under load they may
/// be some connections apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Connections made.
    pub opened: u64,
    /// Leases of a connection that was made before. `reused / (opened + reused)` is the reuse ratio.
    pub reused: u64,
    /// Connections closed.
    pub closed: u64,
    /// Connections kept and not in use.
    pub idle: usize,
    /// Requests that wait for a free connection.
    pub waiting: usize,
}

impl PoolStats {
    /// The share of leases that needed no new connection, 0 to 1; 0 before the first.
    pub fn reuse_ratio(&self) -> f64 {
        self.reused as f64 / (self.opened + self.reused).max(1) as f64
    }
}

/// The counts that are not kept on the shelves.
#[derive(Default)]
pub(super) struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    /// Taken from a shelf and found unfit.
    discarded: AtomicU64,
    /// Given by who released them to who waited.
    handed: AtomicU64,
    waiting: AtomicUsize,
}

impl Counters {
    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn discarded(&self) {
        self.discarded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn handed(&self) {
        self.handed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one who waits until the guard is dropped.
    pub(super) fn wait(&self) -> impl Drop + '_ {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }

    /// The stats, given how many connections lie on the shelves and how often one was taken.
    pub(super) fn stats(&self, idle: usize, taken: u64) -> PoolStats {
        let used = taken + self.handed.load(Ordering::Relaxed);
        PoolStats {
            opened: self.opened.load(Ordering::Relaxed),
            reused: used.saturating_sub(self.discarded.load(Ordering::Relaxed)),
            closed: self.closed.load(Ordering::Relaxed),
            idle,
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
