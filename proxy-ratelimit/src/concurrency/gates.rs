//! A gate for each key.

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::gate::{Entry, Gate, Slot};

/// Gates by key, there only while someone is inside or before them: so never more than there are
/// requests.
#[derive(Debug)]
pub(super) struct Gates {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    limit: usize,
    room: usize,
    shares: Arc<[u8]>,
}

/// Gates by the hash of their key.
type Shard = HashMap<u64, Arc<Gate>>;

const SHARDS: usize = 16;

impl Gates {
    pub(super) fn new(limit: usize, room: usize, shares: Arc<[u8]>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Gates { shards, hasher: RandomState::new(), limit, room, shares }
    }

    pub(super) fn hasher(&self) -> DefaultHasher {
        self.hasher.build_hasher()
    }

    /// Enters the gate of a key. The pass must outlive the slot that comes of it: it stands behind.
    pub(super) fn enter(self: &Arc<Self>, hash: u64, class: usize) -> (Entry, Pass) {
        let mut shard = self.shard(hash);
        let gate = shard.entry(hash);
        let gate = gate.or_insert_with(|| Gate::new(self.limit, self.room, Arc::clone(&self.shares)));
        // Under the lock, so that nobody forgets the gate in between.
        let entry = gate.enter(class);
        (entry, Pass { gates: Arc::clone(self), hash })
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[(hash >> 40) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

/// Forgets a gate that nobody needs any more, when it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gates: Arc<Gates>,
    hash: u64,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut shard = self.gates.shard(self.hash);
        if shard.get(&self.hash).is_some_and(Gate::is_forgettable) {
            shard.remove(&self.hash);
        }
    }
}

/// A place behind the gate of a key.
#[derive(Debug)]
pub(super) struct KeyedSlot {
    // In this order: the slot goes first.
    _slot: Slot,
    _pass: Pass,
}

impl KeyedSlot {
    pub(super) fn new(slot: Slot, pass: Pass) -> Self {
        KeyedSlot { _slot: slot, _pass: pass }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_there_while_it_is_used() {
        let gates = Arc::new(Gates::new(1, 1, Arc::from([100])));
        let (Entry::Inside(slot), pass) = gates.enter(1, 0) else { panic!("there is room") };
        let first = KeyedSlot::new(slot, pass);
        let (Entry::Waiting(mut receiver), pass) = gates.enter(1, 0) else { panic!("there is room to wait") };
        assert!(matches!(gates.enter(1, 0).0, Entry::Full));
        assert!(matches!(gates.enter(2, 0).0, Entry::Inside(_)));
        drop(first);
        let second = KeyedSlot::new(receiver.try_recv().unwrap(), pass);
        assert_eq!(gates.len(), 1);
        drop(second);
        assert_eq!(gates.len(), 0);
    }
}
