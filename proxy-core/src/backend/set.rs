//! The backends of a cluster, as one immutable snapshot at a time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use super::{Backend, BackendState, Eligibility, Usable};

/// The backends of a cluster. A clone is a handle to the same set.
///
/// Readers see one snapshot, backends and their states together; a change makes a new one.
#[derive(Clone, Debug)]
pub struct BackendSet(Arc<Shared>);

struct Shared {
    snapshot: ArcSwap<Snapshot>,
    /// Held while a snapshot is replaced, so that no change is lost.
    change: Mutex<()>,
    eligibility: Box<dyn Eligibility>,
    listener: OnceLock<Listener>,
}

/// Who is told of each new list of candidates.
type Listener = Box<dyn Fn(&[Backend]) + Send + Sync>;

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

/// One state of the set.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    all: Vec<Backend>,
    usable: Vec<Backend>,
    by_id: HashMap<Box<str>, usize>,
}

impl Snapshot {
    fn new(all: Vec<Backend>, eligibility: &dyn Eligibility) -> Self {
        let usable = eligibility.eligible(&all);
        let by_id = all.iter().enumerate().map(|(index, backend)| (backend.id().into(), index)).collect();
        Snapshot { all, usable, by_id }
    }

    pub(crate) fn all(&self) -> &[Backend] {
        &self.all
    }

    pub(crate) fn candidates(&self) -> Candidates<'_> {
        Candidates { list: &self.usable, snapshot: self }
    }

    /// The candidates among `list`, for attempts that leave out backends already tried.
    pub(crate) fn candidates_among<'a>(&'a self, list: &'a [Backend]) -> Candidates<'a> {
        Candidates { list, snapshot: self }
    }
}

impl BackendSet {
    /// A set of these backends, of which the [`Usable`] ones are candidates.
    pub fn new(backends: impl IntoIterator<Item = Backend>) -> Self {
        BackendSet::with_eligibility(backends, Usable)
    }

    /// A set of these backends, with its own rule for who of them is a candidate.
    pub fn with_eligibility(backends: impl IntoIterator<Item = Backend>, eligibility: impl Eligibility) -> Self {
        let snapshot = Snapshot::new(backends.into_iter().collect(), &eligibility);
        BackendSet(Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            change: Mutex::new(()),
            eligibility: Box::new(eligibility),
            listener: OnceLock::new(),
        }))
    }

    /// Tells `listener` of the candidates now and after each change, in the order of the changes. It
    /// must not change the set itself. Only the first listener is taken.
    pub(crate) fn listen(&self, listener: impl Fn(&[Backend]) + Send + Sync + 'static) {
        let _change = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        listener(&self.0.snapshot.load().usable);
        let _ = self.0.listener.set(Box::new(listener));
    }

    /// Replaces the snapshot by one of the backends that `f` makes of the present one.
    fn change(&self, f: impl FnOnce(&Snapshot) -> Option<Vec<Backend>>) -> bool {
        let _change = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(all) = f(&self.0.snapshot.load_full()) else { return false };
        let next = Arc::new(Snapshot::new(all, &*self.0.eligibility));
        self.0.snapshot.store(Arc::clone(&next));
        if let Some(listener) = self.0.listener.get() {
            listener(&next.usable);
        }
        true
    }

    /// Replaces the whole set. A backend with an id that was there before keeps its handle, and with
    /// it its counts, its state and its pooled connections, if address and labels are the same.
    pub fn replace(&self, backends: impl IntoIterator<Item = Backend>) {
        self.change(|old| Some(backends.into_iter().map(|new| keep(old, new)).collect()));
    }

    /// Changes a backend's state; says whether it is in the set.
    pub fn set_state(&self, id: &str, state: BackendState) -> bool {
        self.change(|old| {
            old.all[*old.by_id.get(id)?].set_state(state);
            Some(old.all.clone())
        })
    }

    /// Asks the [`Eligibility`] anew: something that it looks at has changed, a weight or a share.
    pub fn refresh(&self) {
        self.change(|old| Some(old.all.clone()));
    }

    /// Those that would be candidates if the set were these.
    pub(crate) fn eligible(&self, backends: &[Backend]) -> Vec<Backend> {
        self.0.eligibility.eligible(backends)
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

    /// Whether this backend is of the set and [usable](Backend::is_usable).
    pub fn contains(&self, backend: &Backend) -> bool {
        self.by_id(backend.id()).is_some_and(|known| known == backend && known.is_usable())
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
