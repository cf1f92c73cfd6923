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
async fn check(stage: &Stage, sent: &str, seconds: u32, status: u16, code: &str) {
    let started = Instant::now();
    let mut client = stage.connect_and_send(sent).await;
    let got = client.try_read_response().await.map_or(0, |response| response.status());
    assert_eq!((got, stage.code().await), (status, code), "{sent:?}");
    assert_took(started, seconds * S, &format!("{sent:?} {code}"));
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
    assert_took(started, 9 * S, "the deadline");
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
    assert_took(started, 6 * S, "the deadline");
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
    assert_took(started, 8 * S, "the deadline");
    assert_eq!(stage.code().await, "tunnel_idle");
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

/// All places are taken by a request that waits for its answer.
#[tokio::test(start_paused = true)]
async fn the_wait_for_a_free_connection_ends() {
    let origin = ScriptedConnector::always(Script::new().read_request());
    let pool = |pending| {
        let connector = std::sync::Arc::new(origin.clone());
        proxy_core::SharedPool::builder().max_open_per_backend(1).max_pending(pending).connector(connector).build()
    };
    for (pending, seconds, status, code) in [(10, 4, 504, "pool_timeout"), (0, 0, 503, "pool_full")] {
        let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
            .backend("origin:80".parse().expect("an address"))
            .timeouts(UpstreamTimeouts { connect: 4 * S, ..Default::default() })
            .retry(proxy_core::RetryPolicy { attempts: 1, ..Default::default() })
            .build_with(pool(pending));
        let stage = Stage::to(origin.clone(), cluster, |builder| builder);
        let _first = stage.connect_and_send(GET).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        check(&stage, GET, seconds, status, code).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_closed_without_a_word() {
    let stage = stage(Script::ok(), |t| t.head = 3 * S);
    let started = Instant::now();
    let mut client = stage.connect();
    assert!(client.is_closed().await);
    assert_took(started, 3 * S, "the deadline");
    assert!(stage.recorder().outcomes().is_empty());
}

/// A response that has begun can only be broken off.
#[tokio::test(start_paused = true)]
async fn the_total_counts_within_the_response_and_the_hooks() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    let halting = Script::new().read_request().answer(half);
    check(&stage(halting, |t| t.total = Some(7 * S)), GET, 7, 0, "total_timeout").await;

    struct Ponder;
    #[async_trait::async_trait]
    impl proxy_core::Filter for Ponder {
        async fn on_request(
            &self,
            _: &mut proxy_core::Request,
            _: &mut proxy_core::Context,
        ) -> proxy_core::Result<proxy_core::Flow> {
            std::future::pending().await
        }
    }
    let origin = ScriptedConnector::always(Script::ok());
    let pondering = Stage::with(origin, |builder| builder.total_timeout(5 * S).filter(Ponder));
    check(&pondering, GET, 5, 504, "total_timeout").await;
    assert_eq!(pondering.origin().connections(), 0);
}

/// Each byte starts the wait anew: only silence is counted.
#[tokio::test(start_paused = true)]
async fn slow_progress_is_progress() {
    let drip = (0..9)
        .fold(Script::new().read_request().answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), |script, _| {
            script.wait(2 * S).answer("x")
        });
    check(&impatient(drip), GET, 18, 200, "ok").await;
}

/// Without one tick more than the timer's own.
fn assert_took(started: Instant, time: Duration, row: &str) {
    let took = started.elapsed();
    assert!(took >= time && took < time + S / 100, "{row}: {took:?} instead of {time:?}");
}

/// The total deadline holds wherever the request waits, and is counted from its head.
#[tokio::test(start_paused = true)]
async fn the_total_deadline_holds_everywhere() {
    let silent = || Script::new().read_request();
    let upload = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab";
    let expects = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    let half = || silent().answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    let early = Script::new().read_head().answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    let table = [
        (Script::hang(), GET, 504),
        (silent(), GET, 504),
        (silent(), upload, 504),
        (silent(), expects, 504),
        (Script::new().read_request().answer("HTTP/1.1 200 O"), GET, 504),
        (half(), GET, 0),
        (early, upload, 0),
    ];
    for (row, (script, sent, status)) in table.into_iter().enumerate() {
        let stage = stage(script, |t| t.total = Some(4 * S));
        let started = Instant::now();
        let mut client = stage.connect_and_send(sent).await;
        if sent == expects {
            // The origin says nothing for a second: the proxy asks for the body itself.
            assert_eq!(client.read_head().await.status(), 100);
        }
        let got = client.try_read_response().await.map_or(0, |response| response.status());
        assert_eq!((got, stage.code().await), (status, "total_timeout"), "row {row}");
        assert_took(started, 4 * S, &format!("row {row}"));
    }
}

/// A client that reads a little now and then is stopped by the total deadline alone.
#[tokio::test(start_paused = true)]
async fn the_total_deadline_ends_a_slow_reader() {
    let long = Script::new().read_request().answer(ok(&"x".repeat(4 << 20)));
    let stage = stage(long, |t| {
        t.total = Some(10 * S);
        t.write_idle = 3 * S;
    });
    let started = Instant::now();
    let mut client = stage.connect_and_send(GET).await;
    while stage.recorder().outcomes().is_empty() {
        client.read(20_000).await;
        tokio::time::sleep(S).await;
    }
    assert_eq!(stage.code().await, "total_timeout");
    let total = stage.outcome().await.timings.total;
    assert!(total >= 10 * S && total < 10 * S + S / 100, "{total:?} after {:?}", started.elapsed());
}

/// The head's time runs from its first byte, and bytes that drip in do not stretch it.
#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_from_its_first_byte() {
    for requests_before in [0, 1] {
        let stage = stage(Script::ok(), |t| {
            t.head = 3 * S;
            t.keep_alive = 9 * S;
        });
        let mut client = stage.connect();
        for _ in 0..requests_before {
            client.send(GET).await;
            client.read_response().await;
            tokio::time::sleep(8 * S).await;
        }
        let started = Instant::now();
        for byte in ["G", "E"] {
            client.send(byte).await;
            tokio::time::sleep(S).await;
        }
        client.send("T").await;
        assert_eq!(client.read_response().await.status(), 408);
        assert_took(started, 3 * S, "a head that drips");
        let outcomes = stage.recorder().wait_for(requests_before + 1).await;
        assert_eq!(outcomes[requests_before].error.map(proxy_core::ErrorKind::code), Some("head_timeout"));
    }
}

/// Sends a body byte by byte, so long apart: when it was cut off, or `None` if it passed.
async fn drip(rate: u64, apart: Duration, count: usize) -> Option<Duration> {
    let origin = ScriptedConnector::always(Script::ok());
    let timeouts = Timeouts { body_idle: 5 * S, min_body_rate: rate, ..Timeouts::default() };
    let stage = Stage::with(origin, |builder| builder.timeouts(timeouts));
    let started = Instant::now();
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {count}\r\n\r\n");
    let mut client = stage.connect_and_send(head).await;
    let sending = async {
        for _ in 0..count {
            tokio::time::sleep(apart).await;
            if client.try_send("x").await.is_err() {
                break;
            }
        }
    };
    let (outcome, ()) = tokio::join!(async { (stage.outcome().await, started.elapsed()) }, sending);
    let code = outcome.0.error.map(proxy_core::ErrorKind::code);
    assert!(matches!(code, None | Some("body_timeout")), "{code:?}");
    code.map(|_| outcome.1)
}

#[tokio::test(start_paused = true)]
async fn a_body_has_an_idle_time_and_a_rate() {
    // Each byte begins the idle time anew.
    assert_eq!(drip(0, 4 * S, 20).await, None);
    let table = [
        // The first byte is late already.
        (0, 6 * S, 5 * S),
        // The idle time is free. Then two bytes pay for a second: eight for four, and by then there are nine.
        (2, S, 9 * S),
        // Ten would pay for one, there are five.
        (10, S, 5 * S),
    ];
    for (rate, apart, at) in table {
        let cut = drip(rate, apart, 100).await.unwrap_or_default();
        assert!(cut >= at && cut < at + S / 100, "{rate} B/s, {apart:?}: cut off after {cut:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_little_is_not_idle() {
    let long = Script::new().read_request().answer(ok(&"x".repeat(1 << 20)));
    let stage = stage(long, |t| t.write_idle = 3 * S);
    let mut client = stage.connect_and_send(GET).await;
    for _ in 0..5 {
        tokio::time::sleep(2 * S).await;
        client.read(100_000).await;
    }
    assert!(stage.recorder().outcomes().is_empty());
    let stopped = Instant::now();
    assert_eq!(stage.code().await, "write_timeout");
    assert_took(stopped, 3 * S, "after the last read");
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_with_traffic_is_not_idle() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
    for echoes in [true, false] {
        let script = Script::new().read_head().answer(switch);
        let stage = stage(if echoes { script.echo() } else { script }, |t| t.tunnel_idle = 8 * S);
        let mut client =
            stage.connect_and_send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await;
        client.read_head().await;
        for _ in 0..4 {
            tokio::time::sleep(5 * S).await;
            client.send("x").await;
        }
        if echoes {
            client.read(4).await;
        }
        let silent = Instant::now();
        assert!(client.is_closed().await);
        assert_took(silent, 8 * S, "after the last byte");
        let outcome = stage.outcome().await;
        assert_eq!((outcome.bytes_received, outcome.phase), (4, proxy_core::Phase::Tunnel));
    }
}

/// Only a whole head counts: neither half of one nor interim responses give the origin more time.
#[tokio::test(start_paused = true)]
async fn an_origin_that_drips_its_head_is_cut_off() {
    let drips =
        |bytes: &'static str| (0..9).fold(Script::new().read_request(), |script, _| script.wait(2 * S).answer(bytes));
    let stage = impatient(drips("HTTP/1.1 103 Early Hints\r\n\r\n"));
    let started = Instant::now();
    let mut client = stage.connect_and_send(GET).await;
    for status in [103, 103, 504] {
        assert_eq!(client.read_head().await.status(), status);
    }
    assert_eq!(stage.code().await, "response_timeout");
    assert_took(started, 5 * S, "interim responses");
    check(&impatient(Script::new().read_request().answer("HTTP/1.1 200 O")), GET, 5, 504, "response_timeout").await;
}

/// A client that is still sending keeps the origin's time from running out.
#[tokio::test(start_paused = true)]
async fn an_upload_on_its_way_is_progress() {
    let stage = impatient(Script::new().read_request());
    let started = Instant::now();
    let mut client = stage.connect_and_send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n").await;
    for _ in 0..5 {
        tokio::time::sleep(3 * S).await;
        client.send("x").await;
    }
    assert_eq!(client.read_response().await.status(), 504);
    assert_eq!(stage.code().await, "response_timeout");
    assert_took(started, 20 * S, "the last byte, and the origin's five seconds");
}

/// What a client owes of a body nobody wants is waited for no longer than for any body.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_thrown_away_has_its_time() {
    let early = Script::new().read_head().answer(tests::status(403));
    let stage = stage(early, |t| t.body_idle = 4 * S);
    let started = Instant::now();
    let mut client = stage.connect_and_send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab").await;
    assert_eq!(client.read_response().await.status(), 403);
    assert!(client.is_closed().await);
    assert_took(started, 4 * S, "the rest of the body");
}
