//! Backends that could not be connected to, left alone for a moment.

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Instant;
use crate::{Backend, Error, ErrorKind};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);

/// After a failed connect a backend is passed over for a second, doubling to ten, as nginx does with
/// its `fail_timeout`; when no other is left it is tried all the same. Health checks know more, but
/// take longer.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    active: AtomicBool,
    confined: Mutex<Vec<Confined>>,
}

#[derive(Debug)]
struct Confined {
    backend: Backend,
    until: Instant,
    term: Duration,
}

impl Quarantine {
    /// Whether any backend is, or was just now, confined: one relaxed read in the common case.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Confines a backend that could not be connected to.
    pub(super) fn confine(&self, backend: &Backend, error: &Error) {
        if !matches!(error.kind(), ErrorKind::ConnectRefused | ErrorKind::ConnectTimeout | ErrorKind::Resolve) {
            return;
        }
        let (mut confined, now) = (self.lock(), Instant::now());
        match confined.iter_mut().find(|entry| entry.backend == *backend) {
            // Others that failed at the same time do not lengthen the term.
            Some(entry) if entry.until > now => {}
            Some(entry) => {
                entry.term = (entry.term * 2).min(LONGEST);
                entry.until = now + entry.term;
            }
            None => {
                tracing::warn!(backend = backend.id(), reason = error.code(), cause = cause(error), "backend confined");
                confined.push(Confined { backend: backend.clone(), until: now + FIRST, term: FIRST });
            }
        }
        self.active.store(true, Ordering::Relaxed);
    }

    /// A backend answered.
    pub(super) fn release(&self, backend: &Backend) {
        if self.is_active() {
            let mut confined = self.lock();
            let before = confined.len();
            confined.retain(|entry| entry.backend != *backend);
            if confined.len() < before {
                tracing::info!(backend = backend.id(), "backend answers again");
            }
            self.active.store(!confined.is_empty(), Ordering::Relaxed);
        }
    }

    /// Those of `candidates` that are not confined at `now`.
    pub(super) fn filter<'a>(&self, candidates: impl Iterator<Item = &'a Backend>, now: Instant) -> Vec<Backend> {
        let mut confined = self.lock();
        // A backend that left the set is forgotten in the end.
        confined.retain(|entry| now < entry.until + 2 * LONGEST);
        self.active.store(!confined.is_empty(), Ordering::Relaxed);
        let free = |backend: &&Backend| !confined.iter().any(|entry| entry.backend == **backend && now < entry.until);
        candidates.filter(free).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Confined>> {
        self.confined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cause(error: &Error) -> Option<impl tracing::Value> {
    error.source().map(tracing::field::display)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn terms_double_and_end() {
        let quarantine = Quarantine::default();
        let backends = ["a:1", "b:1"].map(|id| Backend::new(id.parse().unwrap()));
        let refused = Error::new(ErrorKind::ConnectRefused);
        let free = || quarantine.filter(backends.iter(), Instant::now()).len();
        quarantine.confine(&backends[0], &refused);
        quarantine.confine(&backends[0], &refused);
        assert_eq!(free(), 1);
        tokio::time::advance(Duration::from_millis(1001)).await;
        assert_eq!(free(), 2);
        quarantine.confine(&backends[0], &refused);
        tokio::time::advance(Duration::from_millis(1001)).await;
        assert_eq!(free(), 1);
        quarantine.release(&backends[0]);
        assert_eq!(free(), 2);
        assert!(!quarantine.is_active());
    }
}
