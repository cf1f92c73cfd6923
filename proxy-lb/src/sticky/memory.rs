//! Which value belongs to which backend, as far as it was seen.

use std::hash::{BuildHasher, RandomState};

use proxy_core::Backend;
use quick_cache::sync::Cache;

/// So many values at most: clients choose them.
pub(super) struct Memory {
    known: Cache<u128, Backend>,
    /// Two hashes nobody outside can compute, so that no value can be made that counts as another's.
    hashers: [RandomState; 2],
}

/// A value, as it is remembered.
pub(super) type Mark = u128;

impl Memory {
    pub(super) fn new(capacity: usize) -> Self {
        Memory { known: Cache::new(capacity), hashers: [RandomState::new(), RandomState::new()] }
    }

    pub(super) fn mark(&self, value: &[u8]) -> Mark {
        let [upper, lower] = &self.hashers;
        u128::from(upper.hash_one(value)) << 64 | u128::from(lower.hash_one(value))
    }

    pub(super) fn recall(&self, mark: Mark) -> Option<Backend> {
        self.known.get(&mark)
    }

    pub(super) fn learn(&self, mark: Mark, backend: &Backend) {
        if self.known.peek(&mark).as_ref() != Some(backend) {
            self.known.insert(mark, backend.clone());
        }
    }
}
