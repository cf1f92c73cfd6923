//! The filters in a proxy in memory: passing, answering, delaying, and a client that leaves.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use proxy_core::testing::{Message, Script, ScriptedConnector, TestClient, TestProxy};
use proxy_core::{Filter, Instant, Proxy, Route};
use proxy_ratelimit::{
    Announce, BandwidthLimit, ConcurrencyLimit, Gcra, Key, LeakyBucket, Limiter, Missing, Priorities, Quota, RateLimit,
};

fn quota(text: &str) -> Quota {
    text.parse().expect("a quota")
}

fn limit(rate: &str, key: Key) -> RateLimit {
    RateLimit::new(Limiter::new(Gcra::new(quota(rate))), key)
}

fn client(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

async fn get(client: &mut TestClient, fields: &str) -> Message {
    client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).await;
    client.read_response().await
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_it_is_429_until_the_time_it_says() {
    let proxy = TestProxy::around(limit("2/s", Key::client_ip()).name("api").legacy_fields(true));
    let mut one = proxy.clone().client_at(client("192.0.2.1:1")).connect();
    for _ in 0..2 {
        let answer = get(&mut one, "").await;
        assert_eq!((answer.status(), answer.header("ratelimit")), (200, None));
    }
    let refused = get(&mut one, "").await;
    assert_eq!((refused.status(), refused.text()), (429, "429 Too Many Requests\n"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"api\";q=2;w=1"));
    assert_eq!(refused.header("ratelimit"), Some("\"api\";r=0;t=1"));
    assert_eq!(refused.header("x-ratelimit-limit"), Some("2"));
    // Another client is not affected; the same one from another port is.
    assert_eq!(get(&mut proxy.clone().client_at(client("192.0.2.2:1")).connect(), "").await.status(), 200);
    assert_eq!(get(&mut proxy.client_at(client("192.0.2.1:9")).connect(), "").await.status(), 429);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(get(&mut one, "").await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_response_says_what_is_left_where_it_is_asked_to() {
    let filters: [Arc<dyn Filter>; 2] = [
        Arc::new(limit("10/s", Key::client_ip()).name("a").announce(Announce::Always)),
        Arc::new(limit("5/s", Key::everything()).name("b").announce(Announce::Always)),
    ];
    let origin = ScriptedConnector::always(Script::ok());
    let builder = Proxy::builder().upstream("ok", origin.cluster()).route(Route::to("ok"));
    let proxy = filters.into_iter().fold(builder, proxy_core::ProxyBuilder::shared_filter).build().unwrap();
    let answer = get(&mut TestProxy::new(proxy).connect(), "").await;
    let text = answer.head().to_lowercase();
    for line in ["ratelimit: \"a\";r=9;t=1\r\n", "ratelimit: \"b\";r=4;t=1\r\n", "ratelimit-policy: \"a\";q=10;w=1\r\n"]
    {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_key_has_a_policy() {
    let key = || Key::header(HeaderName::from_static("x-api-key"));
    for (missing, statuses) in [(Missing::Share, [200, 429]), (Missing::Allow, [200, 200]), (Missing::Deny, [429, 429])]
    {
        let mut client = TestProxy::around(limit("1/h", key()).missing_key(missing)).connect();
        for status in statuses {
            assert_eq!(get(&mut client, "").await.status(), status, "{missing:?}");
        }
        assert_eq!(get(&mut client, "x-api-key: k\r\n").await.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn dry_run_only_counts() {
    let filter = limit("1/h", Key::everything()).dry_run(true).announce(Announce::Always);
    let mut client = TestProxy::around(filter.clone()).connect();
    for _ in 0..3 {
        assert_eq!(get(&mut client, "").await.status(), 200);
    }
    let stats = filter.stats();
    assert_eq!((stats.would_refuse, stats.refused), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn another_status() {
    let filter = limit("1/h", Key::everything()).status(StatusCode::SERVICE_UNAVAILABLE).announce(Announce::Never);
    let mut client = TestProxy::around(filter).connect();
    get(&mut client, "").await;
    let refused = get(&mut client, "").await;
    assert_eq!((refused.status(), refused.header("ratelimit")), (503, None));
    assert_eq!(refused.header("retry-after"), Some("3600"));
}

#[tokio::test(start_paused = true)]
async fn a_leaky_bucket_lets_requests_wait() {
    let bucket = LeakyBucket::new(quota("10/s").with_burst(NonZeroU64::new(2).unwrap()));
    let proxy = TestProxy::around(RateLimit::new(Limiter::new(bucket), Key::everything()));
    let started = Instant::now();
    let request = async || {
        let status = get(&mut proxy.connect(), "").await.status();
        (status, started.elapsed().as_millis() / 10 * 10)
    };
    let (one, two, three, four) = tokio::join!(request(), request(), request(), request());
    assert_eq!([one, two, three, four], [(200, 0), (200, 100), (200, 200), (429, 0)]);
}

/// A million keys that are never the same: memory stays at its bound, and who comes regularly is served.
#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_stays_within_the_bound() {
    let limiter = Limiter::new(Gcra::new(quota("10/s"))).with_capacity(10_000);
    let now = Instant::now();
    // This one has used up its limit. It cannot wash that off.
    let spent = (0..20).filter(|_| limiter.check("spent", now, 1).is_allowed()).count();
    let mut honest = 0;
    for number in 0..1_000_000u32 {
        limiter.check(number, now, 1);
        if number % 100_000 == 0 {
            honest += u32::from(limiter.check("honest", now, 1).is_allowed());
        }
    }
    assert_eq!((spent, honest), (10, 10));
    assert!(limiter.keys() <= 10_000 && limiter.evicted() > 900_000);
    assert!(!limiter.check("spent", now, 1).is_allowed());
}

/// An origin that answers when it is told to.
fn slow(delay: Duration) -> ScriptedConnector {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    ScriptedConnector::always(Script::new().read_request().wait(delay).answer(answer).repeat())
}

fn around(filter: impl Filter, origin: &ScriptedConnector) -> TestProxy {
    let builder = Proxy::builder().filter(filter).upstream("slow", origin.cluster());
    TestProxy::new(builder.route(Route::to("slow")).build().unwrap())
}

async fn status(proxy: &TestProxy, address: &str, fields: &str) -> u16 {
    get(&mut proxy.clone().client_at(client(address)).connect(), fields).await.status()
}

#[tokio::test(start_paused = true)]
async fn so_many_run_so_many_wait_and_the_rest_is_refused() {
    let filter = Arc::new(ConcurrencyLimit::new(1).queue(1, Duration::from_secs(10)));
    let proxy = around(Arc::clone(&filter), &slow(Duration::from_secs(1)));
    let started = Instant::now();
    let request = async || (status(&proxy, "192.0.2.1:1", "").await, started.elapsed().as_secs());
    let (one, two, three) = tokio::join!(request(), request(), request());
    assert_eq!([one, two, three], [(200, 1), (200, 2), (503, 0)]);
    assert_eq!(filter.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_refused() {
    let proxy = around(ConcurrencyLimit::new(1).queue(1, Duration::from_millis(500)), &slow(Duration::from_secs(1)));
    let request = async || status(&proxy, "192.0.2.1:1", "").await;
    assert_eq!(tokio::join!(request(), request()), (200, 503));
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_concurrency() {
    let proxy = around(ConcurrencyLimit::keyed(Key::client_ip(), 1), &slow(Duration::from_secs(1)));
    let request = async |address| status(&proxy, address, "").await;
    let all = tokio::join!(request("192.0.2.1:1"), request("192.0.2.1:2"), request("192.0.2.2:1"));
    assert_eq!(all, (200, 429, 200));
    assert_eq!(request("192.0.2.1:3").await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_frees_its_place() {
    let filter = Arc::new(ConcurrencyLimit::new(1));
    let proxy = around(Arc::clone(&filter), &slow(Duration::from_secs(3600)));
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    while filter.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    client.leave().await;
    assert_eq!(filter.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn lower_classes_are_shed_first() {
    let priorities = Priorities::new(HeaderName::from_static("x-priority")).class("high", 100).class("low", 50);
    let proxy = around(ConcurrencyLimit::new(2).priorities(priorities), &slow(Duration::from_secs(1)));
    let request = async |class| status(&proxy, "192.0.2.1:1", class).await;
    let (low, high) = ("x-priority: low\r\n", "x-priority: high\r\n");
    let all = tokio::join!(request(low), request(low), request(""), request(high), request(high));
    assert_eq!(all, (200, 503, 503, 200, 503));
}

#[tokio::test(start_paused = true)]
async fn bodies_flow_at_their_rate_in_both_directions() {
    let body = "x".repeat(100_000);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{body}");
    let origin = ScriptedConnector::always(Script::new().read_request().answer(answer));
    let burst = NonZeroU64::new(10_000).unwrap();
    let rate = |text| quota(text).with_burst(burst);
    let filter = BandwidthLimit::new(Key::connection()).down(rate("30000/s")).up(rate("90000/s"));
    let mut client = around(filter, &origin).connect();
    let started = Instant::now();
    client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{body}")).await;
    let response = client.read_response().await;
    assert_eq!((response.header("content-length"), response.text().len()), (Some("100000"), 100_000));
    assert!(
        origin.received(0).contains("Content-Length: 100000\r\n")
            || origin.received(0).contains("content-length: 100000\r\n")
    );
    // 90,000 bytes beyond the burst at 90,000/s, then at 30,000/s.
    let took = started.elapsed().as_millis();
    assert!((3900..4200).contains(&took), "{took}");
}
