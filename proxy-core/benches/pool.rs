//! The pool's hot path: checkout and release of a kept connection, alone and with a second thread.
//!
//! ```text
//! cargo bench -p proxy-core --bench pool
//! ```
//!
//! The stream costs next to nothing, so what is measured is the pool, two readings of the clock
//! included (one at checkout, one when the exchange ends). Two threads measure the time of one pair
//! on either: as long as one thread's means no contention, twice that means none at once.

use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use proxy_core::{Backend, Connector, Instant, Io, Pool, SharedPool, Target};
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

/// Each thread holds one connection before it begins, and lays it down on its own shelf.
fn warm(pool: &SharedPool, target: &Target) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { pool.acquire(target, None).await.expect("a connection").release() });
}

fn exchange(pool: &SharedPool, target: &Target) {
    if let Some(lease) = pool.checkout(black_box(target)) {
        lease.release();
    }
}

/// Measures this thread while another does the same with `theirs`.
fn beside(criterion: &mut Criterion, name: &str, pool: &SharedPool, [ours, theirs]: [&Target; 2]) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            warm(pool, theirs);
            while !stop.load(Ordering::Relaxed) {
                exchange(pool, theirs);
            }
        });
        warm(pool, ours);
        criterion.bench_function(name, |bencher| bencher.iter(|| exchange(pool, ours)));
        stop.store(true, Ordering::Relaxed);
    });
}

fn pool(criterion: &mut Criterion) {
    let pool = SharedPool::builder().connector(Arc::new(InMemory)).build();
    let target = |address: &str| Target::new(Backend::new(address.parse().expect("an address")));
    let (one, two) = (target("127.0.0.1:9001"), target("127.0.0.1:9002"));
    warm(&pool, &one);
    criterion.bench_function("pool/clock", |bencher| bencher.iter(Instant::now));
    criterion.bench_function("pool/one_thread", |bencher| bencher.iter(|| exchange(&pool, &one)));
    beside(criterion, "pool/two_threads_same_target", &pool, [&one, &one]);
    beside(criterion, "pool/two_threads_distinct_targets", &pool, [&one, &two]);
}

criterion_group!(benches, pool);
criterion_main!(benches);
