//! The backends of a cluster, as one immutable snapshot at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::{Backend, BackendState};

/// The backends of a cluster. A clone is a handle to the same set.
///
/// Readers see one snapshot, backends and their states together; a change makes a new one.
#[derive(Clone, Debug)]
pub struct BackendSet(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    /// Held while a snapshot is replaced, so that no change is lost.
    change: Mutex<()>,
}

/// One state of the set.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    all: Vec<Backend>,
    usable: Vec<Backend>,
    by_id: HashMap<Box<str>, usize>,
}

impl Snapshot {
    fn new(all: Vec<Backend>) -> Self {
        let usable = all.iter().filter(|backend| is_usable(backend)).cloned().collect();
        let by_id = all.iter().enumerate().map(|(index, backend)| (backend.id().into(), index)).collect();
        Snapshot { all, usable, by_id }
    }

    pub(crate) fn candidates(&self) -> Candidates<'_> {
        Candidates { list: &self.usable, snapshot: self }
    }

    /// The candidates among `list`, for attempts that leave out backends already tried.
    pub(crate) fn candidates_among<'a>(&'a self, list: &'a [Backend]) -> Candidates<'a> {
        Candidates { list, snapshot: self }
    }
}

fn is_usable(backend: &Backend) -> bool {
    backend.state() == BackendState::Healthy && backend.weight() > 0
}

impl BackendSet {
    /// A set of these backends.
    pub fn new(backends: impl IntoIterator<Item = Backend>) -> Self {
        let snapshot = Snapshot::new(backends.into_iter().collect());
        BackendSet(Arc::new(Shared { snapshot: ArcSwap::from_pointee(snapshot), change: Mutex::new(()) }))
    }

    /// Replaces the whole set. A backend with an id that was there before keeps its handle, and with
    /// it its counts, its state and its pooled connections, if address and labels are the same.
    pub fn replace(&self, backends: impl IntoIterator<Item = Backend>) {
        let _change = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.0.snapshot.load_full();
        let kept = backends.into_iter().map(|new| keep(&old, new)).collect();
        self.0.snapshot.store(Arc::new(Snapshot::new(kept)));
    }

    /// Changes a backend's state; says whether it is in the set.
    pub fn set_state(&self, id: &str, state: BackendState) -> bool {
        let _change = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.0.snapshot.load_full();
        let Some(backend) = old.by_id.get(id).map(|index| &old.all[*index]) else {
            return false;
        };
        backend.set_state(state);
        self.0.snapshot.store(Arc::new(Snapshot::new(old.all.clone())));
        true
    }

    /// The backends as they are now.
    pub fn backends(&self) -> Vec<Backend> {
        self.0.snapshot.load().all.clone()
    }

    /// Runs `f` on the present candidates without those in `tried`: what a selector is shown when a
    /// request that failed there is tried again. For tests of selectors.
    pub fn with_candidates<T>(&self, tried: &[Backend], f: impl FnOnce(&Candidates<'_>) -> T) -> T {
        self.with(|snapshot| {
            let rest: Vec<_> = snapshot.usable.iter().filter(|backend| !tried.contains(backend)).cloned().collect();
            f(&snapshot.candidates_among(&rest))
        })
    }

    /// Runs `f` on the present snapshot.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&Snapshot) -> T) -> T {
        f(&self.0.snapshot.load())
    }
}

fn keep(old: &Snapshot, new: Backend) -> Backend {
    let known = old.by_id.get(new.id()).map(|index| &old.all[*index]);
    match known {
        Some(known) if known.0.address == new.0.address && known.0.labels == new.0.labels => {
            known.set_weight(new.weight());
            known.clone()
        }
        _ => new,
    }
}

/// The backends one choice is made from. Every method takes constant time.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    list: &'a [Backend],
    snapshot: &'a Snapshot,
}

impl<'a> Candidates<'a> {
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

    /// Whether this backend is of the set and usable.
    pub fn contains(&self, backend: &Backend) -> bool {
        self.by_id(backend.id()).is_some_and(|known| known == backend && is_usable(known))
    }

    /// The backend of this id, also where it is draining or down: what sticks to it may still go there.
    pub fn by_id(&self, id: &str) -> Option<&'a Backend> {
        self.snapshot.by_id.get(id).map(|index| &self.snapshot.all[*index])
    }
}

impl<'a> IntoIterator for Candidates<'a> {
    type Item = &'a Backend;
    type IntoIter = std::slice::Iter<'a, Backend>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(id: &str) -> Backend {
        Backend::new(id.parse().unwrap())
    }

    #[test]
    fn a_replaced_set_keeps_the_handles_of_unchanged_backends() {
        let set = BackendSet::new([backend("a:1"), backend("b:1")]);
        let before = set.backends();
        set.replace([backend("b:1"), backend("c:1")]);
        let after = set.backends();
        assert_eq!(before[1], after[0]);
        assert_ne!(before[0], after[1]);
    }

    #[test]
    fn only_healthy_backends_with_weight_are_candidates() {
        let set = BackendSet::new([backend("a:1"), backend("b:1"), backend("c:1")]);
        assert!(set.set_state("b:1", BackendState::Draining));
        assert!(!set.set_state("x:1", BackendState::Draining));
        set.with(|snapshot| {
            let candidates = snapshot.candidates();
            let ids: Vec<_> = candidates.iter().map(Backend::id).collect();
            assert_eq!(ids, ["a:1", "c:1"]);
            let draining = candidates.by_id("b:1").unwrap();
            assert!(!candidates.contains(draining));
            assert!(candidates.contains(candidates.at(1).unwrap()));
        });
    }
}
