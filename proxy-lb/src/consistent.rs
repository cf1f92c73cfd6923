//! The same backend for the same key.

use proxy_core::{Backend, Candidates, SelectionContext, Selector};
use xxhash_rust::xxh3::xxh3_64;

use crate::dice::mix;
use crate::roster::find;

mod bounded;
mod key;
mod maglev;
mod rendezvous;
mod ring;
mod source_ip;

pub use bounded::BoundedLoad;
pub use key::HashKey;
pub use maglev::Maglev;
pub use rendezvous::Rendezvous;
pub use ring::RingHash;
pub use source_ip::SourceIpHash;

/// A selector that sends the same key to the same backend, and few keys elsewhere when backends come
/// and go. [`BoundedLoad`] takes any of them.
///
/// Backends are told apart by their [id](Backend::id), so proxies with the same backends agree.
pub trait ConsistentHash: Selector {
    /// The hash of the key of what is being sent; a random number where it has none.
    fn hash(&self, context: &SelectionContext<'_>) -> u64;

    /// The candidate that hashes like this belong to. Candidates are never empty.
    fn owner<'a>(&self, hash: u64, candidates: &Candidates<'a>) -> Option<&'a Backend>;
}

impl<H: ConsistentHash + ?Sized> ConsistentHash for Box<H> {
    fn hash(&self, context: &SelectionContext<'_>) -> u64 {
        (**self).hash(context)
    }

    fn owner<'a>(&self, hash: u64, candidates: &Candidates<'a>) -> Option<&'a Backend> {
        (**self).owner(hash, candidates)
    }
}

/// Places that may belong to nobody before candidates are compared one by one.
const PROBES: usize = 8;

/// The candidate that `place` finds for a hash, as a position in `listed`. A place of one that is no
/// candidate any more, because it was tried, is passed over for the place of a hash of the hash, so that its
/// keys scatter over all others.
fn owner<'a>(
    listed: &[Backend],
    candidates: &Candidates<'a>,
    hash: u64,
    place: impl Fn(u64) -> Option<usize>,
) -> Option<&'a Backend> {
    let mut probe = hash;
    for _ in 0..PROBES {
        let Some(position) = place(probe) else { break };
        if let Some(backend) = find(listed, position, candidates) {
            return Some(backend);
        }
        probe = next_probe(probe);
    }
    highest(candidates, hash)
}

/// Where to look when the place of `hash` will not do.
fn next_probe(hash: u64) -> u64 {
    mix(hash.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

/// The candidate with the highest score for this hash, for its share: rendezvous hashing as it is
/// defined, for candidates that no table was made for.
fn highest<'a>(candidates: &Candidates<'a>, hash: u64) -> Option<&'a Backend> {
    let cost = |backend: &Backend| {
        let chance = unit(mix(hash ^ seed_of(backend)));
        -chance.ln() / f64::from(backend.share().max(1))
    };
    let costs = candidates.iter().map(|backend| (backend, cost(backend)));
    costs.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(backend, _)| backend)
}

/// What tells this backend apart, on every proxy alike.
fn seed_of(backend: &Backend) -> u64 {
    xxh3_64(backend.id().as_bytes())
}

/// Above 0 and up to 1.
fn unit(random: u64) -> f64 {
    ((random >> 11) + 1) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
