//! What limits did.

use std::sync::{Arc, Mutex};

use super::lock;
use crate::catalogue;
use crate::sample::Samples;

/// What a limit did so far, and what it holds: see [`Metrics::limit`](super::Metrics::limit). What it does not know is
/// left as it is by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitState {
    /// What it refused.
    pub refused: u64,
    /// What it let pass after a delay.
    pub delayed: u64,
    /// What it let pass in a dry run, and would have refused or delayed.
    pub would_refuse: u64,
    /// What was let pass or refused because nobody could be asked who counts.
    pub undecided: u64,
    /// The keys that it remembers.
    pub keys: Option<u64>,
    /// The keys that it forgot for want of room.
    pub forgotten: u64,
    /// What runs under it.
    pub in_flight: Option<u64>,
    /// How much may run.
    pub most: Option<u64>,
}

/// A limit, as it is shown.
pub(crate) struct Limit {
    pub(crate) name: Arc<str>,
    pub(crate) kind: &'static str,
    pub(crate) state: LimitState,
}

/// Those that are watched.
#[derive(Default)]
pub(crate) struct Limits(Mutex<Vec<Source>>);

struct Source {
    name: Arc<str>,
    kind: &'static str,
    /// `None` once the limit is gone.
    read: Box<dyn Fn() -> Option<LimitState> + Send + Sync>,
}

impl Limits {
    pub(super) fn add(
        &self,
        name: &str,
        kind: &'static str,
        read: impl Fn() -> Option<LimitState> + Send + Sync + 'static,
    ) {
        let mut sources = lock(&self.0);
        sources.retain(|source| (source.read)().is_some());
        sources.push(Source { name: name.into(), kind, read: Box::new(read) });
    }

    /// In the order of their names. Those that have one in common, as a limit and the one that replaces it, are one.
    pub(crate) fn all(&self) -> Vec<Limit> {
        let mut all: Vec<Limit> = Vec::new();
        lock(&self.0).retain(|source| {
            let Some(state) = (source.read)() else { return false };
            match all.iter_mut().find(|limit| limit.name == source.name && limit.kind == source.kind) {
                Some(limit) => limit.state.add(&state),
                None => all.push(Limit { name: Arc::clone(&source.name), kind: source.kind, state }),
            }
            true
        });
        all.sort_by(|one, other| (&one.name, one.kind).cmp(&(&other.name, other.kind)));
        all
    }

    pub(super) fn sample(&self, samples: &mut Samples) {
        for Limit { name, kind, state } in self.all() {
            let kind = kind.into();
            let labels = [&name, &kind];
            for (decision, count) in state.decisions() {
                samples.count(&catalogue::LIMIT_DECISIONS, &[&name, &kind, &decision.into()], count);
            }
            let gauges = [
                (&catalogue::LIMIT_KEYS, state.keys),
                (&catalogue::LIMIT_RUNNING, state.in_flight),
                (&catalogue::LIMIT_MOST, state.most),
            ];
            for (metric, value) in gauges {
                if let Some(value) = value {
                    samples.number(metric, &labels, value as f64);
                }
            }
            if state.keys.is_some() {
                samples.count(&catalogue::LIMIT_FORGOTTEN, &labels, state.forgotten);
            }
        }
    }
}

impl LimitState {
    /// By the names that they have in metrics.
    pub(crate) fn decisions(&self) -> [(&'static str, u64); 4] {
        [
            ("refused", self.refused),
            ("delayed", self.delayed),
            ("would_refuse", self.would_refuse),
            ("undecided", self.undecided),
        ]
    }

    fn add(&mut self, other: &LimitState) {
        let both = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0) + other.unwrap_or(0)),
        };
        self.refused += other.refused;
        self.delayed += other.delayed;
        self.would_refuse += other.would_refuse;
        self.undecided += other.undecided;
        self.forgotten += other.forgotten;
        self.keys = both(self.keys, other.keys);
        self.in_flight = both(self.in_flight, other.in_flight);
        self.most = both(self.most, other.most);
    }
}
