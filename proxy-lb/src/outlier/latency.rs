//! Who is much slower than the others.

use proxy_core::Backend;

use super::OutlierSettings;
use super::tally::Sample;

/// Those whose mean time to the first byte is more than so many times the median of the backends'. A
/// median, because one backend that is slow enough would carry a mean along.
pub(super) fn outliers(samples: &[(Backend, Sample)], settings: &OutlierSettings) -> Vec<(Backend, String)> {
    let Some(settings) = &settings.latency else { return Vec::new() };
    let compared = samples.iter().filter(|(_, sample)| sample.answers > 0 && sample.answers >= settings.min_requests);
    let mut means: Vec<_> =
        compared.map(|(backend, sample)| (sample.answer_time.as_secs_f64() / sample.answers as f64, backend)).collect();
    if means.is_empty() || means.len() < settings.min_backends {
        return Vec::new();
    }
    means.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    // The lower of the two in the middle: of two backends the slower one can stand out.
    let median = means[(means.len() - 1) / 2].0;
    let threshold = (median * settings.factor).max(settings.floor.as_secs_f64());
    let slow = means.into_iter().filter(|(mean, _)| *mean > threshold);
    slow.map(|(mean, backend)| {
        let reason = format!("answers in {:.0} ms, the median in {:.0} ms", mean * 1e3, median * 1e3);
        (backend.clone(), reason)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outlier::settings::LatencyComparison;

    /// Backends `a`, `b`, … with this mean in milliseconds over so many answers.
    #[track_caller]
    fn check(means: &[(u64, u64)], expected: &str) {
        let samples = means.iter().zip('a'..).map(|((millis, answers), id)| {
            let backend = Backend::builder("a:1".parse().unwrap()).id(&id.to_string()).build();
            let answer_time = Duration::from_millis(millis * answers);
            (backend, Sample { answers: *answers, answer_time, ..Sample::default() })
        });
        let settings = OutlierSettings { latency: Some(LatencyComparison::default()), ..OutlierSettings::default() };
        let found = outliers(&samples.collect::<Vec<_>>(), &settings);
        assert_eq!(found.iter().map(|(backend, _)| backend.id()).collect::<String>(), expected, "{means:?}");
    }

    #[test]
    fn who_is_much_slower_than_the_median_stands_out() {
        check(&[(20, 100), (20, 100), (101, 100)], "c");
        check(&[(20, 100), (20, 100), (99, 100)], "");
        check(&[(1, 100), (1, 100), (49, 100)], ""); // below the floor
        check(&[(1, 100), (1, 100), (51, 100)], "c");
        check(&[(1, 100), (1, 100), (900, 100), (900, 100)], "cd");
        check(&[(20, 100), (20, 100), (900, 99)], ""); // too few answers
        check(&[(20, 100), (900, 100)], ""); // too few backends
    }
}
