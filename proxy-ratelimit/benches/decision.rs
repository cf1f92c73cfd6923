//! One decision: each algorithm, against `governor`, from one thread and from two, and about new keys.
//!
//! Run: `cargo bench -p proxy-ratelimit --bench decision`
//!
//! The clock is not part of a decision here (both sides get the time as an argument, but for the rows
//! that say `with clock`), the hash of the key is. "two threads" is the time per decision of both
//! together: half of one thread's would be twice as many.

use std::hint::black_box;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use governor::RateLimiter;
use governor::clock::FakeRelativeClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DefaultKeyedStateStore;
use proxy_core::Instant;
use proxy_ratelimit::{
    Algorithm, AtomicGcra, FixedWindow, Gcra, LeakyBucket, Limiter, Quota, SlidingLog, SlidingWindow, Time, TokenBucket,
};

/// Never used up: an allowed decision is the common one, and the dearer one.
const RATE: u32 = 1_000_000_000;
/// Live keys, more than the processor's caches hold.
const KEYS: u32 = 1 << 20;

fn quota() -> Quota {
    Quota::per_second(NonZeroU64::new(RATE.into()).expect("not zero"))
}

fn governor_quota() -> governor::Quota {
    governor::Quota::per_second(NonZeroU32::new(RATE).expect("not zero"))
}

type Address = [u8; 4];

/// With a clock that costs nothing and stands still.
fn governor() -> RateLimiter<Address, DefaultKeyedStateStore<Address>, FakeRelativeClock, NoOpMiddleware<Nanos>> {
    RateLimiter::new(governor_quota(), DefaultKeyedStateStore::default(), FakeRelativeClock::default())
}

/// Addresses as keys, not in the order of the slots.
fn address(number: u32) -> Address {
    number.wrapping_mul(0x9e37_79b1).to_be_bytes()
}

fn states(c: &mut Criterion) {
    let mut group = c.benchmark_group("algorithm alone");
    let mut now = 0u64;
    macro_rules! row {
        ($name:literal, $algorithm:expr) => {
            let algorithm = $algorithm;
            let mut state = algorithm.fresh(Time::ZERO);
            group.bench_function($name, |b| {
                b.iter(|| {
                    now += 100;
                    algorithm.decide(&mut state, Time::from_nanos(now), black_box(1))
                })
            });
        };
    }
    row!("gcra", Gcra::new(quota()));
    row!("token bucket", TokenBucket::new(quota()));
    row!("leaky bucket", LeakyBucket::new(quota()));
    row!("fixed window", FixedWindow::new(quota()));
    row!("sliding window", SlidingWindow::new(quota()));
    let small = Quota::per_second(NonZeroU64::new(1000).expect("not zero"));
    row!("sliding log of 1000", SlidingLog::new(small));
    let atomic = AtomicGcra::new(quota());
    group.bench_function("gcra, atomic", |b| b.iter(|| atomic.decide(Time::from_nanos(5), black_box(1))));
    group.finish();
}

fn one_key(c: &mut Criterion) {
    let mut group = c.benchmark_group("limiter, one key");
    let now = Time::now();
    macro_rules! row {
        ($name:literal, $algorithm:expr) => {
            let limiter = Limiter::new($algorithm);
            group.bench_function($name, |b| b.iter(|| limiter.check(black_box(address(1)), now, 1)));
        };
    }
    row!("gcra", Gcra::new(quota()));
    row!("token bucket", TokenBucket::new(quota()));
    row!("sliding window", SlidingWindow::new(quota()));
    row!("two of gcra", [Gcra::new(quota()), Gcra::new(quota())]);
    let global = Limiter::new(Gcra::new(quota())).with_global(quota());
    group.bench_function("gcra and a global limit", |b| b.iter(|| global.check(black_box(address(1)), now, 1)));
    group.finish();
}

/// The same question to both: may this key go on? The rows above also answer how much is left.
fn beside_governor(c: &mut Criterion) {
    let mut group = c.benchmark_group("yes or no, one key");
    let now = Time::now();
    let (limiter, peer) = (Limiter::new(Gcra::new(quota())), governor());
    group.bench_function("gcra", |b| b.iter(|| limiter.check(black_box(address(1)), now, 1).is_allowed()));
    group.bench_function("governor", |b| b.iter(|| peer.check_key(black_box(&address(1))).is_ok()));
    // Ours asks tokio, so that tests can pause it; governor reads the processor's counter.
    let (limiter, peer) = (Limiter::new(Gcra::new(quota())), RateLimiter::keyed(governor_quota()));
    group.bench_function("gcra, with clock", |b| {
        b.iter(|| limiter.check(black_box(address(1)), Time::now(), 1).is_allowed());
    });
    group.bench_function("governor, with clock", |b| b.iter(|| peer.check_key(black_box(&address(1))).is_ok()));
    group.finish();
}

fn many_keys(c: &mut Criterion) {
    let mut group = c.benchmark_group("limiter, 1 M live keys");
    let now = Time::now();
    let limiter = Limiter::new(Gcra::new(quota())).with_capacity(KEYS as usize * 2);
    let governor = governor();
    for key in 0..KEYS {
        limiter.check(address(key), now, 1);
        let _ = governor.check_key(&address(key));
    }
    let mut key = 0;
    group.bench_function("gcra", |b| {
        b.iter(|| {
            key = (key + 1) % KEYS;
            limiter.check(address(key), now, 1).is_allowed()
        });
    });
    group.bench_function("governor", |b| {
        b.iter(|| {
            key = (key + 1) % KEYS;
            governor.check_key(&address(key)).is_ok()
        });
    });
    group.finish();
}

/// Full limiters, where each new key makes another one go: how many there are does not matter, but for what
/// fits into the processor's caches.
fn evictions(c: &mut Criterion) {
    let mut group = c.benchmark_group("a new key instead of an old one, of");
    let now = Time::now();
    for keys in [1 << 10, 1 << 15, KEYS] {
        let full = Limiter::new(Gcra::new(quota())).with_capacity(keys as usize);
        let mut new = 0u32;
        let mut check = || {
            new = new.wrapping_add(1);
            full.check(address(new), now, 1).is_allowed()
        };
        (0..keys * 2).for_each(|_| {
            check();
        });
        group.bench_function(keys.to_string(), |b| b.iter(&mut check));
    }
    group.finish();
}

/// The time of `each` in `threads` threads at once, as if one had done all.
fn in_threads(threads: u32, iterations: u64, each: impl Fn(u32) + Sync) -> Duration {
    let barrier = std::sync::Barrier::new(threads as usize + 1);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (barrier, each) = (&barrier, &each);
            scope.spawn(move || {
                barrier.wait();
                (0..iterations / u64::from(threads)).for_each(|_| each(thread));
                barrier.wait();
            });
        }
        barrier.wait();
        let started = Instant::now();
        barrier.wait();
        started.elapsed()
    })
}

fn threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("limiter, distinct keys");
    let now = Time::now();
    let limiter = Limiter::new(Gcra::new(quota()));
    let governor = governor();
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new("gcra, threads", threads), |b| {
            b.iter_custom(|iterations| {
                in_threads(threads, iterations, |thread| {
                    black_box(limiter.check(address(thread), now, 1).is_allowed());
                })
            });
        });
        group.bench_function(BenchmarkId::new("governor, threads", threads), |b| {
            b.iter_custom(|iterations| {
                in_threads(threads, iterations, |thread| {
                    black_box(governor.check_key(&address(thread)).is_ok());
                })
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(30);
    targets = states, one_key, beside_governor, many_keys, evictions, threads
}
criterion_main!(benches);
