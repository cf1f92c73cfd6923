use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{advance, sleep};

use super::*;
use crate::pool::Protocol;
use crate::{ClientHandshake, Fault, Io};

const SECOND: Duration = Duration::from_secs(1);

/// Connects in memory and keeps the far ends; fails or stalls as told.
#[derive(Default)]
struct Origin {
    ends: Mutex<Vec<DuplexStream>>,
    fail: Mutex<Option<io::ErrorKind>>,
    delay: Mutex<Duration>,
    seen: Mutex<Vec<PoolEvent>>,
}

#[async_trait]
impl Connector for Origin {
    async fn connect(&self, _: &Target) -> io::Result<Box<dyn Io>> {
        let delay = *self.delay.lock().unwrap();
        sleep(delay).await;
        if let Some(kind) = *self.fail.lock().unwrap() {
            return Err(kind.into());
        }
        let (near, far) = tokio::io::duplex(64);
        self.ends.lock().unwrap().push(far);
        Ok(Box::new(near))
    }
}

impl Observer for Origin {
    fn on_pool(&self, _: &Backend, event: PoolEvent) {
        self.seen.lock().unwrap().push(event);
    }
}

/// A pool over an origin in memory, and a target there.
struct Lab {
    pool: SharedPool,
    origin: Arc<Origin>,
    target: Target,
}

fn lab(configure: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Lab {
    let origin = Arc::new(Origin::default());
    let builder = SharedPool::builder().connector(origin.clone()).observer(origin.clone());
    Lab { pool: configure(builder).build(), origin, target: target("127.0.0.1:9000") }
}

/// TLS that is none: what matters here is that it is not another's.
#[derive(Debug)]
struct Plain;

#[async_trait]
impl ClientHandshake for Plain {
    async fn perform(&self, io: Box<dyn Io>, _: &Target) -> io::Result<Box<dyn Io>> {
        Ok(io)
    }
}

fn secure() -> Arc<dyn ClientHandshake> {
    Arc::new(Plain)
}

fn target(address: &str) -> Target {
    Target::new(Backend::new(address.parse().unwrap()))
}

/// Unequal for connections that are open at the same time.
fn id(lease: &mut Lease) -> usize {
    lease.connection().stream().id()
}

impl Lab {
    async fn acquire(&self) -> Lease {
        self.pool.acquire(&self.target, None).await.unwrap()
    }

    /// Opens so many connections at once and releases them in order; their ids.
    async fn fill(&self, count: usize) -> Vec<usize> {
        let mut leases = Vec::new();
        for _ in 0..count {
            leases.push(self.acquire().await);
        }
        let ids = leases.iter_mut().map(id).collect();
        leases.into_iter().for_each(|lease| lease.release(Instant::now()));
        ids
    }

    fn checkout(&self) -> Option<Lease> {
        self.pool.checkout(&self.target, Instant::now())
    }

    /// Waits in a task of its own, and is in the queue when this returns.
    async fn wait(&self, deadline: Option<Instant>) -> JoinHandle<Result<Lease>> {
        let (pool, target) = (self.pool.clone(), self.target.clone());
        let waiter = tokio::spawn(async move { pool.acquire(&target, deadline).await });
        tokio::task::yield_now().await;
        waiter
    }

    /// Open connections, those idle among them, and those waiting.
    #[track_caller]
    fn check(&self, open: u64, idle: usize, waiting: usize) {
        let stats = self.pool.stats();
        assert_eq!((stats.opened - stats.closed, stats.idle, stats.waiting), (open, idle, waiting), "{stats:?}");
    }
}

fn kind(result: Result<Lease>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test(start_paused = true)]
async fn the_one_used_last_comes_first() {
    let lab = lab(|pool| pool);
    let ids = lab.fill(3).await;
    let mut leases: Vec<_> = std::iter::from_fn(|| lab.checkout()).collect();
    assert_eq!(leases.iter_mut().map(id).rev().collect::<Vec<_>>(), ids);
    assert!(leases.iter().all(Lease::is_reused));
    lab.check(3, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_lease_closes_its_connection() {
    let lab = lab(|pool| pool);
    drop(lab.acquire().await);
    lab.check(0, 0, 0);
    assert!(lab.checkout().is_none());
}

#[tokio::test(start_paused = true)]
async fn only_what_is_equal_in_full_is_shared() {
    let lab = lab(|pool| pool);
    lab.fill(1).await;
    let other = Target::new(Backend::new("127.0.0.1:9000".parse().unwrap()));
    for target in [lab.target.clone().with_tls(secure()), lab.target.clone().with_proxy_header([1].into()), other] {
        assert!(lab.pool.checkout(&target, Instant::now()).is_none(), "{target:?}");
        assert_eq!(target.protocol(), Protocol::Http1);
    }
    assert!(lab.pool.checkout(&lab.target.clone(), Instant::now()).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_carried_a_proxy_header_is_closed_after_its_exchange() {
    let lab = lab(|pool| pool.max_open_per_backend(1));
    let target = lab.target.clone().with_proxy_header([1].into());
    lab.pool.acquire(&target, None).await.unwrap().release(Instant::now());
    lab.check(0, 0, 0);
    assert!(lab.pool.checkout(&target, Instant::now()).is_none());
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_of_a_backend_the_longest_idle_makes_room() {
    let lab = lab(|pool| pool.max_idle_per_backend(2));
    let ids = lab.fill(3).await;
    lab.check(2, 2, 0);
    assert_eq!(lab.pool.idle(&lab.target), 2);
    assert_eq!(lab.checkout().as_mut().map(id), Some(ids[2]));
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_in_all_the_longest_idle_makes_room() {
    let lab = lab(|pool| pool.max_idle(2));
    let other = target("127.0.0.1:9001");
    lab.fill(1).await;
    advance(SECOND).await;
    lab.pool.acquire(&other, None).await.unwrap().release(Instant::now());
    advance(SECOND).await;
    let mut lease = lab.pool.acquire(&target("127.0.0.1:9002"), None).await.unwrap();
    assert!(!lease.is_reused() && id(&mut lease) != 0);
    lease.release(Instant::now());
    lab.check(2, 2, 0);
    assert_eq!((lab.pool.idle(&lab.target), lab.pool.idle(&other)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_may_keep_nothing_still_connects() {
    for lab in [lab(|pool| pool.max_idle(0)), lab(|pool| pool.max_idle_per_backend(0))] {
        lab.fill(2).await;
        lab.check(0, 0, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_order() {
    let lab = lab(|pool| pool.max_open_per_backend(1));
    let mut held = lab.acquire().await;
    let held_id = id(&mut held);
    let (first, second) = (lab.wait(None).await, lab.wait(None).await);
    lab.check(1, 0, 2);
    held.release(Instant::now());
    let mut lease = first.await.unwrap().unwrap();
    assert_eq!((id(&mut lease), lease.is_reused(), second.is_finished()), (held_id, true, false));
    drop(lease);
    assert!(!second.await.unwrap().unwrap().is_reused());
    lab.check(0, 0, 0);
    assert_eq!((lab.pool.stats().opened, lab.pool.stats().reused), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_idle_one_of_another_target_makes_room() {
    let lab = lab(|pool| pool.max_open_per_backend(1));
    let tls = lab.target.clone().with_tls(secure());
    lab.fill(1).await;
    let lease = lab.pool.acquire(&tls, None).await.unwrap();
    lab.check(1, 0, 0);
    let waiter = lab.wait(None).await;
    lease.release(Instant::now());
    assert!(!waiter.await.unwrap().unwrap().is_reused());
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_keeps_its_deadline() {
    let lab = lab(|pool| pool.max_open_per_backend(1).max_pending(1));
    let held = lab.acquire().await;
    let waiter = lab.wait(Some(Instant::now() + SECOND)).await;
    assert_eq!(kind(lab.pool.acquire(&lab.target, None).await), ErrorKind::PoolFull);
    assert_eq!(kind(waiter.await.unwrap()), ErrorKind::PoolTimeout);
    held.release(Instant::now());
    lab.check(1, 1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_loses_nothing() {
    let lab = lab(|pool| pool.max_open_per_backend(1));
    let held = lab.acquire().await;
    let queued = lab.wait(None).await;
    queued.abort();
    assert!(queued.await.is_err());
    lab.check(1, 0, 0);
    let granted = lab.wait(None).await;
    held.release(Instant::now()); // goes to the waiter, which has not been polled since
    granted.abort();
    assert!(granted.await.is_err());
    lab.check(1, 1, 0);
    let held = lab.acquire().await;
    let permitted = lab.wait(None).await;
    drop(held);
    permitted.abort();
    assert!(permitted.await.is_err());
    lab.check(0, 0, 0);
    assert!(!lab.acquire().await.is_reused());
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_is_given_up_frees_its_place() {
    let lab = lab(|pool| pool.max_open_per_backend(1));
    *lab.origin.delay.lock().unwrap() = SECOND;
    let connecting = lab.wait(None).await;
    let waiter = lab.wait(None).await;
    connecting.abort();
    waiter.await.unwrap().unwrap().release(Instant::now());
    lab.check(1, 1, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_idle_too_long_is_not_used() {
    let lab = lab(|pool| pool.idle_timeout(10 * SECOND));
    lab.fill(1).await;
    advance(9 * SECOND).await;
    lab.checkout().unwrap().release(Instant::now());
    advance(9 * SECOND).await;
    lab.checkout().unwrap().release(Instant::now());
    advance(10 * SECOND).await;
    assert!(lab.checkout().is_none());
    lab.check(0, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_not_used() {
    let lab = lab(|pool| pool.max_age(10 * SECOND));
    lab.fill(1).await;
    advance(9 * SECOND).await;
    let lease = lab.checkout().unwrap();
    advance(SECOND).await;
    lease.release(Instant::now());
    lab.check(0, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_after_its_last_exchange() {
    let lab = lab(|pool| pool.max_requests(2));
    lab.fill(1).await;
    lab.checkout().unwrap().release(Instant::now());
    assert!(lab.checkout().is_none());
    lab.check(0, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_other_side_closed_is_passed_over() {
    let lab = lab(|pool| pool);
    let ids = lab.fill(3).await;
    lab.origin.ends.lock().unwrap().truncate(1);
    let mut lease = lab.acquire().await;
    assert_eq!(id(&mut lease), ids[0]);
    lab.check(1, 0, 0);
    assert_eq!((lab.pool.stats().reused, lab.pool.stats().closed), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn what_spoke_unasked_is_not_used() {
    let lab = lab(|pool| pool.max_open_per_backend(1));
    lab.fill(1).await;
    let mut end = lab.origin.ends.lock().unwrap().pop().unwrap();
    end.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
    assert!(lab.checkout().is_none());
    let held = lab.acquire().await;
    let waiter = lab.wait(None).await;
    let mut end = lab.origin.ends.lock().unwrap().pop().unwrap();
    end.write_all(b"!").await.unwrap();
    held.release(Instant::now());
    assert!(!waiter.await.unwrap().unwrap().is_reused());
}

#[tokio::test(start_paused = true)]
async fn an_evicted_backend_keeps_nothing() {
    let lab = lab(|pool| pool);
    lab.fill(2).await;
    let (held, tls) = (lab.acquire().await, lab.target.clone().with_tls(secure()));
    lab.pool.acquire(&tls, None).await.unwrap().release(Instant::now());
    lab.pool.evict(lab.target.backend());
    lab.check(1, 0, 0);
    held.release(Instant::now());
    lab.check(0, 0, 0);
    lab.fill(1).await;
    lab.check(1, 1, 0);
    lab.pool.evict(target("127.0.0.1:9009").backend());
}

#[tokio::test(start_paused = true)]
async fn a_thread_without_idle_connections_takes_anothers() {
    let lab = lab(|mut pool| {
        pool.shards = 64;
        pool
    });
    let ids = lab.fill(2).await;
    let (pool, target) = (lab.pool.clone(), lab.target.clone());
    let steal = move || {
        let mut lease = pool.checkout(&target, Instant::now()).unwrap();
        let id = id(&mut lease);
        lease.release(Instant::now());
        id
    };
    let stolen = [std::thread::spawn(steal.clone()).join().unwrap(), std::thread::spawn(steal).join().unwrap()];
    assert_eq!(stolen[0], ids[1]);
    assert!(ids.contains(&stolen[1]));
    lab.check(2, 2, 0);
}

#[test]
fn two_threads_at_once_never_share_a_connection() {
    const ROUNDS: u64 = 10_000;
    let lab = lab(|mut pool| {
        pool.shards = 2;
        pool.max_open_per_backend(1)
    });
    let run = |lab: &Lab| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for _ in 0..ROUNDS {
                lab.acquire().await.release(Instant::now());
            }
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(|| run(&lab));
        scope.spawn(|| run(&lab));
    });
    lab.check(1, 1, 0);
    assert_eq!((lab.pool.stats().opened, lab.pool.stats().reused), (1, 2 * ROUNDS - 1));
}

#[tokio::test(start_paused = true)]
async fn the_sweeper_closes_what_nobody_takes() {
    let lab = lab(|pool| pool.idle_timeout(10 * SECOND));
    lab.fill(3).await;
    lab.origin.ends.lock().unwrap().pop();
    sleep(3 * SECOND).await;
    lab.check(2, 2, 0);
    sleep(10 * SECOND).await;
    lab.check(0, 0, 0);
    assert!(lab.pool.inner.sites().is_empty());
    assert!((0..lab.pool.inner.shelves.len()).all(|worker| lab.pool.inner.shelves.keys(worker).is_empty()));
    lab.fill(1).await;
    lab.check(1, 1, 0);
}

#[tokio::test(start_paused = true)]
async fn the_sweeper_goes_through_more_than_one_batch() {
    let lab = lab(|pool| pool);
    lab.fill(200).await;
    let mut index = 0;
    lab.origin.ends.lock().unwrap().retain(|_| {
        index += 1;
        index % 3 == 0
    });
    sleep(6 * SECOND).await;
    lab.check(66, 66, 0);
}

#[tokio::test(start_paused = true)]
async fn the_sweeper_and_the_connections_end_with_the_pool() {
    let lab = lab(|pool| pool);
    let held = lab.acquire().await;
    lab.fill(1).await;
    let (weak, tasks) = (Arc::downgrade(&lab.pool.inner), tokio::runtime::Handle::current().metrics());
    assert_eq!(tasks.num_alive_tasks(), 1);
    drop(lab.pool);
    assert_eq!(weak.upgrade().map(|pool| pool.shelves.counts().0), Some(0));
    held.release(Instant::now());
    assert!(weak.upgrade().is_none());
    sleep(6 * SECOND).await;
    assert_eq!(tasks.num_alive_tasks(), 0);
}

#[test]
fn the_sweeper_starts_anew_on_another_runtime() {
    let lab = lab(|pool| pool);
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { drop(lab.acquire().await) });
        assert!(lab.pool.inner.sweeping.load(Ordering::Relaxed));
        drop(runtime);
        assert!(!lab.pool.inner.sweeping.load(Ordering::Relaxed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_fails_says_why() {
    let named = target("backend.example:80");
    let unix = target("unix:/run/backend.sock");
    let table = [
        (&named, io::ErrorKind::NotFound, ErrorKind::Resolve),
        (&unix, io::ErrorKind::NotFound, ErrorKind::ConnectRefused),
        (&named, io::ErrorKind::ConnectionRefused, ErrorKind::ConnectRefused),
        (&named, io::ErrorKind::TimedOut, ErrorKind::ConnectTimeout),
    ];
    let lab = lab(|pool| pool.max_open_per_backend(1));
    for (target, fails, expected) in table {
        *lab.origin.fail.lock().unwrap() = Some(fails);
        let error = lab.pool.acquire(target, None).await.unwrap_err();
        assert_eq!((error.kind(), error.fault()), (expected, Fault::Upstream));
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.map(io::Error::kind), Some(fails));
    }
    lab.check(0, 0, 0);
}

#[tokio::test(start_paused = true)]
async fn connecting_takes_no_longer_than_it_may() {
    let lab = lab(|pool| pool.connect_timeout(3 * SECOND));
    *lab.origin.delay.lock().unwrap() = 10 * SECOND;
    let start = Instant::now();
    assert_eq!(kind(lab.pool.acquire(&lab.target, None).await), ErrorKind::ConnectTimeout);
    assert_eq!(start.elapsed(), 3 * SECOND);
    assert_eq!(kind(lab.pool.acquire(&lab.target, Some(Instant::now() + SECOND)).await), ErrorKind::ConnectTimeout);
    assert_eq!(start.elapsed(), 4 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_observer_sees_it_all() {
    let lab = lab(|pool| pool.max_open_per_backend(1));
    *lab.origin.delay.lock().unwrap() = SECOND;
    let held = lab.acquire().await;
    let waiter = lab.wait(None).await;
    held.release(Instant::now());
    drop(waiter.await.unwrap());
    *lab.origin.fail.lock().unwrap() = Some(io::ErrorKind::ConnectionRefused);
    assert!(lab.pool.acquire(&lab.target, None).await.is_err());
    let expected =
        [PoolEvent::Opened(SECOND), PoolEvent::Waiting, PoolEvent::Reused, PoolEvent::Closed, PoolEvent::Failed];
    assert_eq!(*lab.origin.seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_stats_show_the_reuse_ratio() {
    let lab = lab(|pool| pool);
    assert_eq!(lab.pool.stats().reuse_ratio(), 0.0);
    for _ in 0..1000 {
        lab.acquire().await.release(Instant::now());
    }
    assert_eq!(lab.pool.stats().reuse_ratio(), 0.999);
    assert_eq!(lab.pool.stats(), PoolStats { opened: 1, reused: 999, closed: 0, idle: 1, waiting: 0 });
}

/// A limit over several shards is never exceeded, and three quarters of it can be used by one.
#[test]
fn a_quota_holds_over_its_shards() {
    for (limit, shards) in [(0, 1), (1, 4), (7, 2), (256, 2), (4096, 64)] {
        let quota = quota::Quota::new(limit, shards);
        let mut shares: Vec<_> = (0..shards).map(|_| quota::Share::default()).collect();
        let mut drawn = vec![0_usize; shards];
        for step in 0..20 * limit {
            let shard = step * 7 % shards;
            if step % 5 < 3 {
                drawn[shard] += usize::from(shares[shard].draw(&quota));
            } else if drawn[shard] > 0 {
                drawn[shard] -= 1;
                shares[shard].restore(&quota);
            }
            assert!(drawn.iter().sum::<usize>() <= limit);
        }
        while shares[0].draw(&quota) {
            drawn[0] += 1;
        }
        assert!(drawn.iter().sum::<usize>() >= limit - limit / 4, "{limit} over {shards}: {drawn:?}");
    }
}

#[test]
fn a_pool_is_a_shared_object() {
    fn shared<T: Clone + Send + Sync + fmt::Debug>(_: T) {}
    shared(SharedPool::default());
    let _: Arc<dyn Pool> = Arc::new(SharedPool::default());
}
