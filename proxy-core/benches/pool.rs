//! The pool's hot path: checkout and release of a kept connection, alone and with a second thread.
//!
//! Run: `cargo bench -p proxy-core --bench pool`
//!
//! The stream costs next to nothing, so what is measured is the pool, two readings of the clock
//! included (one at checkout, one when the exchange ends). Two threads measure the time of one pair
//! on either: as long as one thread's means no contention.

use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use proxy_core::{Backend, Connector, Instant, Io, Lease, Pool, SharedPool, Target};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that never says anything.
struct Silent;

impl AsyncRead for Silent {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Silent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Io for Silent {}

struct InMemory;

#[async_trait]
impl Connector for InMemory {
    async fn connect(&self, _: &Target) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(Silent))
    }
}

/// A connection that was made just now.
fn connect(pool: &SharedPool, target: &Target) -> Lease {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { pool.acquire(target, None).await.expect("a connection") })
}

fn exchange(pool: &SharedPool, target: &Target) {
    if let Some(lease) = pool.checkout(black_box(target), Instant::now()) {
        lease.release(Instant::now());
    }
}

/// Measures this thread while another does the same with `theirs`, each with one connection of its own.
fn beside(criterion: &mut Criterion, name: &str, [ours, theirs]: [&Target; 2]) {
    let (pool, both, stop) = (new_pool(), Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lease = connect(&pool, theirs);
            both.wait();
            lease.release(Instant::now());
            while !stop.load(Ordering::Relaxed) {
                exchange(&pool, theirs);
            }
        });
        let lease = connect(&pool, ours);
        both.wait();
        lease.release(Instant::now());
        criterion.bench_function(name, |bencher| bencher.iter(|| exchange(&pool, ours)));
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(pool.stats().opened, 2);
}

fn new_pool() -> SharedPool {
    SharedPool::builder().connector(Arc::new(InMemory)).build()
}

fn pool(criterion: &mut Criterion) {
    let target = |address: &str| Target::new(Backend::new(address.parse().expect("an address")));
    let (one, two) = (target("127.0.0.1:9001"), target("127.0.0.1:9002"));
    let pool = new_pool();
    connect(&pool, &one).release(Instant::now());
    criterion.bench_function("pool/clock", |bencher| bencher.iter(Instant::now));
    criterion.bench_function("pool/one_thread", |bencher| {
        bencher.iter(|| exchange(&pool, &one));
    });
    beside(criterion, "pool/two_threads_same_target", [&one, &one]);
    beside(criterion, "pool/two_threads_distinct_targets", [&one, &two]);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(1000))
        .nresamples(10_000);
    targets = pool
}
criterion_main!(benches);
