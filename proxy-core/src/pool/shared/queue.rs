//! Getting a permit, or waiting for one without losing anything on the way.

use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use super::shelves::Shelves;
use super::site::{Entry, Kept, Site};
use super::waiter::{Grant, Waiter};

/// What a request for a thing came to, where none was idle.
pub(crate) enum Admission<'a, T: Kept>
where
    T::Key: Hash,
{
    Granted(Grant<T>),
    Wait(Ticket<'a, T>),
    Full,
}

/// A place in the queue. Whoever drops it leaves the queue; what was already granted goes back.
pub(crate) struct Ticket<'a, T: Kept>
where
    T::Key: Hash,
{
    shelves: &'a Shelves<T>,
    site: Arc<Site<T>>,
    waiter: Arc<Waiter<T>>,
    worker: usize,
}

impl<T: Kept> Shelves<T>
where
    T::Key: Hash,
{
    /// A permit to make a thing of this key; a place in the queue where all are in use.
    pub(crate) fn enter(&self, worker: usize, site: &Arc<Site<T>>, key: &T::Key) -> Admission<'_, T> {
        let waiter = match site.enter(key) {
            Entry::Open(permit) => return Admission::Granted(Grant::Permit(permit)),
            Entry::Full => return Admission::Full,
            Entry::Wait(waiter) => waiter,
        };
        let ticket = Ticket { shelves: self, site: Arc::clone(site), waiter, worker };
        // One may have been put down before it was known that somebody waits.
        if let Some(thing) = self.take(worker, key) {
            return Admission::Granted(Grant::Kept(thing));
        }
        // An idle one of another key makes room: dropped, it passes its permit on to the queue.
        drop(self.take_any(worker, site));
        Admission::Wait(ticket)
    }
}

impl<T: Kept> Future for Ticket<'_, T>
where
    T::Key: Hash,
{
    type Output = Grant<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Grant<T>> {
        self.waiter.poll(cx)
    }
}

impl<T: Kept> Drop for Ticket<'_, T>
where
    T::Key: Hash,
{
    fn drop(&mut self) {
        if let Some(Grant::Kept(thing)) = self.site.cancel(&self.waiter) {
            self.shelves.release(self.worker, thing);
        }
    }
}
