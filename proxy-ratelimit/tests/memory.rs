//! What a limiter with a million keys takes, and that a flood of others takes no more. A program of its
//! own: others would allocate.

use std::alloc::System;

use proxy_ratelimit::{Algorithm, Gcra, Limiter, Quota, Time, TokenBucket};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KEYS: u64 = 1_000_000;

/// Bytes that are allocated now.
fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// A number that looks random, a different one each time (the finaliser of SplitMix64).
fn random(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A million clients, then a million random keys of an attacker: bytes per key after the one and the other.
fn flood<A: Algorithm>(algorithm: A) -> (f64, f64) {
    let before = in_use();
    let limiter = Limiter::new(algorithm).with_capacity(KEYS as usize);
    let now = Time::now();
    let fill = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            limiter.check(random(number), now, 1);
            // Who asks now and then stays within what is allowed, whatever else goes on.
            if number % 100_000 == 0 {
                assert!(limiter.check("honest", now, 1).is_allowed(), "after {number} keys");
            }
        }
        (in_use() - before) as f64 / KEYS as f64
    };
    let (full, flooded) = (fill(0..KEYS), fill(KEYS..2 * KEYS));
    assert!(limiter.keys() <= limiter.capacity() && limiter.evicted() > 0);
    (full, flooded)
}

/// The figures of [`Limiter`]'s documentation, and of the README.
#[test]
fn a_million_keys_take_what_the_documentation_says() {
    let quota = || "20/s".parse::<Quota>().unwrap();
    for (name, most, (full, flooded)) in
        [("gcra", 32.0, flood(Gcra::new(quota()))), ("token bucket", 48.0, flood(TokenBucket::new(quota())))]
    {
        println!("{name}: {full:.1} bytes per key, {flooded:.1} after a flood");
        assert!(full <= most && flooded <= most, "{name}: {full} {flooded}");
    }
}
