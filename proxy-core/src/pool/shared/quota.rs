//! A limit kept by several shards without a shared write on the common path.

use super::sync::{AtomicUsize, Ordering};

/// What may still be handed out under a limit. Shards draw from it in chunks and keep a few places at
/// hand, so a thread that takes and puts back in turn never touches it.
///
/// The limit is never exceeded. Up to a quarter of it may lie unused with other shards.
pub(crate) struct Quota {
    left: AtomicUsize,
    chunk: usize,
}

/// Places that one shard has at hand. It lives under the shard's lock.
#[derive(Default)]
pub(crate) struct Share(usize);

impl Quota {
    /// Shards hold at most twice a chunk each: an eighth of the limit over all shards makes that a
    /// quarter. Beyond 32 a larger chunk saves nothing that can be measured.
    pub(crate) fn new(limit: usize, shards: usize) -> Self {
        Quota { left: AtomicUsize::new(limit), chunk: (limit / (8 * shards)).clamp(1, 32) }
    }

    fn take(&self) -> usize {
        let less = |left: usize| Some(left - left.min(self.chunk));
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or_default();
        before.min(self.chunk)
    }

    fn give(&self, count: usize) {
        self.left.fetch_add(count, Ordering::Relaxed);
    }

    /// What a shard may keep at hand: nothing under a small limit, which is then exact.
    fn spare(&self) -> usize {
        if self.chunk == 1 { 0 } else { 2 * self.chunk }
    }
}

impl Share {
    /// Takes one place; false if the limit is reached.
    pub(crate) fn draw(&mut self, quota: &Quota) -> bool {
        if self.0 == 0 {
            self.0 = quota.take();
        }
        let drawn = self.0 > 0;
        self.0 -= usize::from(drawn);
        drawn
    }

    /// Puts one place back.
    pub(crate) fn restore(&mut self, quota: &Quota) {
        self.0 += 1;
        if self.0 > quota.spare() {
            self.0 -= quota.chunk;
            quota.give(quota.chunk);
        }
    }

    /// Puts everything at hand back: the shard is done with this limit.
    pub(crate) fn surrender(&mut self, quota: &Quota) {
        quota.give(std::mem::take(&mut self.0));
    }
}
