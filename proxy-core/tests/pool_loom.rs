//! The pool's concurrency core under loom, which tries every order in which threads can interleave.
//!
//! The core is generic over what it keeps. It is compiled here a second time, with loom's locks and
//! atomics in the place of std's and a dummy in the place of a connection; so this is an ordinary
//! test, without a `cfg` for the whole dependency tree:
//!
//! ```text
//! cargo test -p proxy-core --release --test pool_loom
//! ```
#![allow(dead_code, reason = "the models do not need all of the core")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

#[path = "../src/pool/shared/queue.rs"]
mod queue;
#[path = "../src/pool/shared/quota.rs"]
mod quota;
#[path = "../src/pool/shared/shelves.rs"]
mod shelves;
#[path = "../src/pool/shared/site.rs"]
mod site;
#[path = "../src/pool/shared/waiter.rs"]
mod waiter;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}

use queue::Admission;
use quota::Quota;
use shelves::Shelves;
use site::{Kept, Permit, Site};
use waiter::Grant;

const KEY: u64 = 7;

/// What stands for a connection. It knows whether two threads use it at once, and counts those open.
struct Dummy {
    key: u64,
    generation: u64,
    in_use: AtomicBool,
    open: Arc<AtomicUsize>,
    permit: Permit<Dummy>,
}

impl Drop for Dummy {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Kept for Dummy {
    type Key = u64;

    fn key(&self) -> &u64 {
        &self.key
    }

    fn site(&self) -> &Arc<Site<Self>> {
        self.permit.site()
    }

    fn is_stale(&self) -> bool {
        self.generation != self.site().generation()
    }

    fn is_alive(&mut self) -> bool {
        true
    }

    fn is_older(&self, _: &Self) -> bool {
        false
    }
}

/// A pool of two shelves for one backend.
struct Model {
    shelves: Shelves<Dummy>,
    site: Arc<Site<Dummy>>,
    open: Arc<AtomicUsize>,
    made: AtomicUsize,
    max_open: usize,
}

impl Model {
    fn new(max_open: usize, max_idle: usize) -> Arc<Self> {
        let site = Arc::new(Site::new(max_open, 8, Quota::new(max_idle, 2)));
        Arc::new(Model {
            shelves: Shelves::new(2, max_idle),
            site,
            open: Arc::default(),
            made: AtomicUsize::new(0),
            max_open,
        })
    }

    fn open(&self, key: u64, permit: Permit<Dummy>) -> Dummy {
        let before = self.open.fetch_add(1, Ordering::SeqCst);
        assert!(before < self.max_open, "more open than allowed");
        self.made.fetch_add(1, Ordering::SeqCst);
        let generation = self.site.generation();
        Dummy { key, generation, in_use: AtomicBool::new(false), open: Arc::clone(&self.open), permit }
    }

    /// Takes or makes a thing; waits by yielding, so that loom sees a blocked thread make no progress.
    fn acquire(&self, worker: usize, key: u64) -> Dummy {
        if let Some(thing) = self.shelves.take(worker, &key) {
            return thing;
        }
        let grant = match self.shelves.enter(worker, &self.site, &key) {
            Admission::Granted(grant) => grant,
            Admission::Wait(ticket) => loom::future::block_on(ticket),
            Admission::Full => unreachable!("the queue is long enough"),
        };
        match grant {
            Grant::Kept(thing) => thing,
            Grant::Permit(permit) => self.open(key, permit),
        }
    }

    /// Uses a thing alone, and gives it back.
    fn exchange(&self, worker: usize, key: u64) {
        let thing = self.acquire(worker, key);
        assert_eq!(thing.key, key);
        assert!(!thing.in_use.swap(true, Ordering::SeqCst), "handed out twice");
        thing.in_use.store(false, Ordering::SeqCst);
        self.shelves.release(worker, thing);
    }

    /// Joins the queue, if there is one, looks once and leaves.
    fn give_up(&self, worker: usize) {
        let Admission::Wait(ticket) = self.shelves.enter(worker, &self.site, &KEY) else {
            return;
        };
        let mut ticket = pin!(ticket);
        if let Poll::Ready(Grant::Kept(thing)) = ticket.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
            self.shelves.release(worker, thing);
        }
    }

    /// Nobody uses or waits for anything: what is open is idle, and all of it can be had again.
    fn check_at_rest(&self) {
        let (idle, _) = self.shelves.counts();
        assert_eq!(self.open.load(Ordering::SeqCst), idle, "a connection was lost");
        assert!(!self.site.is_awaited());
        let things: Vec<_> = (0..self.max_open).map(|_| self.acquire(0, KEY)).collect();
        assert!(matches!(self.shelves.enter(0, &self.site, &KEY), Admission::Wait(_)), "a permit too many");
        drop(things);
        self.shelves.close();
        assert_eq!(self.open.load(Ordering::SeqCst), 0);
    }
}

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // Bugs of this kind need two preemptions; three keep the search within seconds.
    builder.preemption_bound = Some(3);
    builder.check(f);
}

#[test]
fn two_threads_share_what_they_release() {
    model(|| {
        let pool = Model::new(2, 2);
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || other.exchange(1, KEY));
        pool.exchange(0, KEY);
        thread.join().unwrap();
        pool.check_at_rest();
    });
}

#[test]
fn one_connection_goes_from_hand_to_hand() {
    model(|| {
        let pool = Model::new(1, 1);
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || other.exchange(1, KEY));
        pool.exchange(0, KEY);
        thread.join().unwrap();
        assert_eq!(pool.made.load(Ordering::SeqCst), 1, "closed without need");
        pool.check_at_rest();
    });
}

#[test]
fn a_waiter_that_gives_up_loses_nothing() {
    model(|| {
        let pool = Model::new(1, 1);
        let (second, third) = (Arc::clone(&pool), Arc::clone(&pool));
        let held = pool.acquire(0, KEY);
        let one = thread::spawn(move || second.give_up(1));
        let two = thread::spawn(move || third.exchange(0, KEY));
        pool.shelves.release(0, held);
        one.join().unwrap();
        two.join().unwrap();
        pool.check_at_rest();
    });
}

#[test]
fn a_waiter_that_gives_up_passes_a_permit_on() {
    model(|| {
        let pool = Model::new(1, 1);
        let (second, third) = (Arc::clone(&pool), Arc::clone(&pool));
        let held = pool.acquire(0, KEY);
        let one = thread::spawn(move || second.give_up(1));
        let two = thread::spawn(move || third.exchange(0, KEY));
        drop(held);
        one.join().unwrap();
        two.join().unwrap();
        pool.check_at_rest();
    });
}

#[test]
fn an_idle_one_of_another_key_makes_room() {
    model(|| {
        let pool = Model::new(1, 1);
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || other.exchange(1, KEY + 1));
        pool.exchange(0, KEY);
        thread.join().unwrap();
        assert_eq!(pool.open.load(Ordering::SeqCst), 1);
        drop(pool.shelves.take(0, &(KEY + 1)));
        pool.check_at_rest();
    });
}

#[test]
fn nothing_evicted_is_kept() {
    model(|| {
        let pool = Model::new(2, 2);
        let held = pool.acquire(0, KEY);
        pool.exchange(1, KEY);
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || {
            other.site.renew();
            other.shelves.evict(&other.site);
        });
        pool.shelves.release(0, held);
        thread.join().unwrap();
        assert_eq!(pool.open.load(Ordering::SeqCst), 0);
        pool.check_at_rest();
    });
}

#[test]
fn nothing_is_kept_after_closing() {
    model(|| {
        let pool = Model::new(1, 1);
        let held = pool.acquire(0, KEY);
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || other.shelves.close());
        pool.shelves.release(1, held);
        thread.join().unwrap();
        assert_eq!(pool.open.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn the_limit_of_idle_ones_holds() {
    model(|| {
        let pool = Model::new(2, 1);
        let (first, second) = (pool.acquire(0, KEY), pool.acquire(1, KEY));
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || other.shelves.release(1, second));
        pool.shelves.release(0, first);
        thread.join().unwrap();
        assert_eq!(pool.shelves.counts().0, 1);
        pool.check_at_rest();
    });
}
