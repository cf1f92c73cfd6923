//! By the highest random weight.

use std::fmt;

use arc_swap::ArcSwap;
use proxy_core::{Backend, Candidates, SelectionContext, Selector};

use super::{ConsistentHash, HashKey, owner, seed_of, unit};
use crate::dice::{Dice, mix, part};
use crate::shares::reduced;

/// The same backend for a key: the one that draws the best number for it (Thaler and Ravishankar, "Using
/// name-based mappings to increase hit rates", 1998), with weights as Schindelhauer and Schomaker (2005)
/// have them.
///
/// When a backend leaves, its keys move and no other; when one comes or a weight changes, keys move to or
/// from that one only. Shares are even to about √(backends / slots): 4 % for 100 backends.
///
/// Backends draw for slots that keys hash to, so that a choice is one look into a table. The best number of
/// a slot is an exponential variable's smallest, and those arrive at slots as a Poisson process: so each
/// backend's numbers are made smallest first, and only until every slot has its winner. That takes
/// `slots · ln slots` steps however many backends there are, where comparing all takes `slots · backends`.
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::{HashKey, Rendezvous};
///
/// let cluster = Cluster::builder(Rendezvous::new(HashKey::Path)).backend("127.0.0.1:9001".parse()?).build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
pub struct Rendezvous {
    key: HashKey,
    slots: u32,
    dice: Dice,
    table: ArcSwap<Table>,
}

#[derive(Debug, Default)]
struct Table {
    listed: Box<[Backend]>,
    /// The winner of each, as a position in `listed`.
    slots: Box<[u32]>,
}

const SLOTS: u32 = 65_536;

impl Rendezvous {
    /// By this key, with 65,536 slots.
    pub fn new(key: HashKey) -> Self {
        Rendezvous { key, slots: SLOTS, dice: Dice::default(), table: ArcSwap::default() }
    }

    /// With so many slots, 1 to 2^24: more for more than a thousand backends. Proxies that shall agree need
    /// the same.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots.clamp(1, 1 << 24);
        self
    }

    /// Makes the choice for what has no key repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.dice = Dice::seeded(seed);
        self
    }
}

impl ConsistentHash for Rendezvous {
    fn hash(&self, context: &SelectionContext<'_>) -> u64 {
        self.key.hash(context).unwrap_or_else(|| self.dice.next())
    }

    fn owner<'a>(&self, hash: u64, candidates: &Candidates<'a>) -> Option<&'a Backend> {
        let table = self.table.load();
        let place = |hash| table.slots.get(part(hash, table.slots.len())).map(|position| *position as usize);
        owner(&table.listed, candidates, hash, place)
    }
}

impl Selector for Rendezvous {
    fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend> {
        self.owner(self.hash(context), candidates).cloned()
    }

    fn on_change(&self, backends: &[Backend]) {
        let slots = draw(backends, self.slots as usize);
        self.table.store(Table { listed: backends.into(), slots }.into());
    }
}

impl fmt::Debug for Rendezvous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendezvous").field("key", &self.key).field("slots", &self.slots).finish_non_exhaustive()
    }
}

/// One backend's numbers, smallest first.
struct Arrivals {
    position: u32,
    seed: u64,
    drawn: u64,
    /// The next number, in units in which it does not depend on the share.
    at: f64,
    /// How much of all shares it has.
    share: f64,
}

impl Arrivals {
    /// The slot of the number, and the number as it counts for this share.
    fn next(&mut self) -> (u64, f64) {
        let number = self.at / self.share;
        self.drawn += 1;
        let random = mix(self.seed.wrapping_add(self.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        self.at -= unit(mix(random)).ln();
        (random, number)
    }
}

/// The winner of each slot.
fn draw(backends: &[Backend], count: usize) -> Box<[u32]> {
    let mut arrivals = arrivals(backends);
    if arrivals.is_empty() {
        return Box::default();
    }
    let mut slots = vec![(f64::INFINITY, 0); count];
    let mut free = count;
    // By this number all slots are taken in 98 of 100 cases.
    let mut horizon = count as f64 * ((count as f64).ln() + 4.0);
    while free > 0 {
        for backend in &mut arrivals {
            while backend.at / backend.share < horizon {
                let (random, number) = backend.next();
                let slot = &mut slots[part(random, count)];
                free -= usize::from(slot.0 == f64::INFINITY);
                if number < slot.0 {
                    *slot = (number, backend.position);
                }
            }
        }
        horizon *= 1.25;
    }
    slots.into_iter().map(|(_, position)| position).collect()
}

fn arrivals(backends: &[Backend]) -> Vec<Arrivals> {
    let shares = reduced(backends);
    let all = shares.iter().sum::<u64>() as f64;
    let backend = |(position, share): (usize, u64)| {
        let seed = seed_of(&backends[position]);
        let mut arrivals = Arrivals { position: position as u32, seed, drawn: 0, at: 0.0, share: share as f64 / all };
        arrivals.at = -unit(mix(!seed)).ln();
        arrivals
    };
    shares.into_iter().enumerate().filter(|(_, share)| *share > 0).map(backend).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{chi_square_bound, named};

    /// The slots won are what independent draws by share would win.
    #[test]
    fn slots_are_won_by_share() {
        for weights in [&[1][..], &[1, 1, 1], &[4, 3, 2, 1], &[1; 50], &[100, 0, 1]] {
            let slots = draw(&named("", weights), 20_000);
            let all = f64::from(weights.iter().sum::<u32>());
            let mut deviation = 0.0;
            for (position, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
                let won = slots.iter().filter(|slot| **slot as usize == position).count() as f64;
                let fair = 20_000.0 * f64::from(*weight) / all;
                deviation += (won - fair).powi(2) / fair;
            }
            assert!(deviation <= chi_square_bound(weights.len() - 1), "{weights:?}: {deviation}");
        }
    }

    /// Not one key of another backend moves: when one leaves, when it comes back, when its weight changes.
    #[test]
    fn only_keys_of_the_one_that_changes_move() {
        let backends = named("", &[1, 2, 3, 4, 5, 6, 7]);
        let before = draw(&backends, 4096);
        let others: Vec<_> = backends.iter().filter(|backend| backend.id() != "3").cloned().collect();
        let without = draw(&others, 4096);
        for (with, without) in before.iter().zip(&without) {
            let (with, without) = (&backends[*with as usize], &others[*without as usize]);
            assert!(with.id() == "3" || with == without, "{with:?} to {without:?}");
        }
        backends[3].set_weight(9);
        for (old, new) in before.iter().zip(&draw(&backends, 4096)) {
            assert!(*new == 3 || new == old, "{old:?} to {new:?}");
        }
    }

    #[test]
    fn any_number_of_slots_is_filled() {
        for count in [1, 2, 3, 10, 1000] {
            assert_eq!(draw(&named("", &[1, 1]), count).len(), count);
        }
    }
}
