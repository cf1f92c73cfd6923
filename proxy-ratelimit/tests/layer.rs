//! The tower layer, and limits that are counted somewhere else.

use std::convert::Infallible;
use std::num::NonZeroU64;
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response, StatusCode};
use proxy_core::testing::TestProxy;
use proxy_ratelimit::{
    Algorithm, Announce, Answered, Gcra, Key, LeakyBucket, Limiter, Missing, Quota, RateLimit, Remote, Time,
};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};

/// What the service behind `limit` answers, one request after the other.
async fn ask(limit: &RateLimit, count: usize) -> Vec<Response<String>> {
    let inner = service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::new("inside".to_owned())));
    let mut service = limit.layer().layer(inner);
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(service.ready().await.unwrap().call(Request::new(String::new())).await.unwrap());
    }
    answers
}

async fn statuses(limit: &RateLimit, count: usize) -> Vec<u16> {
    ask(limit, count).await.iter().map(|answer| answer.status().as_u16()).collect()
}

fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_reach_the_service() {
    let limit = RateLimit::new(Limiter::new(Gcra::new(quota("1/m"))), Key::everything()).announce(Announce::Always);
    let answers = ask(&limit, 2).await;
    assert_eq!((answers[0].status(), answers[0].body().as_str()), (StatusCode::OK, "inside"));
    assert_eq!(answers[0].headers()["ratelimit"], "\"default\";r=0;t=60");
    assert_eq!((answers[1].status(), answers[1].body().as_str()), (StatusCode::TOO_MANY_REQUESTS, ""));
    assert_eq!(answers[1].headers()["retry-after"], "60");
    // The same limit, in a proxy.
    let mut client = TestProxy::around(limit).connect();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.read_response().await.status(), 429);
}

#[tokio::test(start_paused = true)]
async fn a_leaky_bucket_delays_the_service() {
    let bucket = LeakyBucket::new(quota("10/s").with_burst(NonZeroU64::new(5).unwrap()));
    let limit = RateLimit::new(Limiter::new(bucket), Key::everything());
    let started = Instant::now();
    assert_eq!(statuses(&limit, 3).await, [200; 3]);
    assert_eq!(started.elapsed().as_millis() / 10 * 10, 200);
    assert_eq!(limit.stats().delayed, 2);
}

/// Counts somewhere else: that takes a second, and this is what it says.
#[derive(Debug)]
struct Elsewhere(fn(u64) -> Answered);

#[async_trait]
impl Remote for Elsewhere {
    async fn check(&self, key: &[u8], _: Time, cost: u64) -> Answered {
        assert!(key.is_empty());
        tokio::time::sleep(Duration::from_secs(1)).await;
        (self.0)(cost)
    }

    fn quotas(&self) -> Vec<Quota> {
        vec![quota("1/s")]
    }
}

/// What a bucket that was just filled says.
fn fresh(cost: u64) -> Answered {
    let gcra = Gcra::new(quota("1/s"));
    Answered::Decided(gcra.decide(&mut gcra.fresh(Time::ZERO), Time::ZERO, cost))
}

#[tokio::test(start_paused = true)]
async fn what_someone_else_says_goes() {
    type Case = (fn(u64) -> Answered, bool, u16);
    let cases: [Case; 4] = [
        (fresh, false, 200),
        (|_| Answered::Open, false, 200),
        (|_| Answered::Closed, false, 503),
        (|_| Answered::Closed, true, 200),
    ];
    for (says, dry_run, expected) in cases {
        let limit = RateLimit::remote(Elsewhere(says), Key::everything()).dry_run(dry_run);
        let started = Instant::now();
        assert_eq!(statuses(&limit, 1).await, [expected]);
        assert_eq!(started.elapsed(), Duration::from_secs(1));
        let mut client = TestProxy::around(limit.clone()).connect();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(client.read_response().await.status(), expected);
    }
    // Nobody is asked about a key that is not there.
    for (missing, expected) in [(Missing::Allow, 200), (Missing::Deny, 429)] {
        let limit = RateLimit::remote(Elsewhere(fresh), Key::cookie("a")).missing_key(missing);
        let started = Instant::now();
        assert_eq!((statuses(&limit, 1).await, started.elapsed()), (vec![expected], Duration::ZERO));
    }
}
