//! Random numbers, which a seed makes repeatable.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) over a
/// counter that threads share: with one thread a seed gives always the same numbers, with several
/// always the same numbers in some order.
///
/// Alone on its cache lines (two, as they are fetched in pairs): all workers write it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Dice(AtomicU64);

impl Default for Dice {
    /// Seeded by the system.
    fn default() -> Self {
        Dice::seeded(RandomState::new().hash_one(0))
    }
}

impl Dice {
    pub(crate) fn seeded(seed: u64) -> Self {
        Dice(AtomicU64::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        mix(self.0.fetch_add(STEP, Ordering::Relaxed))
    }
}

/// The same numbers for one owner, who shares them with nobody.
#[derive(Clone, Debug)]
pub(crate) struct OwnDice(u64);

impl OwnDice {
    pub(crate) fn seeded(seed: u64) -> Self {
        OwnDice(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        let number = mix(self.0);
        self.0 = self.0.wrapping_add(STEP);
        number
    }

    /// From 0 to below 1, in steps of 2^-53.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// From one state to the next: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads what differs in any bit over all bits: the finaliser of SplitMix64.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The part of `0..count` that a random or hashed number falls into (Lemire, "Fast random integer
/// generation in an interval", 2019). `count` is at most 2^32, so no bias is seen.
pub(crate) fn part(number: u64, count: usize) -> usize {
    ((u128::from(number) * count as u128) >> 64) as usize
}
