//! When a backend is an outlier, and what becomes of it.

use std::time::Duration;

/// When a backend is an outlier, and what becomes of it. The defaults are Envoy's where it has them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OutlierSettings {
    /// Failures in a row until a backend is ejected: statuses from 500 on, and attempts that fail because
    /// of it. Default 5; `None` turns it off.
    pub consecutive_failures: Option<u32>,
    /// The same for gateway failures only: 502, 503, 504, and attempts that fail. Default: off.
    pub consecutive_gateway_failures: Option<u32>,
    /// How backends are compared by success rate. Default: on.
    pub success_rate: Option<SuccessRate>,
    /// How backends are compared by latency. Default: off.
    pub latency: Option<LatencyComparison>,
    /// Between two comparisons. Default 10 s.
    pub interval: Duration,
    /// How long the first ejection of a backend lasts; the next lasts twice as long, then three times, and
    /// so on. Each interval without an ejection takes one step back. Default 30 s.
    pub eject: Duration,
    /// How long an ejection lasts at most. Default 300 s.
    pub max_eject: Duration,
    /// Backends that are out at a time, in percent of the set; one may be, however few there are, unless
    /// it is the only one or this is 0. Default 50 (Envoy: 10, of far larger sets).
    pub max_ejected_percent: u32,
}

/// How backends are compared by success rate.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SuccessRate {
    /// Ejected is who lies further below the mean than so many standard deviations. Default 1.9.
    pub deviations: f64,
    /// Who succeeds at least so often, in percent, is no outlier, however well the others do: among five
    /// backends the only one that ever fails lies two deviations below the mean, be it by one request in a
    /// million. Default 95; 100 is Envoy's algorithm as it stands.
    pub ceiling_percent: f64,
    /// Requests that a backend must have had in the interval to be compared. Default 100.
    pub min_requests: u64,
    /// Backends that must have had them. Default 5.
    pub min_backends: usize,
}

/// How backends are compared by latency: the mean time to the first byte in the interval.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LatencyComparison {
    /// Ejected is who takes longer than so many times the median of the backends. Default 5.
    pub factor: f64,
    /// However quick the others are, a backend below this is not too slow. Default 50 ms.
    pub floor: Duration,
    /// Responses that a backend must have given in the interval to be compared. Default 100.
    pub min_requests: u64,
    /// Backends that must have given them. Default 3.
    pub min_backends: usize,
}

impl Default for OutlierSettings {
    fn default() -> Self {
        OutlierSettings {
            consecutive_failures: Some(5),
            consecutive_gateway_failures: None,
            success_rate: Some(SuccessRate::default()),
            latency: None,
            interval: Duration::from_secs(10),
            eject: Duration::from_secs(30),
            max_eject: Duration::from_secs(300),
            max_ejected_percent: 50,
        }
    }
}

impl Default for SuccessRate {
    fn default() -> Self {
        SuccessRate { deviations: 1.9, ceiling_percent: 95.0, min_requests: 100, min_backends: 5 }
    }
}

impl Default for LatencyComparison {
    fn default() -> Self {
        LatencyComparison { factor: 5.0, floor: Duration::from_millis(50), min_requests: 100, min_backends: 3 }
    }
}
