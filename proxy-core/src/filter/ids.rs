//! Numbers that do not repeat.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    // Two keys of the system's randomness per thread: two sequences meet only where both agree.
    static STATE: Cell<[u64; 2]> = Cell::new([(); 2].map(|()| RandomState::new().hash_one(0)));
}

/// Where ids come from.
#[derive(Debug)]
pub(super) enum Ids {
    /// Each thread has a sequence of its own: no line of memory is shared.
    PerThread,
    /// A fixed sequence.
    Seeded { seed: u64, taken: AtomicU64 },
}

impl Ids {
    pub(super) fn seeded(seed: u64) -> Self {
        Ids::Seeded { seed, taken: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> u128 {
        match self {
            Ids::PerThread => STATE.with(|state| {
                let next = advance(state.get(), 1);
                state.set(next);
                id(next)
            }),
            // Only the number matters, nothing is published with it.
            Ids::Seeded { seed, taken } => id(advance([*seed, !*seed], taken.fetch_add(1, Ordering::Relaxed))),
        }
    }
}

/// Steps of two Weyl sequences. The increments are odd, so each comes round after 2⁶⁴ steps; they
/// differ, so that together they come round no sooner for equal seeds.
fn advance([a, b]: [u64; 2], steps: u64) -> [u64; 2] {
    let step = |from: u64, increment: u64| from.wrapping_add(increment.wrapping_mul(steps));
    [step(a, 0x9e37_79b9_7f4a_7c15), step(b, 0xd1b5_4a32_d192_ed03)]
}

fn id([a, b]: [u64; 2]) -> u128 {
    u128::from(mix(a)) << 64 | u128::from(mix(b))
}

/// SplitMix64's finaliser (Steele, Lea, Flood 2014): one to one, and every bit depends on every bit.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_within_and_between_threads() {
        let take = || (0..10_000).map(|_| Ids::PerThread.next()).collect::<Vec<_>>();
        let threads = [(); 4].map(|()| std::thread::spawn(take));
        let all: HashSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.len(), 40_000);
    }

    #[test]
    fn every_bit_is_set_about_half_the_time() {
        let ids = Ids::seeded(7);
        let mut ones = [0_u32; 128];
        for _ in 0..4096 {
            let id = ids.next();
            ones.iter_mut().enumerate().for_each(|(bit, ones)| *ones += (id >> bit) as u32 & 1);
        }
        assert!(ones.iter().all(|ones| (1800..2300).contains(ones)), "{ones:?}");
    }
}
