//! By a ring of points.

use std::fmt;

use arc_swap::ArcSwap;
use md5::{Digest, Md5};
use proxy_core::{Backend, Candidates, SelectionContext, Selector};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::{ConsistentHash, HashKey, owner};
use crate::dice::Dice;

/// The same backend for a key: the one with the next of its many points on a ring (Karger et al.,
/// "Consistent hashing and random trees", 1997), with as many points as ketama gives it (Jones, last.fm,
/// 2007): 160, more or fewer by weight.
///
/// When a backend leaves, its keys move and no other; shares are even to about 8 %.
/// [`ketama`](Self::ketama) agrees with memcached clients to the byte.
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::{HashKey, RingHash};
///
/// let cluster = Cluster::builder(RingHash::new(HashKey::Cookie("session".into())))
///     .backend("127.0.0.1:9001".parse()?)
///     .build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
pub struct RingHash {
    key: HashKey,
    flavour: Flavour,
    dice: Dice,
    ring: ArcSwap<Ring>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavour {
    Xxh3,
    Ketama,
}

impl RingHash {
    /// By this key, with points and keys hashed by xxh3.
    pub fn new(key: HashKey) -> Self {
        RingHash { key, flavour: Flavour::Xxh3, dice: Dice::default(), ring: ArcSwap::default() }
    }

    /// By this key, with points and keys hashed by MD5 as libketama does it: a client of memcached that knows
    /// the servers by the backends' ids sends a key to the same one. Hashing the key costs about 100 ns more.
    pub fn ketama(key: HashKey) -> Self {
        RingHash { flavour: Flavour::Ketama, ..RingHash::new(key) }
    }

    /// Makes the choice for what has no key repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.dice = Dice::seeded(seed);
        self
    }
}

impl ConsistentHash for RingHash {
    fn hash(&self, context: &SelectionContext<'_>) -> u64 {
        let hash = match self.flavour {
            Flavour::Xxh3 => self.key.hash_with(context, xxh3_64),
            Flavour::Ketama => self.key.hash_with(context, ketama_hash),
        };
        hash.unwrap_or_else(|| self.dice.next())
    }

    fn owner<'a>(&self, hash: u64, candidates: &Candidates<'a>) -> Option<&'a Backend> {
        let ring = self.ring.load();
        owner(&ring.listed, candidates, hash, |hash| ring.at(hash))
    }
}

impl Selector for RingHash {
    fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend> {
        self.owner(self.hash(context), candidates).cloned()
    }

    fn on_change(&self, backends: &[Backend]) {
        self.ring.store(Ring::new(backends, self.flavour).into());
    }
}

impl fmt::Debug for RingHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingHash").field("key", &self.key).field("flavour", &self.flavour).finish_non_exhaustive()
    }
}

/// Points in their order, in arcs: where in its arc a point is can be guessed, as points lie evenly. So the next
/// point is found in a few steps, where halving takes 21 through 1.6 million of them; and what a lookup costs in a
/// large ring are misses of the caches, of which this has one.
#[derive(Debug, Default)]
struct Ring {
    listed: Box<[Backend]>,
    /// The backend's position in the lowest `bits`, above it where the point is within its arc.
    points: Box<[u32]>,
    /// The first point of each arc, and where the last one ends.
    arcs: Box<[u32]>,
    /// There are 2^bits arcs, at least as many as backends.
    bits: u32,
}

/// Arcs of eight points are found without a guess. But not more arcs than this, unless there are more backends: they
/// have to stay in the fastest caches.
const MOST_ARCS: usize = 1 << 13;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    at: u32,
    position: u32,
}

impl Ring {
    fn new(backends: &[Backend], flavour: Flavour) -> Self {
        let points = points(backends, flavour);
        let count = (points.len() / 8).min(MOST_ARCS).max(backends.len()).max(2).next_power_of_two();
        let bits = count.trailing_zeros();
        let mut arcs = vec![0; count + 1];
        points.iter().for_each(|point| arcs[(point.at >> (32 - bits)) as usize + 1] += 1);
        (1..=count).for_each(|arc| arcs[arc] += arcs[arc - 1]);
        let points = points.into_iter().map(|point| point.at << bits | point.position);
        Ring { listed: backends.into(), points: points.collect(), arcs: arcs.into(), bits }
    }

    /// The position of the backend with the first point at or after the upper half of `hash`.
    fn at(&self, hash: u64) -> Option<usize> {
        let at = (hash >> 32) as u32;
        let arc = at.checked_shr(32 - self.bits)? as usize;
        let (first, end) = (self.arcs[arc] as usize, self.arcs[arc + 1] as usize);
        let wanted = at << self.bits >> self.bits;
        let points = self.points.get(first..end)?;
        let is_before = |point: &u32| point >> self.bits < wanted;
        let guess = (u64::from(wanted) * points.len() as u64) >> (32 - self.bits);
        let (before, after) = points.split_at(guess as usize);
        let next = match before.iter().rev().take_while(|point| !is_before(point)).count() {
            0 => guess as usize + after.iter().take_while(|point| is_before(point)).count(),
            back => guess as usize - back,
        };
        let point = self.points.get(first + next).or(self.points.first())?;
        Some((point & ((1 << self.bits) - 1)) as usize)
    }
}

fn points(backends: &[Backend], flavour: Flavour) -> Vec<Point> {
    let mut points = Vec::with_capacity(backends.len() * 160);
    for ((position, backend), quads) in (0..).zip(backends).zip(quads(backends)) {
        for quad in 0..quads {
            points.extend(flavour.points(backend.id(), quad).map(|at| Point { at, position }));
        }
    }
    points.sort_unstable();
    points
}

/// How many groups of four points each backend has: 40 for an average share. Computed in single precision
/// because libketama does so (`ketama_create_continuum`), and rounds to other numbers otherwise.
fn quads(backends: &[Backend]) -> impl Iterator<Item = u32> {
    let all: u64 = backends.iter().map(|backend| u64::from(backend.share())).sum();
    let count = backends.len() as f32;
    backends.iter().map(move |backend| match (backend.share(), all) {
        (_, 0) => 40,
        (0, _) => 0,
        (share, all) => {
            let part = f64::from(share as f32 / all as f32);
            // Nobody is left out because others are large.
            ((part * 40.0 * f64::from(count)) as f32).floor().max(1.0) as u32
        }
    })
}

impl Flavour {
    /// The four points of a group.
    fn points(self, id: &str, quad: u32) -> [u32; 4] {
        let bytes: [u8; 16] = match self {
            Flavour::Xxh3 => xxh3_128_with_seed(id.as_bytes(), quad.into()).to_le_bytes(),
            Flavour::Ketama => Md5::digest(format!("{id}-{quad}")).into(),
        };
        let point = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        [0, 4, 8, 12].map(point)
    }
}

/// libketama's hash of a key, in the upper half.
fn ketama_hash(key: &[u8]) -> u64 {
    let digest = Md5::digest(key);
    u64::from(u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])) << 32
}

#[cfg(test)]
mod tests {
    use proxy_core::{Backend, BackendSet, SelectionContext};

    use super::*;

    #[test]
    fn the_shortcut_finds_what_a_walk_finds() {
        let dice = Dice::seeded(1);
        for count in [1, 2, 3, 20, 300] {
            let backends = crate::lab::named("", &vec![1; count]);
            let (ring, points) = (Ring::new(&backends, Flavour::Xxh3), points(&backends, Flavour::Xxh3));
            let walk = |at| points.iter().find(|point| point.at >= at).unwrap_or(&points[0]).position as usize;
            let edges =
                points.iter().step_by(count).flat_map(|point| [-1, 0, 1].map(|by| point.at.wrapping_add_signed(by)));
            for at in edges.chain([0, u32::MAX]).chain((0..1000).map(|_| dice.next() as u32)) {
                assert_eq!(ring.at(u64::from(at) << 32 | 7), Some(walk(at)), "{at} of {count}");
            }
        }
        assert_eq!(Ring::default().at(7), None);
        assert_eq!(Ring::new(&[], Flavour::Xxh3).at(7), None);
    }

    /// The owners that libketama's algorithm, written down once more in Python, gives for these servers.
    #[test]
    fn ketama_is_compatible() {
        let check = |servers: &[(&str, u32)], owners: &[(&str, &str)]| {
            let backend =
                |(id, weight): &(&str, u32)| Backend::builder(id.parse().expect("an address")).weight(*weight).build();
            let set = BackendSet::new(servers.iter().map(backend));
            let selector = RingHash::ketama(HashKey::Path);
            selector.on_change(&set.backends());
            for (path, expected) in owners {
                let head = proxy_core::RequestHead::new(http::Method::GET, path).expect("a target");
                let context = SelectionContext::new(None, Some(&head));
                let chosen = set.with_candidates(&[], |candidates| selector.select(candidates, &context));
                assert_eq!(chosen.expect("a candidate").id(), *expected, "{path}");
            }
        };
        KETAMA_CASES.iter().for_each(|(servers, owners)| check(servers, owners));
    }

    type Case = (&'static [(&'static str, u32)], &'static [(&'static str, &'static str)]);

    const KETAMA_CASES: &[Case] = &[
        (
            &[("10.0.1.1:11211", 1), ("10.0.1.2:11211", 1), ("10.0.1.3:11211", 1)],
            &[
                ("/", "10.0.1.2:11211"),
                ("/a", "10.0.1.1:11211"),
                ("/foo", "10.0.1.2:11211"),
                ("/bar/baz", "10.0.1.1:11211"),
                ("/index.html", "10.0.1.1:11211"),
                ("/users/1", "10.0.1.3:11211"),
                ("/users/2", "10.0.1.3:11211"),
                ("/users/3", "10.0.1.3:11211"),
                ("/users/4", "10.0.1.3:11211"),
                ("/img/logo.png", "10.0.1.1:11211"),
            ],
        ),
        (
            &[("10.0.1.1:11211", 600), ("10.0.1.2:11211", 300), ("10.0.1.3:11211", 200), ("10.0.1.4:11211", 350)],
            &[
                ("/", "10.0.1.2:11211"),
                ("/a", "10.0.1.1:11211"),
                ("/foo", "10.0.1.4:11211"),
                ("/bar/baz", "10.0.1.1:11211"),
                ("/index.html", "10.0.1.4:11211"),
                ("/users/1", "10.0.1.4:11211"),
                ("/users/2", "10.0.1.4:11211"),
                ("/users/3", "10.0.1.2:11211"),
                ("/users/4", "10.0.1.1:11211"),
                ("/img/logo.png", "10.0.1.1:11211"),
            ],
        ),
    ];
}
