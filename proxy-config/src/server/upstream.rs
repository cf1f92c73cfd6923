//! Upstreams: a cluster each.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;

use proxy_core::{
    Address, Backend, Cluster, ClusterBuilder, PoolSettings, RetryPolicy, Selector, SharedPool, UpstreamTimeouts,
};

use super::ServerError;
use super::eligibility::{eligibility, labelled};
use super::selector::selector;
use super::sticky::sticky;
use crate::path::Path;
use crate::{Config, Pool, Retry, Timeouts, Upstream};

/// The upstreams by name, shared by all listeners.
pub(super) type Upstreams = BTreeMap<String, Arc<dyn proxy_core::Upstream>>;

pub(super) fn upstreams(config: &Config) -> Result<Upstreams, ServerError> {
    let upstreams = config.upstreams.iter();
    let built = upstreams.map(|(name, upstream)| {
        let path = Path::Key(&Path::Key(&Path::Root, "upstreams"), name);
        Ok((name.clone(), build(&path, config, upstream)?))
    });
    built.collect()
}

fn build(path: &Path<'_>, config: &Config, upstream: &Upstream) -> Result<Arc<dyn proxy_core::Upstream>, ServerError> {
    let cluster = cluster(config, upstream);
    let pool = pool(&upstream.pool, &upstream.timeouts);
    let Some(sticky_config) = &upstream.sticky else { return Ok(Arc::new(cluster.build_with(pool))) };
    let at = |error| ServerError::cannot_build(Path::Key(path, "sticky").to_string(), error);
    Ok(Arc::new(sticky(sticky_config).map_err(at)?.build_with(cluster, pool)))
}

fn cluster(config: &Config, upstream: &Upstream) -> ClusterBuilder<Box<dyn Selector>> {
    let builder = Cluster::builder(selector(&upstream.selector))
        .eligibility(eligibility(config.local_zone.as_deref(), upstream))
        .retry(retry(&upstream.retry))
        .timeouts(timeouts(&upstream.timeouts));
    upstream.backends.iter().map(backend).fold(builder, ClusterBuilder::with)
}

fn backend(config: &crate::Backend) -> Backend {
    let builder = Backend::builder(address(&config.address)).weight(config.weight.into());
    labelled(builder, config).build()
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
