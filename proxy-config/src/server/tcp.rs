//! TCP listeners: a proxy of raw connections each.

use std::sync::Arc;

use proxy_core::{TcpProxy, TcpProxyBuilder, TcpRoute, TcpSettings};

use super::admission::Admission;
use super::upstream::set;
use super::{Parts, ServerError};
use crate::path::Path;
use crate::{Listener, ServerName, Tcp};

/// `path` is that of the listener, `name` its name.
pub(super) fn proxy(
    path: &Path<'_>,
    name: &str,
    listener: &Listener,
    tcp: &Tcp,
    parts: &Parts<'_>,
) -> Result<TcpProxy, ServerError> {
    let admission = Admission::of(path, listener)?;
    let path = Path::Key(path, "tcp");
    let proxy = TcpProxy::builder().settings(settings(tcp));
    let proxy = admission.access.into_iter().fold(proxy, TcpProxyBuilder::filter);
    let proxy = admission.proxy_protocol.into_iter().fold(proxy, TcpProxyBuilder::proxy_protocol);
    let proxy = tcp.upstreams().fold(proxy, |proxy, name| match parts.upstream(name) {
        Some(upstream) => proxy.shared_upstream(name, Arc::clone(upstream)),
        None => proxy,
    });
    let sni = Path::Key(&path, "sni");
    let mut numbered = tcp.sni.iter().enumerate();
    let proxy = numbered.try_fold(proxy, |proxy, (index, config)| routes(&Path::Index(&sni, index), config, proxy))?;
    let proxy = tcp.upstream.iter().fold(proxy, |proxy, name| proxy.route(TcpRoute::to(name)));
    let proxy = parts.observer(name).into_iter().fold(proxy, TcpProxyBuilder::observer);
    proxy.build().map_err(|error| ServerError::cannot_build(path.to_string(), error))
}

/// A route for each pair of a name and a protocol.
fn routes(path: &Path<'_>, config: &ServerName, proxy: TcpProxyBuilder) -> Result<TcpProxyBuilder, ServerError> {
    let at = |error| ServerError::cannot_build(Path::Key(path, "name").to_string(), error);
    let route = || Ok(TcpRoute::to(&config.upstream));
    let named = match config.names.is_empty() {
        true => vec![route()],
        false => config.names.iter().map(|name| route()?.server_name(name)).collect(),
    };
    let named: Vec<_> = named.into_iter().collect::<Result<_, _>>().map_err(at)?;
    Ok(named.into_iter().fold(proxy, |proxy, route| match config.protocols.is_empty() {
        true => proxy.route(route),
        false => config.protocols.iter().fold(proxy, |proxy, protocol| proxy.route(route.clone().alpn(protocol))),
    }))
}

fn settings(tcp: &Tcp) -> TcpSettings {
    let mut settings = TcpSettings::default();
    set(&mut settings.max_connections, tcp.limits.max_connections);
    let per_client = tcp.limits.max_connections_per_client;
    set(&mut settings.max_connections_per_client, per_client.map(Some));
    set(&mut settings.max_hello_bytes, tcp.limits.max_hello_bytes);
    set(&mut settings.idle, tcp.timeouts.idle);
    set(&mut settings.lifetime, tcp.timeouts.lifetime.map(Some));
    set(&mut settings.hello, tcp.timeouts.hello);
    set(&mut settings.splice, tcp.splice);
    settings
}
