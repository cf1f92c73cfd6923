//! Tiers: the second only where the first is gone.

use std::collections::BTreeMap;

use proxy_core::{Backend, Eligibility, Usable};

/// The first tier that has a backend left takes everything; a backup is a second tier.
///
/// A backend's tier is its label [`Tiers::LABEL`], a number; 0, the first, where it has none. Within a
/// tier the rule inside decides: by default [`Usable`], health and weight.
///
/// A request that failed at every backend of its tier goes to the next tier at once, before anybody
/// has noticed that the tier is gone.
///
/// ```
/// use proxy_core::{Backend, Cluster};
/// use proxy_lb::{RoundRobin, Tiers};
///
/// let backup = Backend::builder("127.0.0.1:9003".parse()?).label(Tiers::LABEL, "1").build();
/// let cluster = Cluster::builder(RoundRobin::new())
///     .eligibility(Tiers::new())
///     .backend("127.0.0.1:9001".parse()?)
///     .with(backup)
///     .build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Tiers<E = Usable> {
    inner: E,
}

impl Tiers {
    /// The label that says which tier a backend is of.
    pub const LABEL: &'static str = "priority";

    /// Over [`Usable`].
    pub fn new() -> Self {
        Tiers::default()
    }
}

impl<E: Eligibility> Tiers<E> {
    /// Over another rule, which is asked about one tier at a time.
    pub fn over(inner: E) -> Self {
        Tiers { inner }
    }
}

impl<E: Eligibility> Eligibility for Tiers<E> {
    fn eligible(&self, backends: &[Backend]) -> Vec<Backend> {
        let mut tiers = BTreeMap::<u32, Vec<_>>::new();
        for backend in backends {
            tiers.entry(tier_of(backend)).or_default().push(backend.clone());
        }
        let mut eligible = tiers.values().map(|tier| self.inner.eligible(tier));
        eligible.find(|tier| !tier.is_empty()).unwrap_or_default()
    }
}

/// What is no number is as good as no label.
fn tier_of(backend: &Backend) -> u32 {
    backend.label(Tiers::LABEL).and_then(|tier| tier.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proxy_core::{BackendSet, BackendState};

    use super::*;

    #[test]
    fn the_first_tier_with_somebody_left_takes_everything() {
        let backend = |(id, tier): (&str, &str)| {
            Backend::builder("h:1".parse().expect("an address")).id(id).label(Tiers::LABEL, tier).build()
        };
        let all = [("c", "2"), ("a", "0"), ("b", "1"), ("a2", "x"), ("d", "9")].map(backend);
        let set = BackendSet::with_eligibility(all, Tiers::new());
        let check = |down: &[&str], expected: &[&str]| {
            down.iter().for_each(|id| assert!(set.set_state(id, BackendState::Unhealthy)));
            let ids: Vec<_> = set.with_candidates(&[], |it| it.iter().map(|backend| backend.id().to_owned()).collect());
            assert_eq!(ids, expected, "without {down:?}");
            down.iter().for_each(|id| assert!(set.set_state(id, BackendState::Healthy)));
        };
        check(&[], &["a", "a2"]);
        check(&["a"], &["a2"]);
        check(&["a", "a2"], &["b"]);
        check(&["a", "a2", "b", "c"], &["d"]);
        check(&["a", "a2", "b", "c", "d"], &[]);
        set.backends()[2].set_weight(0);
        check(&["a", "a2"], &["c"]);
    }
}
