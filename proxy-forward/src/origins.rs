//! The origins that clients go to: one backend each, with its connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_core::{Address, Backend, Pool, SharedPool};
use quick_cache::sync::Cache;

use crate::destination::{Destination, Host};
use crate::egress::Checked;

/// Bounded: the least used leaves, and its idle connections are closed.
pub(crate) struct Origins {
    known: Cache<Key, Arc<Origin>>,
    pool: SharedPool,
    directory: Directory,
}

/// A destination and the addresses that were checked for it. A connection is kept for who may go to the
/// same addresses: where a name's answer, or what a client may reach, is another, so is the origin.
type Key = (Destination, Checked);

/// An origin, as long as somebody uses it.
pub(crate) struct Origin {
    backend: Backend,
    pool: SharedPool,
    directory: Directory,
}

/// Which addresses were checked for the backends of origins that are in use: all that is ever dialled. A cheap
/// handle.
#[derive(Clone, Default)]
pub(crate) struct Directory(Arc<Mutex<HashMap<Backend, Checked>>>);

impl Directory {
    pub(crate) fn checked(&self, backend: &Backend) -> Option<Checked> {
        self.lock().get(backend).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Backend, Checked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Origins {
    /// The pool dials what it finds in the directory.
    pub(crate) fn new(capacity: usize, pool: SharedPool, directory: Directory) -> Self {
        Origins { known: Cache::new(capacity.max(1)), pool, directory }
    }

    pub(crate) fn get(&self, destination: Destination, checked: Checked) -> Arc<Origin> {
        let key = (destination, checked);
        if let Some(origin) = self.known.get(&key) {
            return origin;
        }
        let backend = Backend::new(address(&key.0));
        self.directory.lock().insert(backend.clone(), key.1.clone());
        let origin = Arc::new(Origin { backend, pool: self.pool.clone(), directory: self.directory.clone() });
        // Of two made at once the later one stays; the other ends with its request.
        self.known.insert(key, Arc::clone(&origin));
        origin
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}

impl Origin {
    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.directory.lock().remove(&self.backend);
        self.pool.evict(&self.backend);
    }
}

fn address(destination: &Destination) -> Address {
    match destination.host() {
        Host::Name(name) => Address::Name(name.to_string(), destination.port()),
        Host::Address(address) => Address::Tcp((*address, destination.port()).into()),
    }
}
