//! By the client's address.

use proxy_core::{Backend, Candidates, SelectionContext, Selector};

use super::{ConsistentHash, HashKey, Maglev};

/// The same backend for a client's address: [`Maglev`] by [`HashKey::ClientIp`].
///
/// HAProxy's `balance source` and nginx's `ip_hash` for all of HTTP, TCP and UDP, with few clients moved
/// when backends come and go. Behind trusted proxies the address is the forwarded one.
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::SourceIpHash;
///
/// let cluster = Cluster::builder(SourceIpHash::new()).backend("127.0.0.1:9001".parse()?).build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Debug)]
pub struct SourceIpHash(Maglev);

impl Default for SourceIpHash {
    fn default() -> Self {
        SourceIpHash::new()
    }
}

impl SourceIpHash {
    /// With Maglev's default table.
    pub fn new() -> Self {
        SourceIpHash(Maglev::new(HashKey::ClientIp))
    }
}

impl ConsistentHash for SourceIpHash {
    fn hash(&self, context: &SelectionContext<'_>) -> u64 {
        self.0.hash(context)
    }

    fn owner<'a>(&self, hash: u64, candidates: &Candidates<'a>) -> Option<&'a Backend> {
        self.0.owner(hash, candidates)
    }
}

impl Selector for SourceIpHash {
    fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend> {
        self.0.select(candidates, context)
    }

    fn on_change(&self, backends: &[Backend]) {
        self.0.on_change(backends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Lab;

    #[test]
    fn an_address_stays_where_it_is() {
        let lab = Lab::new(SourceIpHash::new(), &[1, 1, 1]);
        let of = |address: [u8; 4]| {
            let context = SelectionContext::new(Some(address.into()), None);
            lab.choose_in(&[], &context).expect("a candidate")
        };
        let mut counts = [0; 3];
        for last in 0..=255 {
            let chosen = of([10, 0, 0, last]);
            assert_eq!(of([10, 0, 0, last]), chosen);
            counts[lab.backends().iter().position(|backend| *backend == chosen).expect("of the set")] += 1;
        }
        assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
    }

    #[test]
    fn clients_without_an_address_are_spread() {
        let lab = Lab::new(SourceIpHash::new(), &[1, 1, 1]);
        let context = SelectionContext::new(None, None);
        let chosen: Vec<_> = (0..100).map(|_| lab.choose_in(&[], &context)).collect();
        assert!(chosen.iter().any(|backend| *backend != chosen[0]));
    }
}
