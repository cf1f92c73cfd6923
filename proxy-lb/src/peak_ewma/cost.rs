//! A moving average that rises at once and falls slowly.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Finagle's peak EWMA in one word, so that no sample is lost: nanoseconds as the bits of an `f32` above,
/// the time of the last change in milliseconds below. That wraps after 49 days, when an average as old as
/// that counts as fresh once more.
///
/// Milliseconds suffice: the steps between samples add up to the time that has passed, however they are cut.
#[derive(Debug, Default)]
pub(super) struct Cost(AtomicU64);

impl Cost {
    /// An answer took so long.
    pub(super) fn observe(&self, sample: Duration, now: Duration, decay: Duration) {
        let sample = nanos(sample);
        self.update(now, |old, age| match old {
            Some(old) if sample <= old => {
                let weight = fade(age, decay);
                Some(old * weight + sample * (1.0 - weight))
            }
            _ => Some(sample),
        });
    }

    /// An answer would have taken longer than this.
    pub(super) fn raise(&self, bound: Duration, now: Duration, decay: Duration) {
        let bound = nanos(bound);
        self.update(now, |old, age| old.filter(|old| old * fade(age, decay) < bound).map(|_| bound));
    }

    /// What it is at this time; `None` where nothing was observed yet.
    pub(super) fn nanos_at(&self, now: Duration, decay: Duration) -> Option<f64> {
        let (nanos, stamp) = unpack(self.0.load(Ordering::Relaxed));
        Some(f64::from(nanos?) * f64::from(fade(age(now, stamp), decay)))
    }

    /// Replaces average and time, where `f` has a new average.
    fn update(&self, now: Duration, f: impl Fn(Option<f32>, Duration) -> Option<f32>) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (old, stamp) = unpack(word);
            let new = f(old, age(now, stamp))?.max(1.0);
            Some(u64::from(new.to_bits()) << 32 | u64::from(millis(now)))
        });
    }
}

fn unpack(word: u64) -> (Option<f32>, u32) {
    let nanos = f32::from_bits((word >> 32) as u32);
    ((nanos > 0.0).then_some(nanos), word as u32)
}

fn nanos(time: Duration) -> f32 {
    time.as_secs_f32() * 1e9
}

fn millis(now: Duration) -> u32 {
    now.as_millis() as u32
}

/// Another thread may have been here with a later time.
fn age(now: Duration, stamp: u32) -> Duration {
    let age = millis(now).wrapping_sub(stamp).cast_signed();
    Duration::from_millis(u64::try_from(age).unwrap_or(0))
}

fn fade(age: Duration, decay: Duration) -> f32 {
    match age.is_zero() {
        true => 1.0,
        false => (-age.as_secs_f32() / decay.as_secs_f32()).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    fn secs(secs: f64) -> Duration {
        Duration::from_secs_f64(secs)
    }

    #[test]
    fn it_rises_at_once_and_falls_slowly() {
        let cost = Cost::default();
        let check = |now: f64, millis: f64| {
            let nanos = cost.nanos_at(secs(now), DECAY).expect("known");
            assert!((nanos / 1e6 - millis).abs() < 0.01 * millis, "{nanos} at {now}");
        };
        assert_eq!(cost.nanos_at(secs(0.0), DECAY), None);
        cost.observe(secs(0.010), secs(0.0), DECAY);
        check(0.0, 10.0);
        cost.observe(secs(0.200), secs(1.0), DECAY);
        check(1.0, 200.0);
        cost.observe(secs(0.010), secs(1.0), DECAY);
        check(1.0, 200.0); // no time has passed: no weight
        cost.observe(secs(0.010), secs(11.0), DECAY);
        check(11.0, 200.0 / std::f64::consts::E + 10.0 * (1.0 - 1.0 / std::f64::consts::E));
        check(21.0, (200.0 / std::f64::consts::E + 6.321) / std::f64::consts::E); // it fades
        check(5.0, 79.896); // a clock that another thread was ahead of
    }

    #[test]
    fn many_small_steps_fade_as_one_large_one() {
        let cost = Cost::default();
        cost.observe(secs(1.0), secs(0.0), DECAY);
        (1..=40_000).for_each(|step| cost.observe(secs(0.000_001), secs(f64::from(step) * 0.000_25), DECAY));
        let nanos = cost.nanos_at(secs(10.0), DECAY).expect("known");
        assert!((nanos / 1e9 - 1.0 / std::f64::consts::E).abs() < 0.01, "{nanos}");
    }

    #[test]
    fn a_bound_only_raises() {
        let cost = Cost::default();
        cost.raise(secs(5.0), secs(0.0), DECAY);
        assert_eq!(cost.nanos_at(secs(0.0), DECAY), None, "it says little of a backend that nothing is known of");
        cost.observe(secs(0.5), secs(0.0), DECAY);
        cost.raise(secs(0.1), secs(0.0), DECAY);
        assert_eq!(cost.nanos_at(secs(0.0), DECAY), Some(5e8));
        cost.raise(secs(1.0), secs(0.0), DECAY);
        assert_eq!(cost.nanos_at(secs(0.0), DECAY), Some(1e9));
    }
}
