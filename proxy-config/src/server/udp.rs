//! UDP listeners: a proxy of datagrams each.

use std::sync::Arc;

use proxy_core::{UdpProxy, UdpSettings};

use super::admission::Admission;
use super::upstream::set;
use super::{Parts, ServerError};
use crate::path::Path;
use crate::{Listener, Udp};

/// `path` is that of the listener, `name` its name.
pub(super) fn proxy(
    path: &Path<'_>,
    name: &str,
    listener: &Listener,
    udp: &Udp,
    parts: &Parts<'_>,
) -> Result<UdpProxy, ServerError> {
    let admission = Admission::of(path, listener)?;
    // A valid configuration names upstreams that it has.
    let upstream = parts.upstream(&udp.upstream).ok_or_else(ServerError::nothing_to_serve)?;
    let proxy = UdpProxy::named(&udp.upstream, Arc::clone(upstream)).settings(settings(udp));
    let proxy = parts.observer(name).into_iter().fold(proxy, UdpProxy::observer);
    Ok(admission.access.into_iter().fold(proxy, UdpProxy::filter))
}

fn settings(udp: &Udp) -> UdpSettings {
    let mut settings = UdpSettings::default();
    set(&mut settings.idle, udp.idle);
    set(&mut settings.requests, udp.requests.map(Some));
    set(&mut settings.responses, udp.responses.map(Some));
    set(&mut settings.max_sessions, udp.limits.max_sessions);
    set(&mut settings.max_sessions_per_client, udp.limits.max_sessions_per_client.map(Some));
    settings
}
