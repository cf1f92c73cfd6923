//! What happens to a set, for those who follow it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;

use super::{Backend, BackendState};
use crate::guard::guarded;

/// What happened to a backend of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetEvent {
    /// It joined the set.
    Joined(Backend),
    /// It left the set.
    Left(Backend),
    /// It was in this state, and is in another now: [`Backend::status`].
    Changed(Backend, BackendState),
}

/// Keeps a closure told of a set's events, as long as it lives: see [`BackendSet::watch`](super::BackendSet::watch).
pub struct SetWatch(Arc<Watcher>);

type Watcher = dyn Fn(&SetEvent) + Send + Sync;

impl SetWatch {
    pub(super) fn new(watcher: impl Fn(&SetEvent) + Send + Sync + 'static) -> Self {
        SetWatch(Arc::new(watcher))
    }
}

impl fmt::Debug for SetWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetWatch")
    }
}

/// Waits for the changes of a set: see [`BackendSet::changes`](super::BackendSet::changes).
#[derive(Clone, Debug)]
pub struct SetChanges(pub(super) watch::Receiver<u64>);

impl SetChanges {
    /// Ready when the set has changed since the last call; several changes may count as one. Never
    /// ready again once the set is gone.
    ///
    /// # Cancel safety
    /// No change is missed.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Those who follow one set.
#[derive(Default)]
pub(super) struct Followers {
    watchers: Mutex<Vec<Weak<Watcher>>>,
    changes: watch::Sender<u64>,
}

impl Followers {
    pub(super) fn add(&self, watch: &SetWatch) {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&watch.0));
    }

    pub(super) fn changes(&self) -> SetChanges {
        SetChanges(self.changes.subscribe())
    }

    /// Tells the watchers, one after the other.
    pub(super) fn tell(&self, events: &[SetEvent]) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.strong_count() > 0);
        let living: Vec<_> = watchers.iter().filter_map(Weak::upgrade).collect();
        drop(watchers);
        for (watcher, event) in living.iter().flat_map(|watcher| events.iter().map(move |event| (watcher, event))) {
            // What a panic says has been logged; the change goes on.
            let _ = guarded(|| {
                watcher(event);
                Ok(())
            });
        }
    }

    /// Wakes those who wait for a change.
    pub(super) fn wake(&self) {
        self.changes.send_modify(|version| *version += 1);
    }
}
