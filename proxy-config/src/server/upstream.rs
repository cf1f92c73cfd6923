//! Upstreams: a cluster each.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;

use proxy_core::{Address, Backend, Cluster, PoolSettings, RetryPolicy, Selector, SharedPool, UpstreamTimeouts};
use proxy_lb::RoundRobin;

use crate::{Config, Pool, Retry, Timeouts, Upstream};

/// The upstreams by name, shared by all listeners.
pub(super) type Upstreams = BTreeMap<String, Arc<Cluster<Box<dyn Selector>>>>;

pub(super) fn upstreams(config: &Config) -> Upstreams {
    let upstreams = config.upstreams.iter();
    upstreams.map(|(name, upstream)| (name.clone(), Arc::new(cluster(upstream)))).collect()
}

fn cluster(upstream: &Upstream) -> Cluster<Box<dyn Selector>> {
    let builder = Cluster::builder(selector(&upstream.selector))
        .retry(retry(&upstream.retry))
        .timeouts(timeouts(&upstream.timeouts));
    let backends = backends(&upstream.backends);
    let builder = backends.fold(builder, |builder, config| builder.with(backend(config)));
    builder.build_with(pool(&upstream.pool, &upstream.timeouts))
}

/// The only one there is stands in for the others, which [`Config::unsupported`] lists.
fn selector(_: &crate::Selector) -> Box<dyn Selector> {
    Box::new(RoundRobin::new())
}

/// Without the backups, which would otherwise take part all the time, unless nobody else is left.
fn backends(configured: &[crate::Backend]) -> impl Iterator<Item = &crate::Backend> {
    let is_main = |backend: &crate::Backend| !backend.backup && backend.weight > 0;
    let has_main = configured.iter().any(is_main);
    let kept = configured.iter();
    kept.filter(move |backend| !(has_main && backend.backup))
}

fn backend(config: &crate::Backend) -> Backend {
    let builder = Backend::builder(address(&config.address)).weight(config.weight.into());
    match &config.zone {
        Some(zone) => builder.label("zone", zone).build(),
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

fn pool(config: &Pool, timeouts: &Timeouts) -> SharedPool {
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
    SharedPool::builder().settings(settings).build()
}

/// Turns a knob, where the configuration does.
pub(super) fn set<T>(knob: &mut T, to: Option<T>) {
    if let Some(value) = to {
        *knob = value;
    }
}
