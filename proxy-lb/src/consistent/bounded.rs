//! No backend gets much more than the others.

use std::fmt;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use proxy_core::{Attempt, Backend, Candidates, SelectionContext, Selector};

use super::{ConsistentHash, next_probe};
use crate::dice::part;
use crate::roster::Roster;

/// A hash selector whose backends have at most so many times the average in flight: a popular key's
/// backend sends what it has no room for elsewhere (Mirrokni, Thorup and Zadimoghaddam, "Consistent
/// hashing with bounded loads", 2018).
///
/// Elsewhere is where a hash of the hash belongs, as often as need be, not the next one on the ring: so a
/// full backend does not fill its neighbour (Chen, Coleman and Shrivastava, "Revisiting consistent hashing
/// with bounded loads", 2021). The order is the same for a key every time, so its second home is warm too.
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::{BoundedLoad, HashKey, RingHash};
///
/// let cluster = Cluster::builder(BoundedLoad::new(RingHash::new(HashKey::Path)).percent(150))
///     .backend("127.0.0.1:9001".parse()?)
///     .build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
pub struct BoundedLoad<H> {
    inner: H,
    factor: f64,
    turn: AtomicUsize,
    ledger: ArcSwap<Ledger>,
}

/// Homes that a key tries before candidates are looked at one by one. At 125 % at most four in five are
/// full, so one choice of a thousand comes that far.
const HOMES: usize = 32;

impl<H: ConsistentHash> BoundedLoad<H> {
    /// At most 125 % of the average, as HAProxy and Envoy advise.
    pub fn new(inner: H) -> Self {
        BoundedLoad { inner, factor: 1.25, turn: AtomicUsize::new(0), ledger: ArcSwap::default() }
    }

    /// At most so many percent of the average; 101 at least. Less moves more keys.
    #[must_use]
    pub fn percent(mut self, percent: u32) -> Self {
        self.factor = f64::from(percent.max(101)) / 100.0;
        self
    }

    fn choose<'a>(&self, hash: u64, candidates: &Candidates<'a>, room: f64) -> Option<&'a Backend> {
        let has_room = |backend: &&Backend| (backend.in_flight() + 1) as f64 <= (room * share(backend)).ceil();
        let mut probe = hash;
        for _ in 0..HOMES {
            let home = self.inner.owner(probe, candidates)?;
            if has_room(&home) {
                return Some(home);
            }
            probe = next_probe(probe);
        }
        let first = part(hash, candidates.len());
        let mut in_turn = (first..candidates.len()).chain(0..first).filter_map(|at| candidates.at(at));
        in_turn.find(has_room).or_else(|| self.inner.owner(hash, candidates))
    }
}

impl<H: ConsistentHash> Selector for BoundedLoad<H> {
    fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend> {
        let ledger = self.ledger.load();
        if let Some(backend) = candidates.at(self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(candidates.len())?) {
            ledger.enter(backend, backend.in_flight());
        }
        let room = self.factor * (ledger.total() + 1) as f64 / ledger.shares.max(1.0);
        let chosen = self.choose(self.inner.hash(context), candidates, room)?;
        ledger.enter(chosen, chosen.in_flight() + 1);
        Some(chosen.clone())
    }

    fn on_change(&self, backends: &[Backend]) {
        self.inner.on_change(backends);
        self.ledger.store(Ledger::new(backends).into());
    }

    fn on_outcome(&self, backend: &Backend, attempt: &Attempt) {
        self.inner.on_outcome(backend, attempt);
        // It is still counted as in flight.
        self.ledger.load().enter(backend, backend.in_flight().saturating_sub(1));
    }
}

impl<H: fmt::Debug> fmt::Debug for BoundedLoad<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedLoad").field("inner", &self.inner).field("factor", &self.factor).finish_non_exhaustive()
    }
}

/// What all backends together have in flight, without adding it up for each choice.
///
/// It holds what each had when it was last looked at, and the sum of that. One that begins or ends an
/// attempt is looked at, and with every choice one more in turn: so whatever came past this selector, the
/// sum is right again after as many choices as there are backends.
#[derive(Default)]
struct Ledger {
    seen: Roster<AtomicUsize>,
    total: AtomicIsize,
    shares: f64,
}

impl Ledger {
    fn new(backends: &[Backend]) -> Self {
        let ledger = Ledger {
            seen: Roster::default().renewed(backends),
            total: AtomicIsize::new(0),
            shares: backends.iter().map(share).sum(),
        };
        backends.iter().for_each(|backend| ledger.enter(backend, backend.in_flight()));
        ledger
    }

    fn enter(&self, backend: &Backend, in_flight: usize) {
        if let Some((_, seen)) = self.seen.get(backend) {
            let before = seen.swap(in_flight, Ordering::Relaxed);
            let difference = in_flight.cast_signed() - before.cast_signed();
            self.total.fetch_add(difference, Ordering::Relaxed);
        }
    }

    fn total(&self) -> usize {
        usize::try_from(self.total.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

fn share(backend: &Backend) -> f64 {
    f64::from(backend.share().max(1))
}
