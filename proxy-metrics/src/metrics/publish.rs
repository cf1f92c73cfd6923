//! The same metrics for a recorder of the crate `metrics`.

use std::collections::HashMap;
use std::fmt;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, Unit};

use super::Metrics;
use crate::catalogue::{ALL, Kind, Metric};
use crate::sample::{Sample, Value};
use crate::times::{BOUNDS, Distribution, seconds};

/// Hands the metrics on to a [`metrics::Recorder`], for those who have one already. Call
/// [`publish`](Self::publish) before each scrape, or every few seconds.
///
/// Counters become absolute ones and gauges are set. An observation is recorded with the upper bound of its
/// bucket: a recorder with [these bounds](Self::BUCKETS) has the same buckets, and a sum that errs upwards.
/// What is not a whole number, the CPU time, becomes a gauge.
///
/// ```
/// use metrics_exporter_prometheus::PrometheusBuilder;
/// use proxy_metrics::{Metrics, Publisher};
///
/// let metrics = Metrics::new();
/// let recorder = PrometheusBuilder::new().set_buckets(&Publisher::BUCKETS)?.build_recorder();
/// let mut publisher = Publisher::new(metrics.clone());
/// publisher.publish(&recorder); // or: metrics::with_recorder(|recorder| publisher.publish(recorder))
/// assert!(recorder.handle().render().contains("proxy_build_info"));
/// # Ok::<(), metrics_exporter_prometheus::BuildError>(())
/// ```
///
/// A recorder keeps what it has once seen: series of backends that left end there by its own rules, such as
/// an idle timeout.
pub struct Publisher {
    metrics: Metrics,
    described: bool,
    /// What was published of each distribution.
    before: HashMap<Key, Distribution>,
}

impl Publisher {
    /// The upper bounds of all buckets, in seconds.
    pub const BUCKETS: [f64; BOUNDS.len()] = {
        let mut bounds = [0.0; BOUNDS.len()];
        let mut index = 0;
        while index < BOUNDS.len() {
            bounds[index] = BOUNDS[index] as f64 / 1e9;
            index += 1;
        }
        bounds
    };

    /// Of these metrics.
    pub fn new(metrics: Metrics) -> Self {
        Publisher { metrics, described: false, before: HashMap::new() }
    }

    /// Brings `recorder` up to date.
    pub fn publish(&mut self, recorder: &dyn Recorder) {
        if !std::mem::replace(&mut self.described, true) {
            ALL.iter().for_each(|metric| describe(recorder, metric));
        }
        let samples = self.metrics.samples();
        let mut now = HashMap::new();
        for sample in &samples {
            let key = key(sample);
            match sample.value {
                Value::Count(count) => recorder.register_counter(&key, &METADATA).absolute(count),
                Value::Number(number) => recorder.register_gauge(&key, &METADATA).set(number),
                Value::Times(times) => {
                    record(recorder, &key, &times, self.before.get(&key));
                    now.insert(key, times);
                }
                Value::Sum { count, seconds } => sum(recorder, sample, count, seconds),
            }
        }
        self.before = now;
    }
}

static METADATA: Metadata<'_> = Metadata::new("proxy_metrics", Level::INFO, Some("proxy_metrics"));

fn key(sample: &Sample) -> Key {
    named(sample, "")
}

fn named(sample: &Sample, suffix: &str) -> Key {
    let labels = sample.metric.labels().iter().zip(&sample.labels);
    let labels: Vec<_> = labels.map(|(name, value)| Label::new(*name, value.to_string())).collect();
    match suffix {
        "" => Key::from_parts(sample.metric.name(), labels),
        _ => Key::from_parts(format!("{}{suffix}", sample.metric.name()), labels),
    }
}

fn describe(recorder: &dyn Recorder, metric: &Metric) {
    let (name, help) = (KeyName::from(metric.name()), metric.help().into());
    let unit = match metric.unit() {
        "seconds" => Some(Unit::Seconds),
        "bytes" => Some(Unit::Bytes),
        _ => None,
    };
    match metric.kind() {
        Kind::Counter => recorder.describe_counter(name, unit, help),
        Kind::Gauge | Kind::Summary => recorder.describe_gauge(name, unit, help),
        Kind::Histogram => recorder.describe_histogram(name, unit, help),
    }
}

/// What was observed since `before`.
fn record(recorder: &dyn Recorder, key: &Key, times: &Distribution, before: Option<&Distribution>) {
    let histogram = recorder.register_histogram(key, &METADATA);
    let longest = seconds(BOUNDS[BOUNDS.len() - 1]) * 2.0;
    let bounds = Publisher::BUCKETS.into_iter().chain([longest]);
    for (bucket, bound) in bounds.enumerate() {
        let new = times.buckets[bucket].saturating_sub(before.map_or(0, |before| before.buckets[bucket]));
        if new > 0 {
            histogram.record_many(bound, usize::try_from(new).unwrap_or(usize::MAX));
        }
    }
}

/// A sum without buckets has no kind of its own there.
fn sum(recorder: &dyn Recorder, sample: &Sample, count: u64, seconds: f64) {
    recorder.register_gauge(&named(sample, "_sum"), &METADATA).set(seconds);
    recorder.register_counter(&named(sample, "_count"), &METADATA).absolute(count);
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}
