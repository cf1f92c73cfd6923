//! Upstreams: a cluster each.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;

use proxy_core::{
    Address, Backend, BackendSet, BackendState, Cluster, ClusterBuilder, PoolSettings, RetryPolicy, Selector,
    SharedPool, UpstreamTimeouts,
};
use proxy_lb::PanicThreshold;

use super::ServerError;
use super::eligibility::{eligibility, labelled};
use super::health::{Guards, Task, start_state};
use super::selector::selector;
use super::sticky::sticky;
use crate::path::Path;
use crate::{Config, Retry, Timeouts, Upstream};

/// The upstreams by name, shared by all listeners.
pub(super) type Upstreams = BTreeMap<String, Built>;

/// An upstream and the backends it goes to.
pub(super) struct Built {
    pub(super) upstream: Arc<dyn proxy_core::Upstream>,
    pub(super) backends: BackendSet,
}

/// The upstreams, and what runs beside them.
pub(super) fn upstreams(config: &Config) -> Result<(Upstreams, Vec<Task>), ServerError> {
    let (mut upstreams, mut tasks) = (BTreeMap::new(), Vec::new());
    let path = Path::Key(&Path::Root, "upstreams");
    for (name, upstream) in &config.upstreams {
        let (path, guards) = (Path::Key(&path, name), Guards::of(upstream));
        let built = build(&path, cluster(config, upstream, &guards), upstream)?;
        tasks.extend(guards.tasks(&path, upstream, &built.backends)?);
        upstreams.insert(name.clone(), built);
    }
    Ok((upstreams, tasks))
}

fn build(
    path: &Path<'_>,
    cluster: ClusterBuilder<Box<dyn Selector>>,
    upstream: &Upstream,
) -> Result<Built, ServerError> {
    let pool = pool(upstream);
    let Some(sticky_config) = &upstream.sticky else {
        let cluster = cluster.build_with(pool);
        return Ok(Built { backends: cluster.backends().clone(), upstream: Arc::new(cluster) });
    };
    let at = |error| ServerError::cannot_build(Path::Key(path, "sticky").to_string(), error);
    let sticky = sticky(sticky_config).map_err(at)?.build_with(cluster, pool);
    Ok(Built { backends: sticky.inner().backends().clone(), upstream: Arc::new(sticky) })
}

fn cluster(config: &Config, upstream: &Upstream, guards: &Guards) -> ClusterBuilder<Box<dyn Selector>> {
    let selector = selector(&upstream.selector);
    let selector: Box<dyn Selector> = match &guards.outliers {
        Some(detector) => Box::new(detector.around(selector)),
        None => selector,
    };
    let eligibility = eligibility(config.local_zone.as_deref(), upstream);
    let builder = Cluster::builder(selector)
        .eligibility(PanicThreshold::new(guards.panic_percent, eligibility))
        .retry(retry(&upstream.retry))
        .timeouts(timeouts(&upstream.timeouts));
    let builder = match &guards.breaker {
        Some(breaker) => builder.breaker(breaker.clone()),
        None => builder,
    };
    let start = start_state(upstream);
    upstream.backends.iter().map(|config| backend(config, start)).fold(builder, ClusterBuilder::with)
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

fn retry(config: &Retry) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    set(&mut policy.attempts, config.attempts.map(u32::from));
    let budget = config.budget_percent.map(u32::from);
    set(&mut policy.budget_percent, budget);
    policy
}

fn timeouts(config: &Timeouts) -> UpstreamTimeouts {
    let mut timeouts = UpstreamTimeouts::default();
    set(&mut timeouts.connect, config.connect);
    set(&mut timeouts.response, config.response);
    set(&mut timeouts.idle, config.idle);
    timeouts
}

fn pool(upstream: &Upstream) -> SharedPool {
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
    if let Some(breaker) = &upstream.circuit_breaker {
        set(&mut settings.max_open_per_backend, breaker.max_connections.map(Some));
        set(&mut settings.max_pending, breaker.max_pending);
    }
    SharedPool::builder().settings(settings).build()
}

/// Turns a knob, where the configuration does.
pub(super) fn set<T>(knob: &mut T, to: Option<T>) {
    if let Some(value) = to {
        *knob = value;
    }
}
