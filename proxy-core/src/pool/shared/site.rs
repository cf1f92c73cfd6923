//! Everything the pool knows of one backend: who may connect, who waits, what is still welcome.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use super::quota::Quota;
use super::sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering};
use super::waiter::{Grant, Waiter};

/// A thing that is kept at its site between uses.
pub(crate) trait Kept: Sized {
    /// What must be equal for it to serve.
    type Key: Clone + Eq;

    fn key(&self) -> &Self::Key;
    fn site(&self) -> &Arc<Site<Self>>;
    /// Whether it belongs to a generation that was evicted.
    fn is_stale(&self) -> bool;
    /// Whether it still works.
    fn is_alive(&mut self) -> bool;
    /// Whether it became idle before the other did.
    fn is_older(&self, other: &Self) -> bool;
}

/// One backend: the count of its open connections and the queue for the next.
pub(crate) struct Site<T: Kept> {
    gate: Mutex<Gate<T>>,
    /// The length of the queue, written under the gate's lock and read without it.
    waiting: AtomicUsize,
    generation: AtomicU64,
    pub(crate) quota: Quota,
    max_open: usize,
    max_waiting: usize,
}

struct Gate<T: Kept> {
    open: usize,
    queue: VecDeque<Arc<Waiter<T>>>,
}

/// The right to have one connection open, passed on when dropped.
pub(crate) struct Permit<T: Kept>(Arc<Site<T>>);

/// What a request for a permit came to.
pub(crate) enum Entry<T: Kept> {
    Open(Permit<T>),
    Wait(Arc<Waiter<T>>),
    Full,
}

/// What became of a thing offered to those who wait.
pub(crate) enum Offer<T> {
    Taken,
    /// The first in the queue needs another key: this thing must make room.
    Unfit(T),
    Nobody(T),
}

impl<T: Kept> Site<T> {
    pub(crate) fn new(max_open: usize, max_waiting: usize, quota: Quota) -> Self {
        let gate = Mutex::new(Gate { open: 0, queue: VecDeque::new() });
        let generation = AtomicU64::new(0);
        Site { gate, waiting: AtomicUsize::new(0), generation, quota, max_open, max_waiting }
    }

    fn gate(&self) -> MutexGuard<'_, Gate<T>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody waits. Exact for a reader that shares a lock with those who join the queue
    /// (see `Shelves::put`).
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Makes everything of the present generation unwelcome.
    pub(crate) fn renew(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// A permit, or a place in the queue for one.
    pub(crate) fn enter(self: &Arc<Self>, key: &T::Key) -> Entry<T> {
        let mut gate = self.gate();
        if gate.open < self.max_open {
            gate.open += 1;
            return Entry::Open(Permit(Arc::clone(self)));
        }
        if gate.queue.len() >= self.max_waiting {
            return Entry::Full;
        }
        let waiter = Arc::new(Waiter::new(key.clone()));
        gate.queue.push_back(Arc::clone(&waiter));
        self.waiting.store(gate.queue.len(), Ordering::Relaxed);
        Entry::Wait(waiter)
    }

    /// Offers a thing to the first in the queue.
    pub(crate) fn offer(&self, thing: T) -> Offer<T> {
        let gate = self.gate();
        match gate.queue.front() {
            None => return Offer::Nobody(thing),
            Some(first) if first.key() != thing.key() => return Offer::Unfit(thing),
            Some(_) => self.grant_first(gate, Grant::Kept(thing)),
        }
        Offer::Taken
    }

    /// Takes a waiter out of the queue, and what it was granted and had not yet received.
    pub(crate) fn cancel(&self, waiter: &Arc<Waiter<T>>) -> Option<Grant<T>> {
        let mut gate = self.gate();
        let position = gate.queue.iter().position(|other| Arc::ptr_eq(other, waiter));
        if let Some(position) = position {
            gate.queue.remove(position);
            self.waiting.store(gate.queue.len(), Ordering::Relaxed);
        }
        drop(gate);
        waiter.take()
    }

    /// A connection is gone: the first in the queue may open one.
    fn leave(self: &Arc<Self>) {
        let mut gate = self.gate();
        if gate.queue.is_empty() {
            gate.open -= 1;
        } else {
            self.grant_first(gate, Grant::Permit(Permit(Arc::clone(self))));
        }
    }

    /// Grants under the lock, so that a waiter that is no longer queued has its grant; wakes after it.
    fn grant_first(&self, mut gate: MutexGuard<'_, Gate<T>>, grant: Grant<T>) {
        let first = gate.queue.pop_front();
        self.waiting.store(gate.queue.len(), Ordering::Relaxed);
        let waker = first.and_then(|waiter| waiter.grant(grant));
        drop(gate);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T: Kept> Permit<T> {
    pub(crate) fn site(&self) -> &Arc<Site<T>> {
        &self.0
    }
}

impl<T: Kept> Drop for Permit<T> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
