//! What the metrics are at one time.

use std::sync::Arc;

use crate::catalogue::Metric;
use crate::metrics::Exemplar;
use crate::times::{BUCKETS, Distribution};

/// One series and its value.
pub(crate) struct Sample {
    pub(crate) metric: &'static Metric,
    /// In the order of the metric's labels.
    pub(crate) labels: Vec<Arc<str>>,
    pub(crate) value: Value,
    /// Of a distribution's buckets, where there are some.
    pub(crate) exemplars: Option<Box<[Option<Exemplar>; BUCKETS]>>,
}

/// A value, as its kind has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Count(u64),
    Number(f64),
    Times(Distribution),
    Sum { count: u64, seconds: f64 },
}

/// A list of samples in the making.
#[derive(Default)]
pub(crate) struct Samples(pub(crate) Vec<Sample>);

impl Samples {
    pub(crate) fn push(&mut self, metric: &'static Metric, labels: &[&Arc<str>], value: Value) {
        debug_assert_eq!(labels.len(), metric.labels().len(), "{}", metric.name());
        let labels = labels.iter().map(|label| Arc::clone(label)).collect();
        self.0.push(Sample { metric, labels, value, exemplars: None });
    }

    /// These belong to what was pushed last.
    pub(crate) fn with(&mut self, exemplars: Option<Box<[Option<Exemplar>; BUCKETS]>>) {
        if let Some(last) = self.0.last_mut() {
            last.exemplars = exemplars;
        }
    }

    pub(crate) fn count(&mut self, metric: &'static Metric, labels: &[&Arc<str>], value: u64) {
        self.push(metric, labels, Value::Count(value));
    }

    pub(crate) fn number(&mut self, metric: &'static Metric, labels: &[&Arc<str>], value: f64) {
        self.push(metric, labels, Value::Number(value));
    }
}
