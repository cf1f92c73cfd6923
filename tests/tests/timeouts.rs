//! Each deadline fires at its time, with its reason.

use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{Cluster, ProxyBuilder, Timeouts, UpstreamTimeouts, selector_fn};
use tests::{GET, Stage, ok};
use tokio::time::Instant;

const S: Duration = Duration::from_secs(1);

fn times(change: fn(&mut Timeouts)) -> impl FnOnce(ProxyBuilder) -> ProxyBuilder {
    move |builder| {
        let mut timeouts = Timeouts::default();
        change(&mut timeouts);
        builder.timeouts(timeouts)
    }
}

/// After these bytes the request must end after `seconds` with this status (0: none) and code.
async fn check(stage: &Stage, sent: &str, seconds: u64, status: u16, code: &str) {
    let started = Instant::now();
    let mut client = stage.connect_and_send(sent).await;
    let got = client.try_read_response().await.map_or(0, |response| response.status());
    assert_eq!((got, stage.code().await), (status, code), "{sent:?}");
    assert_eq!(started.elapsed().as_secs(), seconds, "{sent:?} {code}");
}

fn stage(script: Script, change: fn(&mut Timeouts)) -> Stage {
    Stage::with(ScriptedConnector::always(script), times(change))
}

#[tokio::test(start_paused = true)]
async fn the_client_has_its_deadlines() {
    let ok = Script::ok;
    check(&stage(ok(), |t| t.head = 3 * S), "GET / HTTP/1.1\r\nHo", 3, 408, "head_timeout").await;
    let upload = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab";
    check(&stage(ok(), |t| t.body_idle = 4 * S), upload, 4, 408, "body_timeout").await;
    check(&stage(Script::new().read_request(), |t| t.total = Some(7 * S)), GET, 7, 504, "total_timeout").await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_without_a_word() {
    let stage = stage(Script::ok(), |t| t.keep_alive = 9 * S);
    let mut client = stage.connect_and_send(GET).await;
    client.read_response().await;
    let started = Instant::now();
    assert!(client.is_closed().await);
    assert_eq!(started.elapsed().as_secs(), 9);
}

/// One byte a second stays above the idle deadline, and below the rate.
#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_cut_off() {
    let stage = stage(Script::new().read_request(), |t| {
        t.body_idle = 2 * S;
        t.min_body_rate = 100;
    });
    let started = Instant::now();
    let mut client = stage.connect_and_send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n").await;
    while started.elapsed() < 10 * S && client.try_send("x").await.is_ok() {
        tokio::time::sleep(S).await;
    }
    let outcome = stage.outcome().await;
    assert_eq!(outcome.error.map(proxy_core::ErrorKind::code), Some("body_timeout"));
    assert!(outcome.timings.total <= 4 * S, "{:?}", outcome.timings);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_is_closed() {
    let long = Script::new().read_request().answer(ok(&"x".repeat(1 << 20)));
    let stage = stage(long, |t| t.write_idle = 6 * S);
    let started = Instant::now();
    let _client = stage.connect_and_send(GET).await;
    assert_eq!(stage.code().await, "write_timeout");
    assert_eq!(started.elapsed().as_secs(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_silent_tunnel_is_closed() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
    let stage = stage(Script::new().read_head().answer(switch), |t| t.tunnel_idle = 8 * S);
    let mut client =
        stage.connect_and_send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await;
    client.read_head().await;
    let started = Instant::now();
    assert!(client.is_closed().await);
    assert_eq!(started.elapsed().as_secs(), 8);
}

/// A cluster over this origin with short deadlines of its own, and one attempt.
fn impatient(script: Script) -> Stage {
    let origin = ScriptedConnector::always(script);
    let timeouts = UpstreamTimeouts { connect: 2 * S, response: 5 * S, idle: 3 * S };
    let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
        .backend("origin:80".parse().expect("an address"))
        .timeouts(timeouts)
        .retry(proxy_core::RetryPolicy { attempts: 1, ..Default::default() })
        .build_with(origin.pool());
    Stage::to(origin, cluster, |builder| builder)
}

#[tokio::test(start_paused = true)]
async fn the_upstream_has_its_deadlines() {
    check(&impatient(Script::hang()), GET, 2, 504, "connect_timeout").await;
    check(&impatient(Script::new().read_request()), GET, 5, 504, "response_timeout").await;
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    check(&impatient(Script::new().read_request().answer(half)), GET, 3, 0, "response_stalled").await;
}
