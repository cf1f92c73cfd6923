//! How much memory a key takes: the figures of the documentation.
//!
//! Run: `cargo run --release -p proxy-ratelimit --example memory_per_key`
//!
//! It fills a limiter of each algorithm with a million keys and prints the bytes that the allocator
//! was asked for, divided by them; first when each key is there, then after a million more, which
//! must not take any.

use std::alloc::System;
use std::num::NonZeroU64;

use proxy_core::Instant;
use proxy_ratelimit::{
    Algorithm, FixedWindow, Gcra, LeakyBucket, Limiter, Quota, SlidingLog, SlidingWindow, TokenBucket,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KEYS: usize = 1 << 20;

/// Bytes that are allocated now.
fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn measure<A: Algorithm>(name: &str, algorithm: A) {
    let before = in_use();
    let limiter = Limiter::new(algorithm).with_capacity(KEYS);
    let now = Instant::now();
    let fill = |from: usize| {
        (from..from + KEYS).for_each(|key| {
            limiter.check(key, now, 1);
        });
        (in_use() - before) as f64 / limiter.keys() as f64
    };
    let (full, flooded) = (fill(0), fill(KEYS));
    println!("{name:<16} {:>9} keys  {full:>6.1} B per key  {flooded:>6.1} B after as many again", limiter.keys());
}

fn main() {
    let quota = Quota::per_second(NonZeroU64::MIN);
    measure("gcra", Gcra::new(quota));
    measure("token bucket", TokenBucket::new(quota));
    measure("leaky bucket", LeakyBucket::new(quota));
    measure("fixed window", FixedWindow::new(quota));
    measure("sliding window", SlidingWindow::new(quota));
    measure("sliding log", SlidingLog::new(quota));
    measure("two of gcra", [Gcra::new(quota), Gcra::new(quota)]);
}
