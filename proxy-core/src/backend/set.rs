//! The backends of a cluster, as one immutable snapshot at a time.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use super::events::Followers;
use super::snapshot::{Members, Snapshot};
use super::{
    Backend, BackendState, Candidates, Eligibility, HealthSource, SetChanges, SetEvent, SetWatch, Status, Usable,
    Verdict,
};
use crate::clock::Instant;

/// The backends of a cluster. A clone is a handle to the same set, and may be used from any thread.
///
/// Readers see one snapshot, backends and their health together; a change makes a new one. A backend
/// that stays keeps its handle, and with it its counts, its verdicts and its pooled connections.
///
/// ```
/// use proxy_core::{Backend, BackendSet, BackendState};
///
/// let set = BackendSet::new(["a:1", "b:1"].map(|address| Backend::new(address.parse().unwrap())));
/// set.insert(Backend::builder("c:1".parse()?).weight(2).build());
/// set.set_state("a:1", BackendState::Maintenance);
/// set.remove("b:1");
/// assert_eq!(set.with_candidates(&[], |candidates| candidates.len()), 1);
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BackendSet(Arc<Shared>);

struct Shared {
    snapshot: ArcSwap<Snapshot>,
    /// Held while a snapshot is replaced, so that no change is lost.
    change: Mutex<()>,
    eligibility: Box<dyn Eligibility>,
    listener: OnceLock<Listener>,
    followers: Followers,
}

/// Who is told of each new list of candidates, and of what led to it.
type Listener = Box<dyn Fn(&[Backend], &[SetEvent]) + Send + Sync>;

/// Why a list of backends was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// It has none: a set is emptied by [`BackendSet::remove`] only, never by accident.
    #[error("the new list has no backends")]
    Empty,
    /// Two of them have this id.
    #[error("the new list has two backends with the id `{0}`")]
    Duplicate(Box<str>),
}

impl BackendSet {
    /// A set of these backends, of which the [`Usable`] ones are candidates. Of several with one id the
    /// first is taken.
    pub fn new(backends: impl IntoIterator<Item = Backend>) -> Self {
        BackendSet::with_eligibility(backends, Usable)
    }

    /// A set of these backends, with its own rule for who of them is a candidate.
    pub fn with_eligibility(backends: impl IntoIterator<Item = Backend>, eligibility: impl Eligibility) -> Self {
        let snapshot = Snapshot::new(Arc::new(Members::new(backends)), &eligibility);
        BackendSet(Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            change: Mutex::new(()),
            eligibility: Box::new(eligibility),
            listener: OnceLock::new(),
            followers: Followers::default(),
        }))
    }

    /// Adds a backend. Where there is one of this id it takes its place; if only the weight differs, the
    /// one that is there stays and gets the weight. Returns the handle that is in the set now.
    pub fn insert(&self, backend: Backend) -> Backend {
        let _change = self.lock();
        let old = self.members();
        let new = keep(&old, backend);
        let mut all = old.all().to_vec();
        match old.index(new.id()) {
            Some(index) => all[index] = new.clone(),
            None => all.push(new.clone()),
        }
        self.regroup(&old, all);
        new
    }

    /// Takes a backend out: it gets no more requests, finishes those it has, and its idle connections
    /// are closed. To let what sticks to it go on, [`set_state`](Self::set_state) it `Draining` first.
    pub fn remove(&self, id: &str) -> Option<Backend> {
        let _change = self.lock();
        let old = self.members();
        let gone = old.by_id(id)?.clone();
        self.regroup(&old, old.all().iter().filter(|backend| **backend != gone).cloned().collect());
        Some(gone)
    }

    /// Replaces the whole set. A backend with an id that was there before keeps its handle, and with
    /// it its counts, its health and its pooled connections, if address and labels are the same.
    ///
    /// # Errors
    /// If the list is empty, or an id is in it twice. The set stays as it was.
    pub fn replace(&self, backends: impl IntoIterator<Item = Backend>) -> Result<(), SetError> {
        let backends: Vec<_> = backends.into_iter().collect();
        check(&backends)?;
        let _change = self.lock();
        let old = self.members();
        let kept = backends.into_iter().map(|new| keep(&old, new)).collect();
        self.regroup(&old, kept);
        Ok(())
    }

    /// Changes a backend's state in an operator's name, `Healthy` to take that back: what checks and
    /// others say goes on to count. Says whether it is in the set.
    pub fn set_state(&self, id: &str, state: BackendState) -> bool {
        let backend = self.get(id);
        let verdict = Verdict::new(HealthSource::Operator, state, "by request");
        backend.is_some_and(|backend| self.report(&backend, verdict))
    }

    /// Takes a verdict on a backend in; says whether it is in the set.
    pub fn report(&self, backend: &Backend, verdict: Verdict) -> bool {
        self.report_all([(backend.clone(), verdict)]) > 0
    }

    /// Takes several verdicts in, as one change; says on how many backends of the set.
    pub fn report_all(&self, verdicts: impl IntoIterator<Item = (Backend, Verdict)>) -> usize {
        let _change = self.lock();
        let (members, now) = (self.members(), Instant::now());
        let (mut judged, mut events) = (Vec::new(), Vec::new());
        for (backend, verdict) in verdicts {
            if !members.contains(&backend) {
                continue;
            }
            let before = backend.judge(verdict, now);
            events.extend(before.map(|before| SetEvent::Changed(backend.clone(), before)));
            judged.push(backend);
        }
        if !judged.is_empty() {
            self.0.followers.tell(&events);
            let next = self.0.snapshot.load().next(&judged, &*self.0.eligibility);
            self.publish(next, &events);
        }
        judged.len()
    }

    /// Asks the [`Eligibility`] anew: something that it looks at has changed, a weight or a share.
    pub fn refresh(&self) {
        let _change = self.lock();
        let next = self.0.snapshot.load().next(&[], &*self.0.eligibility);
        self.publish(next, &[]);
    }

    /// Those that would be candidates if the set were these.
    pub(crate) fn eligible(&self, backends: &[Backend]) -> Vec<Backend> {
        self.0.eligibility.eligible(backends)
    }

    /// The backends as they are now.
    pub fn backends(&self) -> Vec<Backend> {
        self.0.snapshot.load().members().all().to_vec()
    }

    /// The backends and their health, all of one moment.
    pub fn statuses(&self) -> Vec<(Backend, Status)> {
        let snapshot = self.0.snapshot.load();
        snapshot.statuses().map(|(backend, status)| (backend.clone(), status.clone())).collect()
    }

    /// The backend of this id.
    pub fn get(&self, id: &str) -> Option<Backend> {
        self.0.snapshot.load().by_id(id).cloned()
    }

    /// Waits for changes from now on: of the backends, their health or their shares.
    pub fn changes(&self) -> SetChanges {
        self.0.followers.changes()
    }

    /// Tells `watcher` of each event before it shows in the set, as long as what is returned lives. It
    /// runs under the set's lock, so it must be quick and must not change the set; it may change shares.
    #[must_use]
    pub fn watch(&self, watcher: impl Fn(&SetEvent) + Send + Sync + 'static) -> SetWatch {
        let watch = SetWatch::new(watcher);
        self.0.followers.add(&watch);
        watch
    }

    /// Runs `f` on the present candidates without those in `tried`: what a selector is shown when a
    /// request that failed there is tried again. For tests of selectors.
    pub fn with_candidates<T>(&self, tried: &[Backend], f: impl FnOnce(&Candidates<'_>) -> T) -> T {
        self.with(|snapshot| {
            let eligible = snapshot.eligible().iter();
            let rest: Vec<_> = eligible.filter(|backend| !tried.contains(backend)).cloned().collect();
            f(&snapshot.candidates_among(&rest))
        })
    }

    /// Tells `listener` of the candidates now and after each change, in the order of the changes. It
    /// must not change the set itself. Only the first listener is taken.
    pub(crate) fn listen(&self, listener: impl Fn(&[Backend], &[SetEvent]) + Send + Sync + 'static) {
        let _change = self.lock();
        listener(self.0.snapshot.load().eligible(), &[]);
        let _ = self.0.listener.set(Box::new(listener));
    }

    /// Runs `f` on the present snapshot.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&Snapshot) -> T) -> T {
        f(&self.0.snapshot.load())
    }

    fn members(&self) -> Arc<Members> {
        Arc::clone(self.0.snapshot.load().members())
    }

    /// Makes `all` the members. The caller holds the lock.
    fn regroup(&self, old: &Members, all: Vec<Backend>) {
        let new = Members::new(all);
        let left = old.all().iter().filter(|backend| !new.contains(backend)).cloned().map(SetEvent::Left);
        let joined = new.all().iter().filter(|backend| !old.contains(backend)).cloned().map(SetEvent::Joined);
        let events: Vec<_> = left.chain(joined).collect();
        self.0.followers.tell(&events);
        self.publish(Snapshot::new(Arc::new(new), &*self.0.eligibility), &events);
    }

    /// The caller holds the lock.
    fn publish(&self, next: Snapshot, events: &[SetEvent]) {
        let next = Arc::new(next);
        self.0.snapshot.store(Arc::clone(&next));
        if let Some(listener) = self.0.listener.get() {
            listener(next.eligible(), events);
        }
        self.0.followers.wake();
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(backends: &[Backend]) -> Result<(), SetError> {
    let mut ids = HashSet::with_capacity(backends.len());
    match backends.iter().find(|backend| !ids.insert(backend.id())) {
        _ if backends.is_empty() => Err(SetError::Empty),
        Some(twice) => Err(SetError::Duplicate(twice.id().into())),
        None => Ok(()),
    }
}

/// The handle that is there already, where `new` stands for the same server.
fn keep(old: &Members, new: Backend) -> Backend {
    match old.by_id(new.id()) {
        Some(known) if known.is_same(&new) => {
            known.set_weight(new.weight());
            known.clone()
        }
        _ => new,
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
