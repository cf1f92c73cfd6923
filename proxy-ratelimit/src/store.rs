//! What is remembered of each key, within a bound.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// States by key, split over shards with a lock each, never more than a fixed number of them.
///
/// A key is known by its 64-bit keyed hash. When there is no room, of eight the one goes
/// whose forgetting forgives least ([`Algorithm::debt`](crate::Algorithm::debt)): who has used up a
/// limit cannot wash that off with fresh keys, as each of those owes less.
pub(crate) struct Store<S> {
    shards: Box<[Shard<S>]>,
}

/// Two cache lines: processors fetch them in pairs, and threads on distinct shards must not meet.
#[repr(align(128))]
struct Shard<S>(Mutex<Table<S>>);

struct Table<S> {
    slots: Vec<Slot<S>>,
    /// Where in `slots` a hash is.
    index: HashTable<u32>,
    /// Where the search for a victim goes on.
    hand: usize,
    capacity: usize,
    evicted: u64,
}

struct Slot<S> {
    hash: u64,
    state: S,
}

/// Locks of a store of the usual size: many more than there are workers.
const SHARDS: usize = 64;
/// How many are compared before one is forgotten.
const NEIGHBOURS: usize = 8;

impl<S> Store<S> {
    /// Holds at most `capacity` states, and at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        // Small ones have fewer shards, each with enough neighbours to choose from.
        let shards = (capacity / (4 * NEIGHBOURS)).clamp(1, SHARDS);
        let shards = 1 << shards.ilog2();
        // Slots are numbered in 32 bits.
        let each = (capacity / shards).clamp(1, u32::MAX as usize);
        let shards = (0..shards).map(|_| Shard(Mutex::new(Table::new(each)))).collect();
        Store { shards }
    }

    /// Lends the state of a key, of a new one what `fresh` says. A guard, not a closure to run under it:
    /// so the decision is made where it is used, and what of it nobody looks at is not computed.
    #[inline(always)]
    pub(crate) fn lend(&self, hash: u64, fresh: impl FnOnce() -> S, debt: impl Fn(&S) -> u64) -> Lent<'_, S> {
        let mut table = self.shard(hash).lock();
        let at = match table.find(hash) {
            Some(at) => at,
            None => table.insert(Slot { hash, state: fresh() }, debt),
        };
        Lent { table, at }
    }

    /// How many keys are remembered.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().slots.len()).sum()
    }

    /// How many keys there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().capacity).sum()
    }

    /// How many keys were forgotten for want of room.
    pub(crate) fn evicted(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().evicted).sum()
    }

    fn shard(&self, hash: u64) -> &Shard<S> {
        // The table takes its bits from both ends.
        &self.shards[(hash >> 40) as usize & (self.shards.len() - 1)]
    }
}

/// The state of a key, until it is dropped.
pub(crate) struct Lent<'a, S> {
    table: MutexGuard<'a, Table<S>>,
    at: usize,
}

impl<S> Lent<'_, S> {
    #[inline(always)]
    pub(crate) fn state(&mut self) -> &mut S {
        &mut self.table.slots[self.at].state
    }
}

impl<S> Shard<S> {
    fn lock(&self) -> MutexGuard<'_, Table<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Table<S> {
    fn new(capacity: usize) -> Self {
        Table { slots: Vec::new(), index: HashTable::new(), hand: 0, capacity, evicted: 0 }
    }

    #[inline]
    fn find(&self, hash: u64) -> Option<usize> {
        let found = self.index.find(hash, |at| self.slots[*at as usize].hash == hash);
        found.map(|at| *at as usize)
    }

    /// Where the new slot is.
    #[cold]
    fn insert(&mut self, slot: Slot<S>, debt: impl Fn(&S) -> u64) -> usize {
        let full = self.slots.len() >= self.capacity;
        let at = if full { self.make_room(debt) } else { self.slots.len() };
        let hash = slot.hash;
        match full {
            true => {
                self.slots[at] = slot;
                self.evicted += 1;
            }
            false => {
                // Doubling stops at the bound.
                if at == self.slots.capacity() {
                    self.slots.reserve_exact(at.max(4).min(self.capacity - at));
                }
                self.slots.push(slot);
            }
        }
        let slots = &self.slots;
        self.index.insert_unique(hash, at as u32, |at| slots[*at as usize].hash);
        at
    }

    /// Forgets one of the hand's neighbours; says where it was.
    fn make_room(&mut self, debt: impl Fn(&S) -> u64) -> usize {
        let (len, hand) = (self.slots.len(), self.hand);
        self.hand = (hand + 1) % len;
        // Far apart: those that came one after the other lie side by side, and may be of one mind.
        let stride = (len / NEIGHBOURS).max(1);
        let neighbours = (0..NEIGHBOURS.min(len)).map(|number| (hand + number * stride) % len);
        let victim = neighbours.min_by_key(|at| debt(&self.slots[*at].state)).unwrap_or(0);
        let hash = self.slots[victim].hash;
        let slots = &self.slots;
        let entry = self.index.entry(hash, |at| *at as usize == victim, |at| slots[*at as usize].hash);
        if let Entry::Occupied(entry) = entry {
            entry.remove();
        }
        victim
    }
}

impl<S> fmt::Debug for Store<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("len", &self.len()).field("evicted", &self.evicted()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds to the number kept under this hash, and returns the sum.
    fn add(store: &Store<u64>, hash: u64, number: u64) -> u64 {
        let mut lent = store.lend(hash, || 0, |state| *state);
        *lent.state() += number;
        *lent.state()
    }

    /// As evenly as a keyed hash.
    fn spread(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn each_key_has_its_own_state() {
        let store = Store::new(10_000);
        for round in 1..=3 {
            for key in 0..5000 {
                assert_eq!(add(&store, spread(key), 1), round);
            }
        }
        assert_eq!((store.len(), store.evicted()), (5000, 0));
    }

    #[test]
    fn the_bound_holds_and_the_least_debt_goes() {
        for capacity in [1, 2, 7, 64, 1000] {
            let store = Store::new(capacity);
            assert!(store.capacity() <= capacity);
            // Some owe much. Of eight neighbours, rarely all do.
            let debtors: Vec<_> = (0..capacity as u64 / 10).map(spread).collect();
            for hash in &debtors {
                add(&store, *hash, 100);
            }
            for key in 1000..100_000 {
                add(&store, spread(key), 1);
            }
            assert_eq!(store.len(), store.capacity());
            assert!(debtors.iter().all(|hash| add(&store, *hash, 0) == 100), "{capacity}");
        }
    }
}
