//! The same zone first.

use std::collections::HashSet;

use proxy_core::{Backend, Eligibility, Usable};

use super::{share_of, weight_of};

/// Backends of the same zone first; what they cannot take, by how many of them are healthy, goes to the
/// others.
///
/// A backend's zone is its label [`SameZone::LABEL`]. While at least 71 % of the zone's weight (1 / 1.4,
/// Envoy's overprovisioning factor) is eligible, everything stays in the zone. Below, 1.4 times the healthy
/// part stays, and the rest is shared by the other zones by weight; it all goes there where the zone has
/// nobody, and nothing goes there where nobody is there.
///
/// ```
/// use proxy_core::{Backend, Cluster};
/// use proxy_lb::{RoundRobin, SameZone};
///
/// let near = Backend::builder("10.0.1.1:80".parse()?).label(SameZone::LABEL, "a").build();
/// let far = Backend::builder("10.0.2.1:80".parse()?).label(SameZone::LABEL, "b").build();
/// let cluster = Cluster::builder(RoundRobin::new()).eligibility(SameZone::new("a")).with(near).with(far).build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SameZone<E = Usable> {
    zone: Box<str>,
    inner: E,
}

/// How much more than their part the healthy backends of a zone are trusted with.
const OVERPROVISIONED: f64 = 1.4;

impl SameZone {
    /// The label that says in which zone a backend is.
    pub const LABEL: &'static str = "zone";

    /// For a proxy in this zone, over [`Usable`].
    pub fn new(zone: &str) -> Self {
        SameZone::over(zone, Usable)
    }
}

impl<E: Eligibility> SameZone<E> {
    /// For a proxy in this zone, over another rule, which is asked about the zone and the rest apart.
    pub fn over(zone: &str, inner: E) -> Self {
        SameZone { zone: zone.into(), inner }
    }
}

impl<E: Eligibility> Eligibility for SameZone<E> {
    fn eligible(&self, backends: &[Backend]) -> Vec<Backend> {
        let is_near = |backend: &Backend| backend.label(SameZone::LABEL) == Some(&*self.zone);
        let (near, far): (Vec<_>, Vec<_>) = backends.iter().cloned().partition(is_near);
        let healthy = self.inner.eligible(&near);
        let stays = OVERPROVISIONED * weight_of(&healthy) / weight_of(&near).max(1.0);
        if stays >= 1.0 {
            return healthy;
        }
        let others = self.inner.eligible(&far);
        let (near, far) = match (share_of(&healthy), share_of(&others)) {
            (near, far) if near > 0.0 && far > 0.0 => (stays / near, (1.0 - stays) / far),
            _ => (1.0, 1.0),
        };
        let scaled = |backend: &Backend| {
            let factor = if is_near(backend) { near } else { far };
            backend.scaled((65_536.0 * factor / near.max(far)).round().max(1.0) as u32)
        };
        // In the set's order, with the handles that the inner rule returned.
        let eligible: HashSet<_> = healthy.iter().chain(&others).collect();
        backends.iter().filter_map(|backend| eligible.get(backend).map(|it| scaled(it))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::{BackendSet, BackendState};

    use super::*;

    /// Four near ones with these weights and six far ones; the share of requests that stays near, and how
    /// many candidates there are.
    fn check(near: &[u32], down: &[&str], stays: f64, candidates: usize) {
        let backend = |zone: &'static str| {
            move |(index, weight): (usize, &u32)| {
                let builder = Backend::builder("h:1".parse().expect("an address")).id(&format!("{zone}{index}"));
                builder.weight(*weight).label(SameZone::LABEL, zone).build()
            }
        };
        let near = near.iter().enumerate().map(backend("a"));
        let set =
            BackendSet::with_eligibility(near.chain([1; 6].iter().enumerate().map(backend("b"))), SameZone::new("a"));
        down.iter().for_each(|id| assert!(set.set_state(id, BackendState::Unhealthy)));
        let chosen: Vec<_> = set.with_candidates(&[], |it| it.iter().cloned().collect());
        let near: Vec<_> = chosen.iter().filter(|backend| backend.label("zone") == Some("a")).cloned().collect();
        let part = share_of(&near) / share_of(&chosen);
        assert!((part - stays).abs() < 0.001, "without {down:?}: {part} for {stays}");
        assert_eq!(chosen.len(), candidates, "without {down:?}");
        assert!(chosen.is_sorted_by_key(|it| it.id().to_owned()), "in the order of the set");
    }

    #[test]
    fn what_the_zone_cannot_take_goes_elsewhere() {
        let all = ["b0", "b1", "b2", "b3", "b4", "b5"];
        check(&[1; 4], &[], 1.0, 4);
        check(&[1; 4], &["a0"], 1.0, 3); // 1.4 · 75 %
        check(&[1; 4], &["a0", "a1"], 0.7, 8);
        check(&[1; 4], &["a0", "a1", "b0"], 0.7, 7);
        check(&[1; 4], &["a0", "a1", "a2"], 0.35, 7);
        check(&[1; 4], &["a0", "a1", "a2", "a3"], 0.0, 6);
        check(&[10, 1, 1, 1], &["a0"], 1.4 * 3.0 / 13.0, 9);
        check(&[1; 4], &[&all[..], &["a0", "a1", "a2"]].concat(), 1.0, 1); // nobody else is there
        check(&[], &[], 0.0, 6);
    }
}
