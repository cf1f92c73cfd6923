//! What builders of listeners, routes and filters have at hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use proxy_core::{Observer, Upstream};
use proxy_forward::Parent;

use super::kept_limits::KeptLimits;
use super::operations::Observation;
use super::upstream::Planned;
use crate::{ListenerKind, Registry};

/// What a configuration is built from, beside itself.
pub(super) struct Parts<'a> {
    pub(super) registry: &'a Registry,
    pub(super) limits: &'a KeptLimits,
    pub(super) observation: &'a Observation,
    pub(super) upstreams: &'a BTreeMap<String, Planned>,
    /// Whether backends are told of clients' certificates.
    pub(super) forwards_certificates: bool,
}

impl Parts<'_> {
    pub(super) fn upstream(&self, name: &str) -> Option<&Arc<dyn Upstream>> {
        self.upstreams.get(name).map(Planned::upstream)
    }

    /// The upstream of this name, as one of proxies.
    pub(super) fn parent(&self, name: &str) -> Option<Parent> {
        self.upstreams.get(name).and_then(Planned::parent)
    }

    /// Who looks at the proxy of this listener.
    pub(super) fn observer(&self, listener: &str) -> Option<Box<dyn Observer>> {
        self.observation.of_listener(listener)
    }

    /// Whether a listener that did not change has to be built anew all the same: for an upstream that was, or
    /// for those who look at it.
    pub(super) fn renews(&self, kind: &ListenerKind) -> bool {
        let is_new = |name: &str| self.upstreams.get(name).is_some_and(Planned::is_new);
        let is_used = match kind {
            ListenerKind::Http(http) => http.routes.iter().flat_map(|route| route.target.upstreams()).any(is_new),
            ListenerKind::Tcp(tcp) => tcp.upstreams().any(is_new),
            ListenerKind::Udp(udp) => is_new(&udp.upstream),
            ListenerKind::Forward(forward) => forward.upstreams().any(is_new),
            ListenerKind::Socks(socks) => socks.forward.upstreams().any(is_new),
        };
        is_used || self.observation.is_new()
    }
}
