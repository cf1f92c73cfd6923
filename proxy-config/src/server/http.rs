//! HTTP listeners: a proxy each.

use std::num::NonZero;
use std::sync::Arc;

use proxy_core::{ClientCertificateFields, Forwarding, Http2, Limits, Proxy, ProxyBuilder, Timeouts};

use super::admission::{Admission, ranges};
use super::upstream::set;
use super::{Parts, ServerError, filter, route};
use crate::path::Path;
use crate::{Http, Listener};

/// `path` is that of the listener, `name` its name.
pub(super) fn proxy(
    path: &Path<'_>,
    name: &str,
    listener: &Listener,
    http: &Http,
    parts: &Parts<'_>,
) -> Result<Proxy, ServerError> {
    let admission = Admission::of(path, listener)?;
    let path = &Path::Key(path, "http");
    let proxy = Proxy::builder()
        .limits(limits(&http.limits))
        .timeouts(timeouts(&http.timeouts))
        .forwarding(forwarding(path, http)?)
        .half_close(http.half_close.unwrap_or(false))
        .http2(http2(&http.http2));
    let proxy = admission.into_proxy(proxy);
    let proxy = if parts.forwards_certificates { proxy.filter(ClientCertificateFields::new()) } else { proxy };
    let filters = filter::filters(path, &http.filters, parts)?.into_iter();
    let proxy = filters.fold(proxy, ProxyBuilder::shared_filter);
    let proxy = with_upstreams(proxy, http, parts);
    let routes = Path::Key(path, "routes");
    let mut numbered = http.routes.iter().enumerate();
    let proxy = numbered.try_fold(proxy, |proxy, (index, config)| {
        route::route(&Path::Index(&routes, index), config, parts).map(|route| proxy.route(route))
    })?;
    let at = |error| ServerError::cannot_build(path.to_string(), error);
    parts.observer(name).into_iter().fold(proxy, ProxyBuilder::observer).build().map_err(at)
}

/// Only those that its routes name: others would outlive a reload that drops them.
fn with_upstreams(proxy: ProxyBuilder, http: &Http, parts: &Parts<'_>) -> ProxyBuilder {
    let names = http.routes.iter().flat_map(|route| route.target.upstreams());
    names.fold(proxy, |proxy, name| match parts.upstream(name) {
        Some(upstream) => proxy.shared_upstream(name, Arc::clone(upstream)),
        None => proxy,
    })
}

fn http2(config: &crate::Http2) -> Option<Http2> {
    let crate::Http2::On(config) = config else { return None };
    let mut http2 = Http2::default();
    set(&mut http2.max_streams, config.max_streams);
    set(&mut http2.stream_window, config.stream_window);
    set(&mut http2.connection_window, config.connection_window);
    set(&mut http2.max_resets, config.max_resets);
    set(&mut http2.max_idle_frames, config.max_idle_frames);
    Some(http2)
}

pub(super) fn limits(config: &crate::Limits) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits.max_head_bytes, config.max_head_bytes);
    set(&mut limits.max_headers, config.max_headers);
    set(&mut limits.max_target_bytes, config.max_target_bytes);
    set(&mut limits.max_body_bytes, config.max_body_bytes.map(Some));
    set(&mut limits.max_connections, config.max_connections);
    let per_client = config.max_connections_per_client;
    set(&mut limits.max_connections_per_client, per_client.map(Some));
    let requests = config.max_requests_per_connection.map(NonZero::get);
    set(&mut limits.max_requests_per_connection, requests.map(Some));
    set(&mut limits.max_drain_bytes, config.max_drain_bytes);
    limits
}

pub(super) fn timeouts(config: &crate::HttpTimeouts) -> Timeouts {
    let mut timeouts = Timeouts::default();
    set(&mut timeouts.head, config.head);
    set(&mut timeouts.keep_alive, config.keep_alive);
    set(&mut timeouts.body_idle, config.body_idle);
    set(&mut timeouts.write_idle, config.body_idle);
    set(&mut timeouts.min_body_rate, config.min_body_rate);
    set(&mut timeouts.tunnel_idle, config.tunnel_idle);
    set(&mut timeouts.total, config.total.map(Some));
    timeouts
}

fn forwarding(path: &Path<'_>, http: &Http) -> Result<Forwarding, ServerError> {
    let trusted = ranges(&Path::Key(path, "trusted_proxies"), &http.trusted_proxies)?;
    let forwarding = match http.forwarded.x_forwarded {
        Some(on) => Forwarding::default().x_forwarded_for(on).x_forwarded_proto(on).x_forwarded_host(on),
        None => Forwarding::default(),
    };
    Ok(forwarding
        .forwarded(http.forwarded.forwarded.unwrap_or(false))
        .via(http.forwarded.via.unwrap_or(true))
        .trust(trusted))
}
