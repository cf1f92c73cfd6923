//! Which backends of a set are candidates.

use super::Backend;

/// Decides, whenever a set or a state in it changes, which backends requests may go to.
///
/// What is decided here costs nothing per request: health, priority tiers, zones, subsets. It runs
/// under the set's lock and must not change the set.
///
/// ```
/// use proxy_core::{Backend, BackendSet, Eligibility};
///
/// struct SameZone(&'static str);
/// impl Eligibility for SameZone {
///     fn eligible(&self, backends: &[Backend]) -> Vec<Backend> {
///         let near = |backend: &&Backend| backend.is_usable() && backend.label("zone") == Some(self.0);
///         backends.iter().filter(near).cloned().collect()
///     }
/// }
/// ```
pub trait Eligibility: Send + Sync + 'static {
    /// The candidates among `backends`, which are all that the set has, in their order.
    fn eligible(&self, backends: &[Backend]) -> Vec<Backend>;
}

/// Every backend that is healthy and has a weight: see [`Backend::is_usable`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Usable;

impl Eligibility for Usable {
    fn eligible(&self, backends: &[Backend]) -> Vec<Backend> {
        backends.iter().filter(|backend| backend.is_usable()).cloned().collect()
    }
}

impl<E: Eligibility + ?Sized> Eligibility for Box<E> {
    fn eligible(&self, backends: &[Backend]) -> Vec<Backend> {
        (**self).eligible(backends)
    }
}

impl<E: Eligibility + ?Sized> Eligibility for std::sync::Arc<E> {
    fn eligible(&self, backends: &[Backend]) -> Vec<Backend> {
        (**self).eligible(backends)
    }
}
