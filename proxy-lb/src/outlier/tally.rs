//! What one backend did lately.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::OutlierSettings;
use super::result::Verdict;

/// What one backend did lately. All workers write it, without a lock.
#[derive(Debug, Default)]
pub(super) struct Tally {
    failures_in_a_row: AtomicU32,
    gateway_failures_in_a_row: AtomicU32,
    successes: AtomicU64,
    failures: AtomicU64,
    answers: AtomicU64,
    answer_micros: AtomicU64,
}

/// What it did in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) successes: u64,
    pub(super) failures: u64,
    pub(super) answers: u64,
    /// Of all answers together.
    pub(super) answer_time: Duration,
}

impl Tally {
    /// Counts an attempt. Says why, if the backend is to be ejected for failures in a row.
    pub(super) fn record(
        &self,
        verdict: Verdict,
        first_byte: Option<Duration>,
        settings: &OutlierSettings,
    ) -> Option<String> {
        if let Some(time) = first_byte {
            self.answers.fetch_add(1, Ordering::Relaxed);
            self.answer_micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 2), Ordering::Relaxed);
        }
        if verdict == Verdict::Success {
            self.successes.fetch_add(1, Ordering::Relaxed);
            self.end_runs();
            return None;
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        let gateway = match verdict {
            Verdict::GatewayFailure => {
                reaches(&self.gateway_failures_in_a_row, settings.consecutive_gateway_failures, "gateway failures")
            }
            _ => {
                self.gateway_failures_in_a_row.store(0, Ordering::Relaxed);
                None
            }
        };
        let any = reaches(&self.failures_in_a_row, settings.consecutive_failures, "failures");
        any.or(gateway)
    }

    fn end_runs(&self) {
        for run in [&self.failures_in_a_row, &self.gateway_failures_in_a_row] {
            // The common case is a read: the line stays shared between workers.
            if run.load(Ordering::Relaxed) != 0 {
                run.store(0, Ordering::Relaxed);
            }
        }
    }

    /// What was counted since the last time.
    pub(super) fn take(&self) -> Sample {
        Sample {
            successes: self.successes.swap(0, Ordering::Relaxed),
            failures: self.failures.swap(0, Ordering::Relaxed),
            answers: self.answers.swap(0, Ordering::Relaxed),
            answer_time: Duration::from_micros(self.answer_micros.swap(0, Ordering::Relaxed)),
        }
    }
}

/// Counts one more. Says so when the limit is reached, and begins anew.
fn reaches(run: &AtomicU32, limit: Option<u32>, what: &str) -> Option<String> {
    let limit = limit?;
    if run.fetch_add(1, Ordering::Relaxed) + 1 < limit {
        return None;
    }
    run.store(0, Ordering::Relaxed);
    Some(format!("{limit} {what} in a row"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` success, `f` failure, `g` gateway failure; what is said at the end.
    #[track_caller]
    fn check(failures: Option<u32>, gateway: Option<u32>, attempts: &str, expected: Option<&str>) {
        let settings = OutlierSettings {
            consecutive_failures: failures,
            consecutive_gateway_failures: gateway,
            ..OutlierSettings::default()
        };
        let tally = Tally::default();
        let said = attempts.chars().map(|attempt| {
            let verdict = match attempt {
                '+' => Verdict::Success,
                'f' => Verdict::Failure,
                _ => Verdict::GatewayFailure,
            };
            tally.record(verdict, None, &settings)
        });
        assert_eq!(said.last().flatten().as_deref(), expected, "{attempts}");
    }

    #[test]
    fn failures_in_a_row_are_counted() {
        check(Some(3), None, "fgf", Some("3 failures in a row"));
        check(Some(3), None, "ff+ff", None);
        check(Some(3), None, "ffff", None); // said once, then counted anew
        check(Some(3), None, "ffffff", Some("3 failures in a row"));
        check(None, None, "ffffff", None);
        check(None, Some(2), "gg", Some("2 gateway failures in a row"));
        check(None, Some(2), "gfg", None);
        check(Some(9), Some(2), "fgg", Some("2 gateway failures in a row"));
    }

    #[test]
    fn an_interval_is_counted_once() {
        let (tally, settings) = (Tally::default(), OutlierSettings::default());
        for (verdict, millis) in [(Verdict::Success, 10), (Verdict::Success, 20), (Verdict::Failure, 30)] {
            tally.record(verdict, Some(Duration::from_millis(millis)), &settings);
        }
        tally.record(Verdict::GatewayFailure, None, &settings);
        let answer_time = Duration::from_millis(60);
        assert_eq!(tally.take(), Sample { successes: 2, failures: 2, answers: 3, answer_time });
        assert_eq!(tally.take(), Sample::default());
    }
}
