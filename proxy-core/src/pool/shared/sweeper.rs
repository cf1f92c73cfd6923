//! Closes what nobody takes any more.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::Inner;
use crate::clock::Instant;
use crate::pool::Target;

/// Connections looked at under one lock: some microseconds, since each look costs some 40 ns.
const BATCH: usize = 64;

/// A round takes place four times per timeout, so that nothing stays much longer than it may.
const ROUNDS: u32 = 4;
/// Dead connections are found within this time even where the timeouts are long.
const LONGEST: Duration = Duration::from_secs(5);
/// A very short timeout does not make the sweeper busy; checkout is exact anyway.
const SHORTEST: Duration = Duration::from_millis(50);

/// Starts the sweeper on the caller's runtime, unless it runs or there is no runtime.
pub(super) fn ensure(pool: &Arc<Inner>) {
    if pool.sweeping.load(Ordering::Relaxed) {
        return;
    }
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    if !pool.sweeping.swap(true, Ordering::Relaxed) {
        let running = Running(Arc::downgrade(pool));
        runtime.spawn(run(running, period(pool)));
    }
}

fn period(pool: &Inner) -> Duration {
    let settings = &pool.settings;
    let shortest = settings.max_age.map_or(settings.idle_timeout, |age| age.min(settings.idle_timeout));
    (shortest / ROUNDS).clamp(SHORTEST, LONGEST)
}

/// Ends with its runtime or with the pool; the next connect on another runtime starts it anew.
struct Running(Weak<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.sweeping.store(false, Ordering::Relaxed);
        }
    }
}

async fn run(running: Running, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        match running.0.upgrade() {
            Some(pool) if !pool.is_closed() => sweep(&pool).await,
            _ => return,
        }
    }
}

async fn sweep(pool: &Inner) {
    for worker in 0..pool.shelves.len() {
        for target in pool.shelves.keys(worker) {
            sweep_stack(pool, worker, &target).await;
        }
        pool.shelves.prune(worker);
    }
    pool.forget_vanished();
}

/// A connection asked for the state of its socket uses up some of the task's budget, and claims to
/// be alive when that is gone (128 at present): hence the pause after each batch.
async fn sweep_stack(pool: &Inner, worker: usize, target: &Target) {
    let mut next = Some(0);
    while let Some(from) = next {
        let now = Instant::now();
        let gone;
        (gone, next) = pool.shelves.sift(worker, target, (from, BATCH), |idle| !pool.is_fit(idle, now));
        drop(gone);
        tokio::task::yield_now().await;
    }
}
