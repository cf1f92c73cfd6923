//! Where idle things lie: one shelf per worker thread, searched by the others when theirs is empty.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, PoisonError};

use super::quota::{Quota, Share};
use super::site::{Kept, Offer, Site};
use super::sync::{Mutex, MutexGuard};

/// The shelves of all workers.
pub(crate) struct Shelves<T: Kept> {
    shelves: Box<[Padded<Mutex<Shelf<T>>>]>,
    total: Quota,
}

/// One cache line and its neighbour, which the prefetcher fetches with it: two workers never write
/// to the same.
#[repr(align(128))]
struct Padded<T>(T);

struct Shelf<T: Kept> {
    stacks: HashMap<T::Key, Stack<T>, BuildHasherDefault<IntHasher>>,
    share: Share,
    count: usize,
    taken: u64,
    closed: bool,
}

/// Things of one key, the one used last on top.
struct Stack<T: Kept> {
    site: Arc<Site<T>>,
    things: VecDeque<T>,
    share: Share,
}

/// What happened to a thing that came back.
enum Put<T> {
    Kept,
    /// It is kept in the place of this one.
    Replaced(T),
    /// There is no room, or it belongs to what was evicted.
    Refused(T),
    /// Somebody waits at its site.
    Awaited(T),
}

impl<T: Kept> Shelves<T>
where
    T::Key: Hash,
{
    pub(crate) fn new(count: usize, limit: usize) -> Self {
        let shelf = || Shelf { stacks: HashMap::default(), share: Share::default(), count: 0, taken: 0, closed: false };
        let shelves = (0..count).map(|_| Padded(Mutex::new(shelf()))).collect();
        Shelves { shelves, total: Quota::new(limit, count) }
    }

    /// A power of two.
    pub(crate) fn len(&self) -> usize {
        self.shelves.len()
    }

    fn shelf(&self, worker: usize) -> MutexGuard<'_, Shelf<T>> {
        let index = worker & (self.shelves.len() - 1);
        self.shelves[index].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thing released last by this worker, else one of another worker's.
    pub(crate) fn take(&self, worker: usize, key: &T::Key) -> Option<T> {
        (worker..worker + self.len()).find_map(|worker| self.shelf(worker).pop(key, &self.total))
    }

    /// Any idle thing of this site, for one that needs its place.
    pub(crate) fn take_any(&self, worker: usize, site: &Arc<Site<T>>) -> Option<T> {
        (worker..worker + self.len()).find_map(|worker| {
            let mut shelf = self.shelf(worker);
            let stack =
                shelf.stacks.values_mut().find(|stack| Arc::ptr_eq(&stack.site, site) && !stack.things.is_empty());
            let thing = stack.and_then(Stack::pop)?;
            shelf.forget(1, &self.total);
            Some(thing)
        })
    }

    /// Gives a thing to who waits for it, or keeps it; what is not kept is dropped, outside all locks.
    pub(crate) fn release(&self, worker: usize, mut thing: T) {
        loop {
            thing = match self.put(worker, thing) {
                Put::Kept | Put::Replaced(_) | Put::Refused(_) => return,
                Put::Awaited(thing) => thing,
            };
            if !thing.is_alive() {
                return;
            }
            let site = Arc::clone(thing.site());
            thing = match site.offer(thing) {
                Offer::Taken | Offer::Unfit(_) => return,
                Offer::Nobody(thing) => thing,
            };
        }
    }

    /// The queue, the generation and `closed` are read under the shelf's lock. Who joins the queue,
    /// evicts or closes writes first and goes through the shelves afterwards: so either it finds this
    /// thing, or its write is seen here.
    fn put(&self, worker: usize, thing: T) -> Put<T> {
        let mut shelf = self.shelf(worker);
        if shelf.closed || thing.is_stale() {
            Put::Refused(thing)
        } else if thing.site().is_awaited() {
            Put::Awaited(thing)
        } else {
            shelf.put(thing, &self.total)
        }
    }

    /// Takes away everything of this site.
    pub(crate) fn evict(&self, site: &Arc<Site<T>>) {
        for worker in 0..self.len() {
            let gone = self.shelf(worker).empty(|stack| Arc::ptr_eq(&stack.site, site), &self.total);
            drop(gone);
        }
    }

    /// Takes everything away and keeps nothing from now on.
    pub(crate) fn close(&self) {
        for worker in 0..self.len() {
            let mut shelf = self.shelf(worker);
            shelf.closed = true;
            let gone = shelf.empty(|_| true, &self.total);
            drop(shelf);
            drop(gone);
        }
    }

    /// The keys on one shelf.
    pub(crate) fn keys(&self, worker: usize) -> Vec<T::Key> {
        self.shelf(worker).stacks.keys().cloned().collect()
    }

    /// Takes out of a stack what `unfit` says, the longest idle first, among the `count` things that
    /// start at `from`. Also returns where to go on, until the end is reached.
    pub(crate) fn sift(
        &self,
        worker: usize,
        key: &T::Key,
        (from, count): (usize, usize),
        unfit: impl FnMut(&mut T) -> bool,
    ) -> (Vec<T>, Option<usize>) {
        let mut shelf = self.shelf(worker);
        let Some(stack) = shelf.stacks.get_mut(key) else {
            return (Vec::new(), None);
        };
        let gone = stack.sift((from, count), unfit);
        let next = from + count - gone.len();
        let next = (next < stack.things.len()).then_some(next);
        shelf.forget(gone.len(), &self.total);
        (gone, next)
    }

    /// Removes the empty stacks of one shelf: what refers to a vanished site goes with them.
    pub(crate) fn prune(&self, worker: usize) {
        self.shelf(worker).stacks.retain(|_, stack| {
            let keep = !stack.things.is_empty();
            if !keep {
                stack.share.surrender(&stack.site.quota);
            }
            keep
        });
    }

    /// How many things of this key are idle.
    pub(crate) fn idle(&self, key: &T::Key) -> usize {
        let count = |worker| self.shelf(worker).stacks.get(key).map_or(0, |stack| stack.things.len());
        (0..self.len()).map(count).sum()
    }

    /// How many things are idle, and how many were ever taken.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (0..self.len()).fold((0, 0), |(count, taken), worker| {
            let shelf = self.shelf(worker);
            (count + shelf.count, taken + shelf.taken)
        })
    }
}

impl<T: Kept> Shelf<T>
where
    T::Key: Hash,
{
    fn pop(&mut self, key: &T::Key, total: &Quota) -> Option<T> {
        let thing = self.stacks.get_mut(key)?.pop()?;
        self.taken += 1;
        self.count -= 1;
        self.share.restore(total);
        Some(thing)
    }

    fn put(&mut self, thing: T, total: &Quota) -> Put<T> {
        let stack = match self.stacks.get_mut(thing.key()) {
            Some(stack) => stack,
            None => self.stacks.entry(thing.key().clone()).or_insert_with(|| Stack::new(Arc::clone(thing.site()))),
        };
        if !stack.share.draw(&stack.site.quota) {
            return stack.replace(thing);
        }
        if !self.share.draw(total) {
            return self.replace(thing);
        }
        stack.things.push_back(thing);
        self.count += 1;
        Put::Kept
    }

    /// Keeps `thing`, which has its place under its site's limit, instead of the one on this shelf
    /// that is idle longest.
    #[cold]
    fn replace(&mut self, thing: T) -> Put<T> {
        let old = self.oldest().and_then(Stack::pop_oldest);
        let Some(stack) = self.stacks.get_mut(thing.key()) else {
            return Put::Refused(thing);
        };
        let Some(old) = old else {
            stack.share.restore(&stack.site.quota);
            return Put::Refused(thing);
        };
        stack.things.push_back(thing);
        Put::Replaced(old)
    }

    fn oldest(&mut self) -> Option<&mut Stack<T>> {
        let filled = self.stacks.values_mut().filter(|stack| !stack.things.is_empty());
        filled.reduce(|a, b| if b.is_older(a) { b } else { a })
    }

    fn empty(&mut self, which: impl Fn(&Stack<T>) -> bool, total: &Quota) -> Vec<T> {
        let mut gone = Vec::new();
        for stack in self.stacks.values_mut().filter(|stack| which(stack)) {
            while let Some(thing) = stack.pop() {
                gone.push(thing);
            }
        }
        self.forget(gone.len(), total);
        gone
    }

    fn forget(&mut self, count: usize, total: &Quota) {
        self.count -= count;
        for _ in 0..count {
            self.share.restore(total);
        }
    }
}

impl<T: Kept> Stack<T> {
    fn new(site: Arc<Site<T>>) -> Self {
        Stack { site, things: VecDeque::new(), share: Share::default() }
    }

    fn pop(&mut self) -> Option<T> {
        let thing = self.things.pop_back()?;
        self.share.restore(&self.site.quota);
        Some(thing)
    }

    fn pop_oldest(&mut self) -> Option<T> {
        let thing = self.things.pop_front()?;
        self.share.restore(&self.site.quota);
        Some(thing)
    }

    /// Keeps `thing` instead of the one in this stack that is idle longest.
    fn replace(&mut self, thing: T) -> Put<T> {
        let Some(old) = self.things.pop_front() else {
            return Put::Refused(thing);
        };
        self.things.push_back(thing);
        Put::Replaced(old)
    }

    fn is_older(&self, other: &Self) -> bool {
        matches!((self.things.front(), other.things.front()), (Some(a), Some(b)) if a.is_older(b))
    }

    fn sift(&mut self, (from, count): (usize, usize), mut unfit: impl FnMut(&mut T) -> bool) -> Vec<T> {
        let end = self.things.len().min(from.saturating_add(count));
        let mut index = from;
        let mut gone = Vec::new();
        for _ in from..end {
            if unfit(&mut self.things[index]) {
                gone.extend(self.things.remove(index));
                self.share.restore(&self.site.quota);
            } else {
                index += 1;
            }
        }
        gone
    }
}

/// For keys whose hash is one number already.
#[derive(Default)]
struct IntHasher(u64);

impl Hasher for IntHasher {
    /// Fibonacci hashing: hashbrown takes its control byte from the top bits, which small numbers
    /// leave at zero.
    fn write_u64(&mut self, value: u64) {
        self.0 = value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
