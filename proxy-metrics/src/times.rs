//! Durations in buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sharded::Sharded;

/// The upper bounds of the buckets, in nanoseconds; one more bucket takes what is longer. A proxy in one
/// data centre adds tenths of a millisecond, the longest default timeout is a minute.
pub(crate) const BOUNDS: [u64; 18] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

pub(crate) const BUCKETS: usize = BOUNDS.len() + 1;

/// Durations that one group of threads has seen.
#[derive(Default)]
pub(crate) struct Times {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

impl Times {
    pub(crate) fn observe(&self, time: Duration) {
        let nanos = nanos(time);
        self.buckets[place(nanos)].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn place(nanos: u64) -> usize {
    BOUNDS.partition_point(|bound| *bound < nanos)
}

/// The bucket that a duration belongs to.
pub(crate) fn bucket(time: Duration) -> usize {
    place(nanos(time))
}

/// The durations of all threads at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// How many each bucket holds, not cumulated.
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) nanos: u64,
}

impl Distribution {
    /// The sum over the shards of what `times` picks.
    pub(crate) fn of<T>(shards: &Sharded<T>, times: impl Fn(&T) -> &Times) -> Self {
        shards.iter().map(times).fold(Distribution::default(), |mut sum, times| {
            for (sum, bucket) in sum.buckets.iter_mut().zip(&times.buckets) {
                *sum += bucket.load(Ordering::Relaxed);
            }
            sum.nanos = sum.nanos.wrapping_add(times.nanos.load(Ordering::Relaxed));
            sum
        })
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(crate) fn seconds(&self) -> f64 {
        seconds(self.nanos)
    }

    pub(crate) fn add(&mut self, other: &Distribution) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += bucket;
        }
        self.nanos = self.nanos.wrapping_add(other.nanos);
    }
}

/// Seconds since 1970.
pub(crate) fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let check = |nanos: u64, bucket: usize| {
            let shards = Sharded::<Times>::default();
            shards.mine().observe(Duration::from_nanos(nanos));
            let seen = Distribution::of(&shards, |times| times);
            assert_eq!((seen.buckets[bucket], seen.count(), seen.nanos), (1, 1, nanos), "{nanos} ns");
        };
        check(0, 0);
        check(100_000, 0);
        check(100_001, 1);
        check(60_000_000_000, 17);
        check(60_000_000_001, 18);
        assert!(BOUNDS.is_sorted());
    }
}
