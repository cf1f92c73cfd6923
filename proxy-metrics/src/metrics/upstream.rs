//! Attempts, backends and the pool of an upstream.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use proxy_core::{Attempt, AttemptResult, Backend, BackendSet, BackendState, Observer, PoolEvent, PoolStats};

use super::lock;
use super::series::{CLASSES, class};
use crate::catalogue;
use crate::sample::{Samples, Value};
use crate::sharded::Sharded;
use crate::times::{Distribution, Times, seconds};

/// The states a backend can be in.
const STATES: [BackendState; 4] =
    [BackendState::Healthy, BackendState::Unhealthy, BackendState::Draining, BackendState::Maintenance];

/// How attempts end, as labels: the classes of status first.
const RESULTS: [&str; 8] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx", "failed", "abandoned"];

/// Observes the cluster and the pool of one upstream. See [`Metrics::upstream`](super::Metrics::upstream).
#[derive(Clone)]
pub struct UpstreamMetrics(Arc<Upstream>);

/// Keeps an upstream in the metrics until it is dropped. See [`UpstreamMetrics::watch`].
#[must_use = "what is not kept is not watched"]
pub struct Watched(Arc<Source>);

/// What is counted about an upstream, whichever cluster it is.
pub(crate) struct Upstream {
    pub(crate) name: Arc<str>,
    /// Tells what this upstream attached to a backend from what others did.
    key: u64,
    retries: AtomicU64,
    waits: AtomicU64,
    connect_failures: AtomicU64,
    connects: Sharded<Times>,
    sources: Mutex<Vec<Weak<Source>>>,
}

/// A cluster behind the name.
pub(crate) struct Source {
    pub(crate) backends: BackendSet,
    pool: Box<dyn Fn() -> PoolStats + Send + Sync>,
}

/// What is counted about a backend; it hangs on the backend.
struct Counts {
    key: u64,
    cells: Sharded<Cells>,
    /// By state and source.
    changes: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

#[derive(Default)]
struct Cells {
    by_result: [AtomicU64; RESULTS.len()],
    first_bytes: AtomicU64,
    first_byte_nanos: AtomicU64,
}

/// What was counted about a backend so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BackendCounts {
    pub(crate) by_result: [u64; RESULTS.len()],
    pub(crate) first_bytes: u64,
    pub(crate) first_byte_nanos: u64,
}

impl BackendCounts {
    /// Attempts that ended in any way.
    pub(crate) fn attempts(&self) -> u64 {
        self.by_result.iter().sum()
    }

    /// Those that ended with a 5xx, or with nothing through the backend's fault.
    pub(crate) fn errors(&self) -> u64 {
        self.by_result[5] + self.by_result[6]
    }
}

impl UpstreamMetrics {
    pub(super) fn new(upstream: Arc<Upstream>) -> Self {
        UpstreamMetrics(upstream)
    }

    /// Shows the backends of this set, and what `pool` says, as long as the guard lives. Of several sets that
    /// are watched under one name, and have a backend with the same id, the one watched last is shown.
    pub fn watch(&self, backends: BackendSet, pool: impl Fn() -> PoolStats + Send + Sync + 'static) -> Watched {
        let source = Arc::new(Source { backends, pool: Box::new(pool) });
        lock(&self.0.sources).push(Arc::downgrade(&source));
        Watched(source)
    }
}

impl Observer for UpstreamMetrics {
    fn on_pool(&self, _: &Backend, event: PoolEvent) {
        match event {
            PoolEvent::Opened(time) => self.0.connects.mine().observe(time),
            PoolEvent::Waiting => drop(self.0.waits.fetch_add(1, Ordering::Relaxed)),
            PoolEvent::Failed => drop(self.0.connect_failures.fetch_add(1, Ordering::Relaxed)),
            // The pool counts these itself.
            _ => {}
        }
    }

    fn on_attempt(&self, backend: &Backend, attempt: &Attempt) {
        let cells = self.0.counts(backend).cells.mine();
        cells.by_result[result(attempt.result)].fetch_add(1, Ordering::Relaxed);
        if let Some(time) = attempt.first_byte {
            cells.first_bytes.fetch_add(1, Ordering::Relaxed);
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            cells.first_byte_nanos.fetch_add(nanos, Ordering::Relaxed);
        }
        if attempt.number > 1 {
            self.0.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn on_health(&self, backend: &Backend, state: BackendState) {
        let source = backend.status().source().name();
        *lock(&self.0.counts(backend).changes).entry((state.name(), source)).or_default() += 1;
    }
}

/// The place in [`RESULTS`].
fn result(result: AttemptResult) -> usize {
    match result {
        AttemptResult::Response(status) => class(Some(status)),
        AttemptResult::Failed(_) => CLASSES.len(),
        _ => CLASSES.len() + 1,
    }
}

impl Upstream {
    pub(super) fn new(name: &Arc<str>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Upstream {
            name: Arc::clone(name),
            key: NEXT.fetch_add(1, Ordering::Relaxed),
            retries: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            connects: Sharded::default(),
            sources: Mutex::default(),
        })
    }

    /// Whether somebody watches it, or is about to.
    pub(super) fn is_used(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || lock(&self.sources).iter().any(|source| source.strong_count() > 0)
    }

    fn counts<'b>(&self, backend: &'b Backend) -> &'b Counts {
        let key = self.key;
        let make = || Counts { key, cells: Sharded::default(), changes: Mutex::default() };
        backend.attached(|counts: &Counts| counts.key == key, make)
    }

    /// The clusters behind the name, the youngest first.
    pub(crate) fn sources(&self) -> Vec<Arc<Source>> {
        let mut sources = lock(&self.sources);
        sources.retain(|source| source.strong_count() > 0);
        sources.iter().rev().filter_map(Weak::upgrade).collect()
    }

    /// The backends, and the set each of them is in; of several with one id the youngest.
    pub(crate) fn backends(&self) -> Vec<(Backend, BackendSet)> {
        let mut ids = HashSet::new();
        let sources = self.sources();
        let all =
            sources.iter().flat_map(|it| it.backends.backends().into_iter().map(|one| (one, it.backends.clone())));
        all.filter(|(backend, _)| ids.insert(backend.id().to_owned())).collect()
    }

    /// What its pools did.
    pub(crate) fn pool(&self) -> PoolStats {
        let mut sum = PoolStats::default();
        for stats in self.sources().iter().map(|source| (source.pool)()) {
            sum.opened += stats.opened;
            sum.reused += stats.reused;
            sum.closed += stats.closed;
            sum.idle += stats.idle;
            sum.waiting += stats.waiting;
        }
        sum
    }

    /// Attempts that were not the first of their request.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Times that a request had to wait for a connection.
    pub(crate) fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    pub(crate) fn backend_counts(&self, backend: &Backend) -> BackendCounts {
        let cells = &self.counts(backend).cells;
        let sum = |cell: &dyn Fn(&Cells) -> &AtomicU64| cells.iter().map(|it| cell(it).load(Ordering::Relaxed)).sum();
        BackendCounts {
            by_result: std::array::from_fn(|result| sum(&|cells| &cells.by_result[result])),
            first_bytes: sum(&|cells| &cells.first_bytes),
            first_byte_nanos: sum(&|cells| &cells.first_byte_nanos),
        }
    }

    pub(super) fn sample(&self, samples: &mut Samples) {
        let backends = self.backends();
        if backends.is_empty() && self.sources().is_empty() {
            return;
        }
        samples.count(&catalogue::RETRIES, &[&self.name], self.retries());
        for state in STATES {
            let count = backends.iter().filter(|(backend, _)| backend.state() == state).count();
            samples.number(&catalogue::BACKENDS, &[&self.name, &state.name().into()], count as f64);
        }
        self.sample_pool(samples);
        let states = STATES.map(|state| (state, Arc::from(state.name())));
        let results = RESULTS.map(Arc::from);
        backends.iter().for_each(|(backend, _)| self.sample_backend(backend, &states, &results, samples));
    }

    fn sample_pool(&self, samples: &mut Samples) {
        let (stats, labels) = (self.pool(), [&self.name]);
        samples.count(&catalogue::POOL_OPENED, &labels, stats.opened);
        samples.count(&catalogue::POOL_REUSED, &labels, stats.reused);
        samples.count(&catalogue::POOL_CLOSED, &labels, stats.closed);
        samples.number(&catalogue::POOL_OPEN, &labels, stats.opened.saturating_sub(stats.closed) as f64);
        samples.number(&catalogue::POOL_IDLE, &labels, stats.idle as f64);
        samples.number(&catalogue::POOL_WAITING, &labels, stats.waiting as f64);
        samples.count(&catalogue::POOL_WAITS, &labels, self.waits());
        samples.count(&catalogue::POOL_FAILURES, &labels, self.connect_failures.load(Ordering::Relaxed));
        let connects = Distribution::of(&self.connects, |times| times);
        samples.push(&catalogue::POOL_CONNECT, &labels, Value::Times(connects));
    }

    fn sample_backend(
        &self,
        backend: &Backend,
        states: &[(BackendState, Arc<str>)],
        results: &[Arc<str>],
        samples: &mut Samples,
    ) {
        let (id, state) = (Arc::from(backend.id()), backend.state());
        let labels = [&self.name, &id];
        let one_if = |yes: bool| f64::from(u8::from(yes));
        samples.number(&catalogue::BACKEND_UP, &labels, one_if(state == BackendState::Healthy));
        for (candidate, name) in states {
            samples.number(&catalogue::BACKEND_STATE, &[&self.name, &id, name], one_if(state == *candidate));
        }
        samples.number(&catalogue::BACKEND_WEIGHT, &labels, f64::from(backend.weight()));
        samples.number(&catalogue::BACKEND_IN_FLIGHT, &labels, backend.in_flight() as f64);
        let latency = backend.latency().unwrap_or_default();
        samples.number(&catalogue::BACKEND_LATENCY, &labels, latency.as_secs_f64());
        let counts = self.backend_counts(backend);
        for (result, count) in results.iter().zip(counts.by_result) {
            if count > 0 {
                samples.count(&catalogue::BACKEND_ATTEMPTS, &[&self.name, &id, result], count);
            }
        }
        let sum = Value::Sum { count: counts.first_bytes, seconds: seconds(counts.first_byte_nanos) };
        samples.push(&catalogue::BACKEND_FIRST_BYTE, &labels, sum);
        for ((state, source), count) in &*lock(&self.counts(backend).changes) {
            let labels = [&self.name, &id, &(*state).into(), &(*source).into()];
            samples.count(&catalogue::BACKEND_CHANGES, &labels, *count);
        }
    }
}

impl fmt::Debug for UpstreamMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamMetrics").field("upstream", &self.0.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("backends", &self.0.backends).finish()
    }
}
