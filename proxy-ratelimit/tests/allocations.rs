//! A decision about a key that is there takes no memory. A program of its own: others would allocate.

use std::alloc::System;
use std::hint::black_box;

use http::{HeaderName, Method};
use proxy_core::{Body, Context, Filter, Instant, RequestHead};
use proxy_ratelimit::{Gcra, Key, Limiter, RateLimit, SlidingLog, SlidingWindow, TokenBucket};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[track_caller]
fn takes_nothing(mut work: impl FnMut()) {
    work();
    let region = Region::new(ALLOCATOR);
    (0..100).for_each(|_| work());
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
}

#[test]
fn a_decision_about_a_known_key_takes_no_memory() {
    let now = Instant::now();
    let quota = "1000000/s".parse().unwrap();
    let gcra = Limiter::new(Gcra::new(quota)).with_global(quota);
    takes_nothing(|| assert!(black_box(gcra.check("192.0.2.1", now, 1)).is_allowed()));
    let bucket = Limiter::new([TokenBucket::new(quota), TokenBucket::new(quota)]);
    takes_nothing(|| assert!(black_box(bucket.check(("ada", 7), now, 1)).is_allowed()));
    let window = Limiter::new(SlidingWindow::new(quota));
    takes_nothing(|| assert!(black_box(window.check(7, now, 1)).is_allowed()));
    // The log of one time is one entry.
    let log = Limiter::new(SlidingLog::new(quota));
    takes_nothing(|| assert!(black_box(log.check(7, now, 1)).is_allowed()));

    let key = Key::host().and(Key::header(HeaderName::from_static("x-api-key"))).and(Key::path());
    let filter = RateLimit::new(Limiter::new(TokenBucket::new(quota)), key);
    let mut head = RequestHead::new(Method::GET, "http://API.example/a").unwrap();
    head.headers_mut().insert(HeaderName::from_static("x-api-key"), "k".parse().unwrap());
    let mut request = proxy_core::Request::new(head, Body::empty());
    let mut context = Context::internal();
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    takes_nothing(|| {
        let mut hook = filter.on_request(&mut request, &mut context);
        assert!(hook.as_mut().poll(&mut task).is_ready());
    });
}
