//! Who succeeds far less often than the others.

use proxy_core::Backend;

use super::OutlierSettings;
use super::tally::Sample;

/// Those whose success rate lies further below the mean than the deviations allow, as Envoy has it
/// (`source/common/upstream/outlier_detection_impl.cc`): of the backends that had enough requests, and only
/// if there are enough of them.
pub(super) fn outliers(samples: &[(Backend, Sample)], settings: &OutlierSettings) -> Vec<(Backend, String)> {
    let Some(settings) = &settings.success_rate else { return Vec::new() };
    let compared = samples.iter().filter_map(|(backend, sample)| {
        let requests = sample.successes + sample.failures;
        let enough = requests > 0 && requests >= settings.min_requests;
        enough.then(|| (backend, 100.0 * sample.successes as f64 / requests as f64))
    });
    let rates: Vec<_> = compared.collect();
    if rates.is_empty() || rates.len() < settings.min_backends {
        return Vec::new();
    }
    let threshold = threshold(rates.iter().map(|(_, rate)| *rate), settings.deviations).min(settings.ceiling_percent);
    let low = rates.into_iter().filter(|(_, rate)| *rate < threshold);
    low.map(|(backend, rate)| (backend.clone(), format!("success rate {rate:.1} %, below {threshold:.1} %"))).collect()
}

/// The mean less so many standard deviations.
fn threshold(rates: impl Iterator<Item = f64> + Clone, deviations: f64) -> f64 {
    let count = rates.clone().count() as f64;
    let mean = rates.clone().sum::<f64>() / count;
    let variance = rates.map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
    mean - deviations * variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlier::settings::SuccessRate;

    /// Backends `a`, `b`, … with these successes of these requests.
    #[track_caller]
    fn check(counts: &[(u64, u64)], expected: &str) {
        let samples = counts.iter().zip('a'..).map(|((successes, requests), id)| {
            let backend = Backend::builder("a:1".parse().unwrap()).id(&id.to_string()).build();
            (backend, Sample { successes: *successes, failures: requests - successes, ..Sample::default() })
        });
        let settings = OutlierSettings { success_rate: Some(SuccessRate::default()), ..OutlierSettings::default() };
        let found = outliers(&samples.collect::<Vec<_>>(), &settings);
        assert_eq!(found.iter().map(|(backend, _)| backend.id()).collect::<String>(), expected, "{counts:?}");
    }

    #[test]
    fn who_fails_far_more_often_than_the_others_stands_out() {
        check(&[(100, 100), (100, 100), (100, 100), (100, 100), (50, 100)], "e");
        // Standard deviations below the mean of five: at most two for one of them (1.9 is just within).
        check(&[(99, 100), (100, 100), (98, 100), (97, 100), (40, 100)], "e");
        check(&[(50, 100), (50, 100), (50, 100), (50, 100), (50, 100)], "");
        check(&[(100, 100), (100, 100), (100, 100), (60, 100), (60, 100)], ""); // two alike are no exception
        check(&[(1000, 1000), (1000, 1000), (1000, 1000), (1000, 1000), (949, 1000)], "e");
        check(&[(1000, 1000), (1000, 1000), (1000, 1000), (1000, 1000), (950, 1000)], ""); // not so bad
        check(&[(100, 100), (100, 100), (100, 100), (100, 100)], ""); // too few backends
        check(&[(100, 100), (100, 100), (100, 100), (100, 100), (0, 99)], ""); // too few requests
        check(&[], "");
    }

    #[test]
    fn the_threshold_is_that_of_envoys_documentation() {
        // Rates 100, 100, 100, 100, 50: mean 90, standard deviation 20.
        assert!((threshold([100.0, 100.0, 100.0, 100.0, 50.0].into_iter(), 1.9) - 52.0).abs() < 1e-9);
    }
}
