//! The metrics of one process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::catalogue::{self, Metric};
use crate::exposition;
use crate::sample::{Sample, Samples, Value};

mod exemplars;
mod failures;
mod limits;
mod listener;
mod open;
mod process;
mod publish;
mod series;
mod upstream;
mod usage;

pub use failures::Failure;
pub use limits::LimitState;
pub use listener::ListenerMetrics;
pub use publish::Publisher;
pub use upstream::{UpstreamMetrics, Watched};
pub use usage::UsageMetrics;

pub(crate) use exemplars::Exemplar;
pub(crate) use failures::Failures;
pub(crate) use limits::{Limit, Limits};
pub(crate) use listener::Listener;
pub(crate) use series::Series;
pub(crate) use upstream::{BackendCounts, Upstream};
pub(crate) use usage::Usage;

/// The metrics of one process: a cheap handle. Parts of a proxy are given observers of it;
/// [`render`](Self::render) is what Prometheus scrapes.
///
/// ```
/// use std::sync::Arc;
///
/// use proxy_core::{Cluster, Proxy, Route, selector_fn};
/// use proxy_metrics::Metrics;
///
/// let metrics = Metrics::new();
/// let api = metrics.upstream("api");
/// let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
///     .backend("127.0.0.1:9001".parse()?)
///     .observer(Arc::new(api.clone()))
///     .build();
/// let pool = cluster.pool().clone();
/// let _watched = api.watch(cluster.backends().clone(), move || pool.stats());
/// let proxy = Proxy::builder()
///     .observer(metrics.listener("web"))
///     .upstream("api", cluster)
///     .route(Route::to("api"))
///     .build()?;
/// assert!(metrics.render().contains("proxy_backend_up{upstream=\"api\",backend=\"127.0.0.1:9001\"} 1\n"));
/// # let _ = proxy;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cost
/// A request costs some atomic additions on cache lines that its thread has for itself: no look-up by name,
/// no lock, no memory. `cargo bench -p proxy-metrics` has the time.
///
/// # Series
/// Label values are names of the configuration, ids of backends and words of fixed lists: clients cannot
/// make series, but for as many users and hosts as [`usage`](Self::usage) allows. A backend that leaves its set takes its series along; so does an upstream that nobody
/// [watches](UpstreamMetrics::watch) any more, and a listener that no proxy has an observer of.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Registry>);

#[derive(Default)]
pub(crate) struct Registry {
    listeners: Mutex<BTreeMap<Arc<str>, Arc<Listener>>>,
    upstreams: Mutex<BTreeMap<Arc<str>, Arc<Upstream>>>,
    usages: Mutex<BTreeMap<Arc<str>, Arc<Usage>>>,
    logs: Mutex<Vec<Weak<LogCounts>>>,
    /// What logs that are gone have counted.
    former_logs: (AtomicU64, AtomicU64),
    failures: Arc<Failures>,
    limits: Limits,
    reloads: Reloads,
}

/// What an access log counts.
#[derive(Default)]
pub(crate) struct LogCounts {
    pub(crate) lines: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

#[derive(Default)]
struct Reloads {
    applied: AtomicU64,
    refused: AtomicU64,
    /// Seconds since 1970; 0 before the first.
    at: AtomicU64,
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Metrics::default()
    }

    /// An observer for one proxy that serves the listener of this name. A proxy that takes its place (after
    /// a reload) has its own, and goes on with the same counts.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        let mut listeners = lock(&self.0.listeners);
        let entry = listeners.entry(name.into()).or_insert_with_key(|name| Listener::new(name, &self.0.failures));
        ListenerMetrics::new(Arc::clone(entry))
    }

    /// An observer for the cluster and the pool of the upstream of this name.
    pub fn upstream(&self, name: &str) -> UpstreamMetrics {
        let mut upstreams = lock(&self.0.upstreams);
        let entry = upstreams.entry(name.into()).or_insert_with_key(Upstream::new);
        UpstreamMetrics::new(Arc::clone(entry))
    }

    /// A filter for the proxy that serves the listener of this name, which counts by user and by host: at most so many
    /// of each, the first that come; the others are counted together. It takes a lock for a moment at the end of a
    /// request, and belongs to a forward proxy.
    pub fn usage(&self, listener: &str, users: usize, hosts: usize) -> UsageMetrics {
        let mut usages = lock(&self.0.usages);
        let entry = usages.entry(listener.into()).or_insert_with_key(Usage::new);
        UsageMetrics::new(Arc::clone(entry), users, hosts)
    }

    /// Shows a limit, of whichever crate, under this name and kind (`rate_limit`, say) for as long as `read` knows it:
    /// a weak reference to it is what to read from.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use proxy_metrics::{LimitState, Metrics};
    ///
    /// let (metrics, refused) = (Metrics::new(), Arc::new(AtomicU64::new(3)));
    /// let weak = Arc::downgrade(&refused);
    /// metrics.limit("per client", "rate_limit", move || {
    ///     let mut state = LimitState::default();
    ///     state.refused = weak.upgrade()?.load(Ordering::Relaxed);
    ///     Some(state)
    /// });
    /// let line = "proxy_limit_decisions_total{limit=\"per client\",kind=\"rate_limit\",decision=\"refused\"} 3\n";
    /// assert!(metrics.render().contains(line));
    /// drop(refused);
    /// assert!(!metrics.render().contains("proxy_limit_decisions_total"));
    /// ```
    pub fn limit(&self, name: &str, kind: &'static str, read: impl Fn() -> Option<LimitState> + Send + Sync + 'static) {
        self.0.limits.add(name, kind, read);
    }

    /// A configuration was loaded while running: applied, or refused.
    pub fn reloaded(&self, applied: bool) {
        let reloads = &self.0.reloads;
        let counter = if applied { &reloads.applied } else { &reloads.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        if applied {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            reloads.at.store(now.as_secs(), Ordering::Relaxed);
        }
    }

    /// Everything in Prometheus' text format, version 0.0.4. It takes some microseconds for each backend:
    /// for a scrape, not for a request.
    pub fn render(&self) -> String {
        exposition::render(&self.samples())
    }

    /// The same in the format OpenMetrics, version 1.0.0, which has room for exemplars: of each bucket of
    /// `proxy_request_duration_seconds` the trace of a request that lies in it, where
    /// [`TraceContext`](proxy_core::TraceContext) knows one that is sampled.
    pub fn render_open_metrics(&self) -> String {
        exposition::render_open_metrics(&self.samples())
    }

    /// The requests that failed last, the youngest first; a hundred at most.
    pub fn failures(&self) -> Vec<Failure> {
        self.0.failures.list()
    }

    /// Every metric there is, also those without a series so far.
    pub fn catalogue() -> &'static [&'static Metric] {
        catalogue::ALL
    }

    pub(crate) fn limits(&self) -> Vec<Limit> {
        self.0.limits.all()
    }

    pub(crate) fn count_log(&self) -> Arc<LogCounts> {
        let counts = Arc::new(LogCounts::default());
        lock(&self.0.logs).push(Arc::downgrade(&counts));
        counts
    }

    pub(crate) fn listeners(&self) -> Vec<Arc<Listener>> {
        let mut listeners = lock(&self.0.listeners);
        listeners.retain(|_, listener| listener.is_used());
        listeners.values().cloned().collect()
    }

    fn usages(&self) -> Vec<Arc<Usage>> {
        let mut usages = lock(&self.0.usages);
        usages.retain(|_, usage| Arc::strong_count(usage) > 1);
        usages.values().cloned().collect()
    }

    pub(crate) fn upstreams(&self) -> Vec<Arc<Upstream>> {
        let mut upstreams = lock(&self.0.upstreams);
        upstreams.retain(|_, upstream| upstream.is_used());
        upstreams.values().cloned().collect()
    }

    /// Reloads: applied, refused, and when one was applied last.
    pub(crate) fn reloads(&self) -> serde_json::Value {
        let reloads = &self.0.reloads;
        let [applied, refused, at] =
            [&reloads.applied, &reloads.refused, &reloads.at].map(|it| it.load(Ordering::Relaxed));
        serde_json::json!({ "applied": applied, "refused": refused, "last": (at > 0).then_some(at) })
    }

    /// What the system says of this process, by the names of the metrics.
    pub(crate) fn process(&self) -> Vec<(&'static str, f64)> {
        let mut samples = Samples::default();
        process::sample(&mut samples);
        let numbers = samples.0.into_iter().filter_map(|sample| match sample.value {
            Value::Number(number) => Some((sample.metric.name(), number)),
            _ => None,
        });
        numbers.collect()
    }

    /// Lines written and lines lost, of all access logs.
    pub(crate) fn log_counts(&self) -> Option<(u64, u64)> {
        let logs = lock(&self.0.logs);
        let living = logs.iter().filter_map(Weak::upgrade);
        let sum = living.fold((0, 0), |(lines, dropped), log| {
            (lines + log.lines.load(Ordering::Relaxed), dropped + log.dropped.load(Ordering::Relaxed))
        });
        let former = &self.0.former_logs;
        let (lines, dropped) = (former.0.load(Ordering::Relaxed), former.1.load(Ordering::Relaxed));
        (!logs.is_empty() || lines > 0).then_some((sum.0 + lines, sum.1 + dropped))
    }

    /// A log has ended: what it counted stays in the sum.
    pub(crate) fn log_ended(&self, counts: &LogCounts) {
        let mut logs = lock(&self.0.logs);
        logs.retain(|log| log.strong_count() > 0 && !std::ptr::eq(log.as_ptr(), counts));
        self.0.former_logs.0.fetch_add(counts.lines.load(Ordering::Relaxed), Ordering::Relaxed);
        self.0.former_logs.1.fetch_add(counts.dropped.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        let mut samples = Samples::default();
        self.listeners().iter().for_each(|listener| listener.sample(&mut samples));
        self.usages().iter().for_each(|usage| usage.sample(&mut samples));
        self.upstreams().iter().for_each(|upstream| upstream.sample(&mut samples));
        self.0.limits.sample(&mut samples);
        self.sample_process(&mut samples);
        samples.0
    }

    fn sample_process(&self, samples: &mut Samples) {
        let reloads = &self.0.reloads;
        samples.count(&catalogue::RELOADS, &[&"applied".into()], reloads.applied.load(Ordering::Relaxed));
        samples.count(&catalogue::RELOADS, &[&"refused".into()], reloads.refused.load(Ordering::Relaxed));
        match reloads.at.load(Ordering::Relaxed) {
            0 => {}
            at => samples.number(&catalogue::RELOADED, &[], at as f64),
        }
        if let Some((lines, dropped)) = self.log_counts() {
            samples.count(&catalogue::LOG_LINES, &[], lines);
            samples.count(&catalogue::LOG_DROPPED, &[], dropped);
        }
        samples.number(&catalogue::BUILD, &[&env!("CARGO_PKG_VERSION").into()], 1.0);
        process::sample(samples);
    }
}

/// A panic while it was held has left nothing half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("listeners", &lock(&self.0.listeners).keys())
            .field("upstreams", &lock(&self.0.upstreams).keys())
            .finish_non_exhaustive()
    }
}
