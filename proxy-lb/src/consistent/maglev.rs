//! By Google's Maglev table.

use std::fmt;

use arc_swap::ArcSwap;
use proxy_core::{Backend, Candidates, SelectionContext, Selector};

use super::{ConsistentHash, HashKey, owner, seed_of};
use crate::dice::{Dice, mix, part};
use crate::shares::reduced;

/// The same backend for a key, by a table that every backend fills in its own order, in turns (Eisenbud
/// et al., "Maglev: a fast and reliable software network load balancer", NSDI 2016, §3.4).
///
/// The most even of the hash selectors: of equal backends no two differ by more than one place of the
/// table. A backend with more weight takes more turns. When a backend leaves, a few keys of others move
/// as well: with the default table and 100 backends about one in a hundred, beside the one that has to.
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::{HashKey, Maglev};
///
/// let cluster = Cluster::builder(Maglev::new(HashKey::Header("x-tenant".into())))
///     .backend("127.0.0.1:9001".parse()?)
///     .build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
pub struct Maglev {
    key: HashKey,
    places: u32,
    dice: Dice,
    table: ArcSwap<Table>,
}

#[derive(Debug, Default)]
struct Table {
    listed: Box<[Backend]>,
    /// Positions in `listed`.
    places: Box<[u32]>,
}

/// The paper's smaller size; prime, so that every step visits every place.
const PLACES: u32 = 65_537;

impl Maglev {
    /// By this key, with a table of 65,537 places: even to 1 % for up to 655 backends.
    pub fn new(key: HashKey) -> Self {
        Maglev { key, places: PLACES, dice: Dice::default(), table: ArcSwap::default() }
    }

    /// With a table of so many places, or of the next prime: 100 for each backend is the paper's advice.
    /// 2 to 2^24. Proxies that shall agree need the same.
    #[must_use]
    pub fn places(mut self, places: u32) -> Self {
        self.places = next_prime(places.clamp(2, 1 << 24));
        self
    }

    /// Makes the choice for what has no key repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.dice = Dice::seeded(seed);
        self
    }
}

impl ConsistentHash for Maglev {
    fn hash(&self, context: &SelectionContext<'_>) -> u64 {
        self.key.hash(context).unwrap_or_else(|| self.dice.next())
    }

    fn owner<'a>(&self, hash: u64, candidates: &Candidates<'a>) -> Option<&'a Backend> {
        let table = self.table.load();
        let place = |hash| table.places.get(part(hash, table.places.len())).map(|position| *position as usize);
        owner(&table.listed, candidates, hash, place)
    }
}

impl Selector for Maglev {
    fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend> {
        self.owner(self.hash(context), candidates).cloned()
    }

    fn on_change(&self, backends: &[Backend]) {
        let places = fill(backends, self.places);
        self.table.store(Table { listed: backends.into(), places }.into());
    }
}

impl fmt::Debug for Maglev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maglev").field("key", &self.key).field("places", &self.places).finish_non_exhaustive()
    }
}

/// One backend's order of preference, and its claim to a turn.
struct Bidder {
    position: u32,
    next: u32,
    skip: u32,
    share: u64,
    credit: u64,
}

/// Every backend takes the next free place of its own order, in rounds. In a round the largest share
/// takes one place, and a smaller one that part of a place, which it saves up.
fn fill(backends: &[Backend], count: u32) -> Box<[u32]> {
    const FREE: u32 = u32::MAX;
    let mut bidders = bidders(backends, count);
    let Some(largest) = bidders.iter().map(|bidder| bidder.share).max() else { return Box::default() };
    let mut places = vec![FREE; count as usize];
    let mut free = places.len();
    loop {
        for bidder in &mut bidders {
            bidder.credit += bidder.share;
            if bidder.credit < largest {
                continue;
            }
            bidder.credit -= largest;
            while places[bidder.next as usize] != FREE {
                bidder.next = (bidder.next + bidder.skip) % count;
            }
            places[bidder.next as usize] = bidder.position;
            free -= 1;
            if free == 0 {
                return places.into();
            }
        }
    }
}

/// In the order of their ids, whatever order they are configured in.
fn bidders(backends: &[Backend], count: u32) -> Vec<Bidder> {
    let shares = reduced(backends);
    let mut order: Vec<_> = (0..backends.len()).collect();
    order.sort_by_key(|position| backends[*position].id());
    let bidder = |position: usize| {
        let seed = seed_of(&backends[position]);
        Bidder {
            position: position as u32,
            next: part(seed, count as usize) as u32,
            skip: part(mix(seed), count as usize - 1) as u32 + 1,
            share: shares[position],
            credit: 0,
        }
    };
    order.into_iter().map(bidder).filter(|bidder| bidder.share > 0).collect()
}

fn next_prime(from: u32) -> u32 {
    let is_prime = |number: &u32| {
        (2..).take_while(|factor| factor * factor <= *number).all(|factor| !number.is_multiple_of(factor))
    };
    (from..).find(is_prime).unwrap_or(PLACES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::named;

    fn counts(weights: &[u32], places: u32) -> Vec<usize> {
        let places = fill(&named("", weights), places);
        let count = |position: usize| places.iter().filter(|place| **place as usize == position).count();
        (0..weights.len()).map(count).collect()
    }

    #[test]
    fn equals_differ_by_one_place_at_most() {
        for backends in [1, 2, 3, 7, 100, 655] {
            let counts = counts(&vec![1; backends], PLACES);
            let (least, most) = (counts.iter().min(), counts.iter().max());
            assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{backends}: {counts:?}");
        }
    }

    #[test]
    fn weights_are_kept_to_a_place() {
        for weights in [&[1, 2, 3, 4][..], &[100, 1], &[65_535, 65_534, 1], &[2, 0, 1]] {
            let all = f64::from(weights.iter().sum::<u32>());
            for (count, weight) in counts(weights, PLACES).into_iter().zip(weights) {
                let fair = f64::from(PLACES) * f64::from(*weight) / all;
                assert!((count as f64 - fair).abs() <= weights.len() as f64, "{count} for {fair} of {weights:?}");
            }
        }
    }

    #[test]
    fn sizes_are_prime() {
        let check = |asked, expected| assert_eq!(Maglev::new(HashKey::Path).places(asked).places, expected);
        check(0, 2);
        check(65_536, 65_537);
        check(100_000, 100_003);
        check(u32::MAX, 16_777_259);
    }
}
