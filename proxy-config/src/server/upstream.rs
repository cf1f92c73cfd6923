//! Upstreams: a cluster each, and how each goes over into the next configuration.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_core::tls::ClientTls;
use proxy_core::{
    Address, Backend, BackendSet, BackendState, Cluster, ClusterBuilder, HealthSource, Observer, Pool as _,
    PoolBuilder, PoolSettings, ProxyHeaderSender, RetryPolicy, Selector, SharedPool, UpstreamHttp2, UpstreamTimeouts,
    Verdict,
};
use proxy_forward::{Parent, ParentError, ParentProxy};
use proxy_lb::PanicThreshold;
use proxy_metrics::{UpstreamMetrics, Watched};
use tokio::task::JoinSet;

use super::ServerError;
use super::eligibility::{eligibility, labelled};
use super::folder;
use super::health::{Guards, Task, is_checked, start_state};
use super::operations::Observation;
use super::selector::selector;
use super::sticky::sticky;
use super::tls;
use crate::path::Path;
use crate::{Config, Retry, SendProxyHeader, Timeouts, Upstream};

/// The upstreams that run, by name, shared by all listeners.
pub(super) type Upstreams = BTreeMap<String, Running>;

/// An upstream that runs. A clone is the same one.
#[derive(Clone)]
pub(super) struct Running {
    built: Arc<Built>,
    /// What runs beside it; dropping the last handle ends it.
    beside: Arc<Mutex<JoinSet<()>>>,
    /// Keeps it in the metrics.
    _watched: Option<Arc<Watched>>,
}

/// An upstream, the backends it goes to and their connections.
struct Built {
    upstream: Arc<dyn proxy_core::Upstream>,
    backends: BackendSet,
    pool: SharedPool,
    tls: Option<Arc<ClientTls>>,
    parent: Option<ParentProxy>,
}

/// An upstream of the next configuration: everything that can fail has been done.
pub(super) struct Planned {
    built: Arc<Built>,
    change: Change,
    /// What the files of its TLS hold now, where it goes on with the handle that it has.
    loaded: Option<ClientTls>,
}

enum Change {
    /// Nothing, or its backends: then all of them.
    Kept(Running, Option<Vec<Backend>>),
    /// Its settings: a new cluster, which takes over what it can.
    Built(Renewal),
}

/// What is left to do when a new cluster comes into force.
#[derive(Default)]
struct Renewal {
    tasks: Vec<Task>,
    before: Option<Running>,
    /// Backends of the one before, and the weights that are theirs now.
    taken_over: Vec<(Backend, u32)>,
    /// Backends of the one before whose idle connections are in the pool that is kept.
    gone: Vec<Backend>,
    is_checked: bool,
    metrics: Option<UpstreamMetrics>,
}

impl Running {
    pub(super) fn backends(&self) -> &BackendSet {
        &self.built.backends
    }

    fn beside(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Planned {
    pub(super) fn upstream(&self) -> &Arc<dyn proxy_core::Upstream> {
        &self.built.upstream
    }

    /// It as one of proxies.
    pub(super) fn parent(&self) -> Option<Parent> {
        let proxy = self.built.parent.clone()?;
        Some(Parent::new(proxy, Arc::clone(&self.built.upstream)))
    }

    /// Whether a proxy that has the one of this name before needs another.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.change, Change::Built(_))
    }

    /// Puts it into force.
    pub(super) fn start(self) -> Running {
        if let (Some(tls), Some(loaded)) = (&self.built.tls, &self.loaded) {
            tls.replace(loaded);
        }
        match self.change {
            Change::Kept(running, None) => running,
            Change::Kept(running, Some(backends)) => {
                if let Err(error) = running.built.backends.replace(backends) {
                    unreachable!("a valid configuration has backends, and none of them twice: {error}");
                }
                running
            }
            Change::Built(renewal) => renewal.start(self.built),
        }
    }
}

impl Renewal {
    fn start(self, built: Arc<Built>) -> Running {
        let Renewal { tasks, before, taken_over, gone, is_checked, metrics } = self;
        taken_over.iter().for_each(|(backend, weight)| backend.set_weight(*weight));
        built.backends.refresh();
        gone.iter().for_each(|backend| built.pool.evict(backend));
        let (set, taken_over) = (built.backends.clone(), taken_over.into_iter().map(|(backend, _)| backend).collect());
        let before = before.map(|running| std::mem::take(&mut *running.beside()));
        let mut beside = JoinSet::new();
        beside.spawn(async move {
            // Those before may be about to say something: only once they are gone it can be taken back.
            before.unwrap_or_default().shutdown().await;
            forget(&set, taken_over, is_checked);
            let mut tasks: JoinSet<()> = tasks.into_iter().collect();
            while tasks.join_next().await.is_some() {}
        });
        let pool = built.pool.clone();
        let watched = metrics.map(|it| Arc::new(it.watch(built.backends.clone(), move || pool.stats())));
        Running { built, beside: Arc::new(Mutex::new(beside)), _watched: watched }
    }
}

/// What watched these backends watches no longer, and takes nothing back itself.
fn forget(set: &BackendSet, backends: Vec<Backend>, is_checked: bool) {
    backends.iter().for_each(|backend| backend.set_ramp(FULL));
    let forgotten: &[_] = match is_checked {
        true => &[HealthSource::Outlier, HealthSource::Breaker],
        false => &[HealthSource::Outlier, HealthSource::Breaker, HealthSource::Check, HealthSource::Start],
    };
    let forget = |backend, source| (backend, Verdict::new(source, BackendState::Healthy, "its settings changed"));
    set.report_all(
        backends.into_iter().flat_map(|backend| forgotten.iter().map(move |it| forget(backend.clone(), *it))),
    );
}

/// A backend that takes its whole share.
const FULL: u32 = 256;

/// Plans all upstreams, over those that run.
pub(super) fn plan(
    config: &Config,
    before: Option<&Config>,
    running: &Upstreams,
    observation: &Observation,
) -> Result<BTreeMap<String, Planned>, ServerError> {
    let anew = observation.counts_anew();
    let path = Path::Key(&Path::Root, "upstreams");
    let planned = config.upstreams.iter().map(|(name, upstream)| {
        let before = before.and_then(|config| Some((config, config.upstreams.get(name)?, running.get(name)?)));
        let planned = match before {
            Some((old, settings, running))
                if old.local_zone == config.local_zone && fits(settings, upstream) && !anew =>
            {
                keep(&Path::Key(&path, name), running, settings, upstream)?
            }
            before if upstream.files.is_some() => of_files(&Path::Key(&path, name), upstream, before.map(|it| it.2))?,
            before => {
                let before = before.map(|(_, old, running)| (old, running));
                let metrics = observation.of_upstream(name);
                renew(&Path::Key(&path, name), config, upstream, before, metrics, !anew)?
            }
        };
        Ok((name.clone(), planned))
    });
    planned.collect()
}

/// Whether an upstream can go on: nothing but its backends is another.
fn fits(before: &Upstream, now: &Upstream) -> bool {
    let but_for_backends = |upstream: &Upstream| Upstream { backends: Vec::new(), ..upstream.clone() };
    but_for_backends(before) == but_for_backends(now)
}

fn keep(path: &Path<'_>, running: &Running, before: &Upstream, now: &Upstream) -> Result<Planned, ServerError> {
    // Where backends are discovered, those that are written down served until they were.
    let changes = before.backends != now.backends && now.discovery.is_none();
    let start = start_state(now);
    let backends = changes.then(|| now.backends.iter().map(|config| backend(config, start)).collect());
    let loaded = now.tls.as_ref().map(|config| tls::client(path, config)).transpose()?;
    Ok(Planned { built: Arc::clone(&running.built), change: Change::Kept(running.clone(), backends), loaded })
}

/// An upstream without backends, and so without their connections.
fn of_files(path: &Path<'_>, upstream: &Upstream, before: Option<&Running>) -> Result<Planned, ServerError> {
    let files = upstream.files.iter().map(|config| folder::files(path, config)).next();
    let Some(files) = files.transpose()? else { unreachable!("it is one of files") };
    let (backends, pool) = (BackendSet::new([]), SharedPool::builder().build());
    let built = Built { upstream: Arc::new(files), backends, pool, tls: None, parent: None };
    let renewal = Renewal { before: before.cloned(), ..Renewal::default() };
    Ok(Planned { built: Arc::new(built), change: Change::Built(renewal), loaded: None })
}

fn renew(
    path: &Path<'_>,
    config: &Config,
    upstream: &Upstream,
    before: Option<(&Upstream, &Running)>,
    metrics: Option<UpstreamMetrics>,
    may_keep_pool: bool,
) -> Result<Planned, ServerError> {
    let (backends, mut renewal) = members(upstream, before);
    let observer = metrics.clone().map(|metrics| Arc::new(metrics) as Arc<dyn Observer>);
    let same_tls = before.filter(|(old, _)| old.tls == upstream.tls);
    let parent = upstream.proxy.as_ref().map(|config| parent(path, config, &upstream.timeouts)).transpose()?;
    let pool = match same_tls {
        Some((old, running))
            if may_keep_pool && old.proxy == upstream.proxy && pool_settings(old) == pool_settings(upstream) =>
        {
            running.built.pool.clone()
        }
        _ => {
            let pool = SharedPool::builder().settings(pool_settings(upstream));
            let pool = parent.iter().fold(pool, |pool, parent| parent.pool(pool));
            observer.iter().cloned().fold(pool, PoolBuilder::observer).build()
        }
    };
    let files = upstream.tls.as_ref().map(tls::upstream_files);
    let loaded = upstream.tls.as_ref().map(|config| tls::client(path, config)).transpose()?;
    // Connections are those of a handle: where it is the same, they can be used on.
    let known = same_tls.and_then(|(_, running)| running.built.tls.clone());
    let tls = known.or_else(|| loaded.clone().map(Arc::new));
    let guards = Guards::of(upstream);
    let cluster = cluster(path, config, upstream, &guards)?;
    let cluster = observer.into_iter().fold(cluster, ClusterBuilder::observer);
    let cluster = backends.into_iter().fold(cluster, ClusterBuilder::with);
    let cluster = tls.iter().fold(cluster, |cluster, tls| cluster.shared_tls(Arc::clone(tls) as _));
    let cluster = parent.iter().fold(cluster, |cluster, parent| parent.cluster(cluster));
    let built = Built { tls, parent, ..build(path, cluster, upstream, pool)? };
    renewal.tasks = guards.tasks(path, upstream, &built.backends, built.tls.as_deref())?;
    if let (Some(config), Some(files), Some(running)) = (&upstream.tls, files, &built.tls) {
        renewal.tasks.push(tls::follow(path, config, files, running));
    }
    renewal.before = before.map(|(_, running)| running.clone());
    renewal.metrics = metrics;
    Ok(Planned { built: Arc::new(built), change: Change::Built(renewal), loaded })
}

/// The backends of a new cluster. Those that the one before has, too, are the same: with their counts, their
/// health and their connections.
fn members(upstream: &Upstream, before: Option<(&Upstream, &Running)>) -> (Vec<Backend>, Renewal) {
    let start = start_state(upstream);
    let named = upstream.backends.iter().map(|config| backend(config, start));
    let mut renewal = Renewal { is_checked: is_checked(upstream), ..Renewal::default() };
    let Some((old, running)) = before else { return (named.collect(), renewal) };
    let known = running.built.backends.backends();
    if upstream.discovery.is_some() && upstream.discovery == old.discovery {
        // What was found is found still.
        renewal.taken_over = known.iter().map(|backend| (backend.clone(), backend.weight())).collect();
        return (known, renewal);
    }
    let known: BTreeMap<_, _> = known.iter().map(|backend| (backend.id(), backend)).collect();
    let mut members = Vec::with_capacity(upstream.backends.len());
    for new in named {
        match known.get(new.id()).filter(|known| is_same(known, &new)) {
            Some(&known) => {
                renewal.taken_over.push((known.clone(), new.weight()));
                members.push(known.clone());
            }
            None => members.push(new),
        }
    }
    renewal.gone = known.into_values().filter(|backend| !members.contains(backend)).cloned().collect();
    (members, renewal)
}

/// Whether both stand for the same server.
fn is_same(one: &Backend, other: &Backend) -> bool {
    one.address() == other.address() && one.labels().eq(other.labels())
}

fn build(
    path: &Path<'_>,
    cluster: ClusterBuilder<Box<dyn Selector>>,
    upstream: &Upstream,
    pool: SharedPool,
) -> Result<Built, ServerError> {
    let Some(sticky_config) = &upstream.sticky else {
        let cluster = cluster.build_with(pool.clone());
        return Ok(Built {
            backends: cluster.backends().clone(),
            upstream: Arc::new(cluster),
            pool,
            tls: None,
            parent: None,
        });
    };
    let at = |error| ServerError::cannot_build(Path::Key(path, "sticky").to_string(), error);
    let sticky = sticky(sticky_config).map_err(at)?.build_with(cluster, pool.clone());
    let backends = sticky.inner().backends().clone();
    Ok(Built { backends, upstream: Arc::new(sticky), pool, tls: None, parent: None })
}

fn cluster(
    path: &Path<'_>,
    config: &Config,
    upstream: &Upstream,
    guards: &Guards,
) -> Result<ClusterBuilder<Box<dyn Selector>>, ServerError> {
    let at = |error| ServerError::cannot_build(Path::Key(path, "selector").to_string(), error);
    let selector = selector(&upstream.selector, config.registry()).map_err(at)?;
    let selector: Box<dyn Selector> = match &guards.outliers {
        Some(detector) => Box::new(detector.around(selector)),
        None => selector,
    };
    let eligibility = eligibility(config.local_zone.as_deref(), upstream);
    let builder = Cluster::builder(selector)
        .eligibility(PanicThreshold::new(guards.panic_percent, eligibility))
        .retry(retry(&upstream.retry))
        .timeouts(timeouts(&upstream.timeouts));
    let builder = upstream.proxy_protocol.iter().map(sender).fold(builder, ClusterBuilder::proxy_protocol);
    let builder = upstream.http2.map(http2).into_iter().fold(builder, ClusterBuilder::http2);
    Ok(match &guards.breaker {
        Some(breaker) => builder.breaker(breaker.clone()),
        None => builder,
    })
}

/// `start` is the state it begins in, if it is not healthy.
pub(super) fn backend(config: &crate::Backend, start: Option<BackendState>) -> Backend {
    let builder = Backend::builder(address(&config.address)).weight(config.weight.into());
    let builder = labelled(builder, config);
    match start {
        Some(state) => builder.start(state, "not checked yet").build(),
        None => builder.build(),
    }
}

fn address(config: &crate::Address) -> Address {
    match config {
        crate::Address::Ip(address) => Address::Tcp(*address),
        crate::Address::Name { host, port } => Address::Name(host.clone(), *port),
        crate::Address::Unix(path) => Address::Unix(path.clone()),
    }
}

fn sender(config: &SendProxyHeader) -> ProxyHeaderSender {
    match config {
        SendProxyHeader::V1 => ProxyHeaderSender::v1(),
        SendProxyHeader::V2 { checksum, unique_id } => {
            ProxyHeaderSender::v2().checksum(checksum.unwrap_or(false)).unique_id(unique_id.unwrap_or(false))
        }
    }
}

fn http2(config: crate::UpstreamHttp2) -> UpstreamHttp2 {
    match config {
        crate::UpstreamHttp2::Auto => UpstreamHttp2::Auto,
        crate::UpstreamHttp2::Always => UpstreamHttp2::Always,
        crate::UpstreamHttp2::Never => UpstreamHttp2::Never,
    }
}

fn retry(config: &Retry) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    set(&mut policy.attempts, config.attempts.map(u32::from));
    let budget = config.budget_percent.map(u32::from);
    set(&mut policy.budget_percent, budget);
    policy.grpc_statuses = config.grpc_statuses.iter().map(|status| *status as u8).collect();
    policy
}

fn timeouts(config: &Timeouts) -> UpstreamTimeouts {
    let mut timeouts = UpstreamTimeouts::default();
    set(&mut timeouts.connect, config.connect);
    set(&mut timeouts.response, config.response);
    set(&mut timeouts.idle, config.idle);
    timeouts
}

fn pool_settings(upstream: &Upstream) -> PoolSettings {
    let (config, timeouts) = (&upstream.pool, &upstream.timeouts);
    let mut settings = PoolSettings::default();
    let per_backend = config.max_idle_per_backend;
    set(&mut settings.max_idle_per_backend, per_backend);
    set(&mut settings.max_idle, config.max_idle);
    let max_open = config.max_open_per_backend;
    set(&mut settings.max_open_per_backend, max_open.map(Some));
    set(&mut settings.max_pending, config.max_pending);
    let pending = config.pending_timeout;
    set(&mut settings.pending_timeout, pending.map(Some));
    set(&mut settings.idle_timeout, config.idle_timeout);
    set(&mut settings.max_age, config.max_age.map(Some));
    let requests = config.max_requests.map(NonZero::get);
    set(&mut settings.max_requests, requests.map(Some));
    set(&mut settings.connect_timeout, timeouts.connect);
    set(&mut settings.http2.max_streams, config.http2.max_streams);
    set(&mut settings.http2.stream_window, config.http2.stream_window);
    set(&mut settings.http2.ping_interval, config.http2.ping_interval.map(Some));
    set(&mut settings.http2.ping_timeout, config.http2.ping_timeout);
    if let Some(breaker) = &upstream.circuit_breaker {
        set(&mut settings.max_open_per_backend, breaker.max_connections.map(Some));
        set(&mut settings.max_pending, breaker.max_pending);
    }
    settings
}

/// What the backends speak where they are proxies.
fn parent(path: &Path<'_>, config: &crate::ParentProxy, timeouts: &Timeouts) -> Result<ParentProxy, ServerError> {
    let mut proxy = match config {
        crate::ParentProxy::Http(_) => ParentProxy::http(),
        crate::ParentProxy::Socks5(_) => ParentProxy::socks5(),
    };
    let settings = config.settings();
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        let at = |error: ParentError| ServerError::cannot_build(Path::Key(path, "proxy").to_string(), error);
        proxy = proxy.credentials(user, password.as_str()).map_err(at)?;
    }
    if let Some(timeout) = timeouts.connect {
        proxy = proxy.connect_timeout(timeout);
    }
    Ok(settings.answer_timeout.into_iter().fold(proxy, ParentProxy::answer_timeout))
}

/// Turns a knob, where the configuration does.
pub(super) fn set<T>(knob: &mut T, to: Option<T>) {
    if let Some(value) = to {
        *knob = value;
    }
}
