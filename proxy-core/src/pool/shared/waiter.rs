//! One who waits for a connection.

use std::sync::PoisonError;
use std::task::{Context as Task, Poll, Waker};

use super::site::{Kept, Permit};
use super::sync::{Mutex, MutexGuard};

/// What a waiter gets.
pub(crate) enum Grant<T: Kept> {
    /// A thing that was just released.
    Kept(T),
    /// The right to make one.
    Permit(Permit<T>),
}

/// One place in the queue of a site.
pub(crate) struct Waiter<T: Kept> {
    key: T::Key,
    state: Mutex<State<T>>,
}

enum State<T: Kept> {
    Waiting(Option<Waker>),
    Granted(Grant<T>),
    Done,
}

impl<T: Kept> Waiter<T> {
    pub(crate) fn new(key: T::Key) -> Self {
        Waiter { key, state: Mutex::new(State::Waiting(None)) }
    }

    pub(crate) fn key(&self) -> &T::Key {
        &self.key
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a grant for it; called once, by the site, under the site's lock.
    pub(crate) fn grant(&self, grant: Grant<T>) -> Option<Waker> {
        match std::mem::replace(&mut *self.state(), State::Granted(grant)) {
            State::Waiting(waker) => waker,
            State::Granted(_) | State::Done => None,
        }
    }

    /// Ends the wait; the grant that was not received, if there is one.
    pub(crate) fn take(&self) -> Option<Grant<T>> {
        match std::mem::replace(&mut *self.state(), State::Done) {
            State::Granted(grant) => Some(grant),
            State::Waiting(_) | State::Done => None,
        }
    }

    /// Waits for the grant. Must not be polled again once it was received.
    pub(crate) fn poll(&self, cx: &mut Task<'_>) -> Poll<Grant<T>> {
        let mut state = self.state();
        if let State::Waiting(waker) = &mut *state {
            *waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        self.take().map_or(Poll::Pending, Poll::Ready)
    }
}
