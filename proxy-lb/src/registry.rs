//! Something kept for each backend, found without a lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use proxy_core::Backend;

/// Something kept for each backend. Finding it takes no lock; adding copies the map, which happens once
/// for each backend.
#[derive(Debug)]
pub(crate) struct Registry<T> {
    entries: ArcSwap<HashMap<Backend, Arc<T>>>,
    change: Mutex<()>,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Registry { entries: ArcSwap::default(), change: Mutex::default() }
    }
}

impl<T> Registry<T> {
    /// What is kept for this backend; what `make` makes, if there is nothing yet.
    pub(crate) fn of(&self, backend: &Backend, make: impl FnOnce() -> T) -> Arc<T> {
        match self.entries.load().get(backend) {
            Some(entry) => Arc::clone(entry),
            None => self.add(backend, make),
        }
    }

    #[cold]
    fn add(&self, backend: &Backend, make: impl FnOnce() -> T) -> Arc<T> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let present = self.entries.load_full();
        if let Some(entry) = present.get(backend) {
            return Arc::clone(entry);
        }
        let (mut entries, entry) = ((*present).clone(), Arc::new(make()));
        entries.insert(backend.clone(), Arc::clone(&entry));
        self.entries.store(Arc::new(entries));
        entry
    }

    /// Everything that is kept.
    pub(crate) fn all(&self) -> Arc<HashMap<Backend, Arc<T>>> {
        self.entries.load_full()
    }

    /// Forgets the backends that are not among `members`.
    pub(crate) fn retain(&self, members: &[Backend]) {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let present = self.entries.load_full();
        let kept = members.iter().filter_map(|member| Some((member.clone(), Arc::clone(present.get(member)?))));
        let kept: HashMap<_, _> = kept.collect();
        if kept.len() < present.len() {
            self.entries.store(Arc::new(kept));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_backend_has_its_own() {
        let registry = Registry::default();
        let [a, b] = ["a:1", "b:1"].map(|id| Backend::new(id.parse().unwrap()));
        assert_eq!(*registry.of(&a, || 1), 1);
        assert_eq!(*registry.of(&b, || 2), 2);
        assert_eq!(*registry.of(&a, || 3), 1);
        registry.retain(std::slice::from_ref(&b));
        assert_eq!(registry.all().len(), 1);
        assert_eq!((*registry.of(&a, || 4), *registry.of(&b, || 5)), (4, 2));
    }
}
