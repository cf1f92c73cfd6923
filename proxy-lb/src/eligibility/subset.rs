//! A part of a large set.

use proxy_core::{Backend, Eligibility, Usable};
use xxhash_rust::xxh3::xxh3_64;

use crate::dice::mix;

/// So many of the backends, others for every proxy: for many proxies before many backends, which would
/// otherwise all keep connections to all.
///
/// Those are taken whose ids, hashed together with the proxy's own name, come first, as gRPC's random
/// subsetting does it (gRFC A68). One that goes down is replaced by the next, one that comes back takes
/// its place again, and no other changes. Over the proxies backends are covered as evenly as by chance.
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::{PowerOfTwo, Subset};
///
/// let cluster = Cluster::builder(PowerOfTwo::new())
///     .eligibility(Subset::new(20, "proxy-7"))
///     .backend("127.0.0.1:9001".parse()?)
///     .build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Subset<E = Usable> {
    size: usize,
    seed: u64,
    inner: E,
}

impl Subset {
    /// So many, 1 at least, for the proxy of this name, over [`Usable`].
    pub fn new(size: usize, proxy: &str) -> Self {
        Subset::over(size, proxy, Usable)
    }
}

impl<E: Eligibility> Subset<E> {
    /// So many, 1 at least, of those that another rule lets through, for the proxy of this name.
    pub fn over(size: usize, proxy: &str, inner: E) -> Self {
        Subset { size: size.max(1), seed: xxh3_64(proxy.as_bytes()), inner }
    }

    fn rank(&self, backend: &Backend) -> u64 {
        mix(self.seed ^ xxh3_64(backend.id().as_bytes()))
    }
}

impl<E: Eligibility> Eligibility for Subset<E> {
    fn eligible(&self, backends: &[Backend]) -> Vec<Backend> {
        let mut eligible = self.inner.eligible(backends);
        if eligible.len() <= self.size {
            return eligible;
        }
        let mut ranks: Vec<_> = eligible.iter().map(|backend| self.rank(backend)).collect();
        let (_, last, _) = ranks.select_nth_unstable(self.size - 1);
        let last = *last;
        eligible.retain(|backend| self.rank(backend) <= last);
        eligible
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::{BackendSet, BackendState};

    use super::*;
    use crate::lab::{chi_square_bound, named};

    fn ids(set: &BackendSet) -> Vec<String> {
        set.with_candidates(&[], |candidates| candidates.iter().map(|backend| backend.id().to_owned()).collect())
    }

    #[test]
    fn one_that_goes_down_is_replaced_by_one_other() {
        let set = BackendSet::with_eligibility(named("", &[1; 100]), Subset::new(10, "p"));
        let before = ids(&set);
        assert_eq!(before.len(), 10);
        set.set_state(&before[3], BackendState::Unhealthy);
        let after = ids(&set);
        assert_eq!(after.len(), 10);
        assert_eq!(before.iter().filter(|id| after.contains(id)).count(), 9);
        set.set_state(&before[3], BackendState::Healthy);
        assert_eq!(ids(&set), before);
    }

    #[test]
    fn proxies_cover_all_backends() {
        let mut counts = vec![0.0; 100];
        for proxy in 0..1000 {
            let set = BackendSet::with_eligibility(named("", &[1; 100]), Subset::new(10, &format!("proxy-{proxy}")));
            ids(&set).iter().for_each(|id| counts[id.parse::<usize>().expect("a number")] += 1.0);
        }
        let deviation: f64 = counts.iter().map(|count| (count - 100.0f64).powi(2) / 100.0).sum();
        assert!(deviation <= chi_square_bound(99), "{deviation}");
    }

    #[test]
    fn a_small_set_is_taken_whole() {
        let set = BackendSet::with_eligibility(named("abc", &[1, 0, 1]), Subset::new(10, "p"));
        assert_eq!(ids(&set), ["a", "c"]);
        let set = BackendSet::with_eligibility(named("abc", &[1, 1, 1]), Subset::new(0, "p"));
        assert_eq!(ids(&set).len(), 1);
    }
}
