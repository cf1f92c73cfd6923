//! Counts that threads do not fight over.

use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More groups than this cost memory and spare little.
const MOST: usize = 16;

/// One `T` per group of threads, each on cache lines of its own: writers touch theirs, readers add up.
pub(crate) struct Sharded<T>(Box<[Line<T>]>);

/// Two lines of 64 bytes: the prefetcher of x86 takes them in pairs.
#[repr(align(128))]
struct Line<T>(T);

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Sharded((0..count()).map(|_| Line(T::default())).collect())
    }
}

impl<T> Sharded<T> {
    /// What this thread writes to.
    pub(crate) fn mine(&self) -> &T {
        // The number is below `count`, but the mask costs less than the check.
        &self.0[number() & (self.0.len() - 1)].0
    }

    /// What all threads have written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|line| &line.0)
    }
}

/// How many groups there are: as many as cores, rounded up to a power of two.
fn count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        cores.next_power_of_two().min(MOST)
    })
}

/// The group of this thread, in turn.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    // A thread that ends has lost its number; any will do.
    MINE.try_with(|number| *number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn nothing_is_lost_between_threads() {
        let sharded = Sharded::<AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * MOST {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        sharded.mine().fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let sum: u64 = sharded.iter().map(|it| it.load(Ordering::Relaxed)).sum();
        assert_eq!(sum, 2 * MOST as u64 * 1000);
    }
}
