//! The conditions of a route.

use http::Method;

use super::condition::Condition;
use super::{Host, Path};
use crate::RequestHead;

/// What a request has to be like.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    pub(super) host: Host,
    pub(super) path: Path,
    pub(super) methods: Vec<Method>,
    pub(super) conditions: Vec<Condition>,
}

impl Default for Matcher {
    fn default() -> Self {
        Matcher { host: Host::Any, path: Path::Any, methods: Vec::new(), conditions: Vec::new() }
    }
}

impl Matcher {
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn reads_path(&self) -> bool {
        !matches!(self.path, Path::Any)
    }

    /// The greater, the more specific among matchers of one host.
    pub(crate) fn rank(&self) -> impl Ord + use<> {
        (self.path.rank(), self.conditions.len() + usize::from(!self.methods.is_empty()))
    }

    /// Whether everything but the host matches. `path` is canonical.
    pub(crate) fn matches(&self, head: &RequestHead, path: &[u8]) -> bool {
        self.path.matches(path)
            && (self.methods.is_empty() || self.methods.contains(head.method()))
            && self.conditions.iter().all(|condition| condition.holds(head))
    }
}
