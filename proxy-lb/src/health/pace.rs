//! When the next question is due.

use std::time::Duration;

use proxy_core::Instant;

use super::HealthSettings;
use crate::dice::OwnDice;

/// When the next question to one backend is due.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    fast: Duration,
    jitter_percent: u32,
    dice: OwnDice,
}

impl Pace {
    /// Backends of different seeds keep apart.
    pub(super) fn new(settings: &HealthSettings, seed: u64) -> Self {
        Pace {
            interval: settings.interval,
            fast: settings.fast_interval(),
            jitter_percent: settings.jitter_percent.min(100),
            dice: OwnDice::seeded(seed),
        }
    }

    /// Until the first question: any part of the interval, so that backends which join together are not
    /// asked together.
    pub(super) fn first(&mut self, settled: bool) -> Duration {
        let part = self.dice.fraction();
        self.plain(settled).mul_f64(part)
    }

    /// From one question to the next.
    pub(super) fn next(&mut self, settled: bool) -> Duration {
        let jitter = f64::from(self.jitter_percent) / 100.0;
        let factor = 1.0 + jitter * (2.0 * self.dice.fraction() - 1.0);
        self.plain(settled).mul_f64(factor)
    }

    fn plain(&self, settled: bool) -> Duration {
        if settled { self.interval } else { self.fast }
    }
}

/// The moments at which questions go out: where thousands are checked, those that are due at about the same
/// time go together, so that the thread is woken a hundred times in an interval and not for each.
#[derive(Debug)]
pub(super) struct Slots {
    start: Instant,
    length: Duration,
}

impl Slots {
    /// In an interval, unless that makes them longer than anyone would wait for.
    const PER_INTERVAL: u32 = 128;
    const LONGEST: Duration = Duration::from_millis(20);

    pub(super) fn new(settings: &HealthSettings, now: Instant) -> Self {
        let length = settings.fast_interval().min(settings.interval) / Self::PER_INTERVAL;
        Slots { start: now, length: length.clamp(Duration::from_millis(1), Self::LONGEST) }
    }

    /// The first from this moment on.
    pub(super) fn from(&self, due: Instant) -> Instant {
        let since = due.saturating_duration_since(self.start).as_micros();
        let length = self.length.as_micros();
        let micros = u64::try_from(since.div_ceil(length) * length).unwrap_or(u64::MAX / 2);
        self.start + Duration::from_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_go_out_in_slots() {
        let check = |interval, due, expected| {
            let mut settings = HealthSettings::default();
            (settings.interval, settings.fast_interval) = (Duration::from_millis(interval), None);
            let start = Instant::now();
            let slot = Slots::new(&settings, start).from(start + Duration::from_micros(due));
            assert_eq!((slot - start).as_micros(), expected, "{interval} ms, {due} µs");
        };
        check(1280, 0, 0);
        check(1280, 1, 7812);
        check(1280, 7812, 7812);
        check(10, 5100, 6000);
        check(100, 1_000_000_000, 1_000_000_000);
        check(1_000_000, 20_001, 23_436);
    }

    #[test]
    fn questions_are_spread_and_faster_in_doubt() {
        let settings = HealthSettings { interval: Duration::from_secs(10), ..HealthSettings::default() };
        let mut firsts = [0_u32; 10];
        for seed in 0..10_000 {
            let mut pace = Pace::new(&settings, seed);
            firsts[pace.first(true).as_secs() as usize] += 1;
            let (slow, fast) = (pace.next(true).as_secs_f64(), pace.next(false).as_secs_f64());
            assert!((9.0..=11.0).contains(&slow) && (0.9..=1.1).contains(&fast), "{slow} {fast}");
        }
        // Each second has a tenth of them: 1000, with a standard deviation of 30.
        assert!(firsts.iter().all(|count| (850..=1150).contains(count)), "{firsts:?}");
    }
}
