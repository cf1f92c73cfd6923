//! The backends one choice is made from.

use super::Backend;
use super::snapshot::Snapshot;

/// The backends one choice is made from. Every method takes constant time.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    list: &'a [Backend],
    snapshot: &'a Snapshot,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(list: &'a [Backend], snapshot: &'a Snapshot) -> Self {
        Candidates { list, snapshot }
    }

    /// The usable backends, in the order they were configured.
    pub fn iter(&self) -> std::slice::Iter<'a, Backend> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The candidate at this position.
    pub fn at(&self, index: usize) -> Option<&'a Backend> {
        self.list.get(index)
    }

    /// Whether requests may go to this backend of the set: the [`Eligibility`](super::Eligibility) lets
    /// them, though this request may have tried it.
    pub fn contains(&self, backend: &Backend) -> bool {
        self.snapshot.is_eligible(backend)
    }

    /// The backend of this id, also where it is draining or down: what sticks to it may still go there.
    pub fn by_id(&self, id: &str) -> Option<&'a Backend> {
        self.snapshot.by_id(id)
    }
}

impl<'a> IntoIterator for Candidates<'a> {
    type Item = &'a Backend;
    type IntoIter = std::slice::Iter<'a, Backend>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}
