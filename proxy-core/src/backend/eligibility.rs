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
    /// The candidates among `backends`, in their order. A candidate that is to get less than its share
    /// is returned [scaled](Backend::scaled).
    ///
    /// `backends` are all that the set has. When a request has failed at every candidate, this is asked
    /// once more, for the request alone, what to do with the rest: there a backup comes in.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_scaled_per_handle() {
        let backend = Backend::builder("a:1".parse().unwrap()).weight(65_535).build();
        let check = |scale: u32, share: u32| assert_eq!(backend.scaled(scale).share(), share, "{scale}");
        assert_eq!(backend.share(), 65_535 << 16);
        check(65_536, 65_535 << 16);
        check(100_000, 65_535 << 16);
        check(32_768, 65_535 << 15);
        check(0, 0);
        assert_eq!(backend.scaled(32_768).scaled(16_384).share(), 65_535 << 13);
        assert_eq!(backend.scaled(1), backend, "a handle to the same");
        backend.set_weight(1);
        backend.set_ramp(1);
        check(1, 1);
        backend.set_weight(0);
        check(65_536, 0);
    }
}
