//! What builders of listeners, routes and filters have at hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use proxy_core::Upstream;

use super::kept_limits::KeptLimits;
use super::upstream::Planned;
use crate::{ListenerKind, Registry};

/// What a configuration is built from, beside itself.
pub(super) struct Parts<'a> {
    pub(super) registry: &'a Registry,
    pub(super) limits: &'a KeptLimits,
    pub(super) upstreams: &'a BTreeMap<String, Planned>,
}

impl Parts<'_> {
    pub(super) fn upstream(&self, name: &str) -> Option<&Arc<dyn Upstream>> {
        self.upstreams.get(name).map(Planned::upstream)
    }

    /// Whether a listener that did not change has to be built anew all the same: for an upstream that was.
    pub(super) fn renews(&self, kind: &ListenerKind) -> bool {
        let ListenerKind::Http(http) = kind else { return false };
        let mut names = http.routes.iter().flat_map(|route| route.target.upstreams());
        names.any(|name| self.upstreams.get(name).is_some_and(Planned::is_new))
    }
}
