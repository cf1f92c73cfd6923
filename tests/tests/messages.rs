//! What goes through: framings, versions, interim responses, uploads, upgrades.

use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{Forwarding, ProxyBuilder};
use tests::{GET, Stage, ok, post};

fn plain(builder: ProxyBuilder) -> ProxyBuilder {
    builder.forwarding(Forwarding::none())
}

fn plain_stage(script: Script) -> Stage {
    Stage::with(ScriptedConnector::always(script), plain)
}

/// One request and one answer: what the client gets, and whether its connection goes on.
async fn check(request: &str, answer: &str, expected: &str, goes_on: bool) {
    let script = Script::new().read_request().answer(answer.to_owned());
    // An origin whose response ends with the connection closes it.
    let framed = answer.contains("Content-Length")
        || answer.contains("chunked")
        || answer.contains(" 204 ")
        || answer.contains(" 304 ");
    let stage = plain_stage(if framed { script.repeat() } else { script.close() });
    let mut client = stage.connect_and_send(request).await;
    let got = String::from_utf8_lossy(&client.read(expected.len()).await).into_owned();
    assert_eq!(got, expected, "{request:?} {answer:?}");
    if goes_on {
        client.send(GET).await;
        client.read(12).await;
    } else {
        assert!(client.is_closed().await, "{request:?} {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn responses_keep_their_meaning() {
    let head = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n";
    let old = "GET / HTTP/1.0\r\n\r\n";
    let kept = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let close = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\nhi";
    check(GET, sized, sized, true).await;
    check(GET, chunked, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", true).await;
    check(GET, until_close, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", true).await;
    check(
        GET,
        "HTTP/1.0 200 Fine\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\nhi",
        true,
    )
    .await;
    check(head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true)
        .await;
    check(GET, "HTTP/1.1 204 None\r\n\r\n", "HTTP/1.1 204 None\r\n\r\n", true).await;
    check(
        GET,
        "HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n",
        true,
    )
    .await;
    check(old, sized, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", false).await;
    check(old, chunked, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi", false).await;
    check(kept, sized, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", true).await;
    check(kept, chunked, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi", false).await;
    check(close, sized, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", false).await;
}

#[tokio::test(start_paused = true)]
async fn heads_pass_byte_for_byte() {
    let request =
        "pAtCh /a%2fb/../c?x={y}&z=`|\" HTTP/1.1\r\nhOST:h\r\nX-a:  1 \r\nx-A: 2\r\nContent-length: 0\r\n\r\n";
    let answer = "HTTP/1.1 299 Odd  One\r\nseRVer: x\r\nB:\t2\r\nb: 1\r\nContent-Length:0\r\n\r\n";
    let stage = plain_stage(Script::new().read_request().answer(answer));
    let mut client = stage.connect_and_send(request).await;
    assert_eq!(String::from_utf8_lossy(&client.read(answer.len()).await), answer);
    assert_eq!(stage.origin().received(0), request);
}

#[tokio::test(start_paused = true)]
async fn trailers_pass_both_ways() {
    let answer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n";
    let stage = plain_stage(Script::new().read_request().answer(answer));
    let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Up: 2\r\nHost: evil\r\n\r\n";
    let mut client = stage.connect_and_send(request).await;
    let response = client.read_response().await;
    assert_eq!((response.trailer("x-sum"), response.trailer("content-length")), (Some("1"), None));
    let received = stage.origin().received(0);
    assert!(received.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nx-up: 2\r\n\r\n"), "{received}");
}

const EXPECTS: &str = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_100_gets_the_origins() {
    let script = Script::new().read_head().answer("HTTP/1.1 100 Continue\r\n\r\n").read(4).answer(ok("done"));
    let stage = plain_stage(script);
    let mut client = stage.connect_and_send(EXPECTS).await;
    assert_eq!(client.read_head().await.status(), 100);
    client.send("body").await;
    assert_eq!(client.read_response().await.text(), "done");
    assert!(stage.origin().received(0).ends_with("\r\n\r\nbody"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_100_gets_a_refusal_and_no_next_request() {
    let stage = plain_stage(Script::new().read_head().answer("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"));
    let mut client = stage.connect_and_send(EXPECTS).await;
    let response = client.read_response().await;
    assert_eq!((response.status(), response.header("connection")), (403, Some("close")));
    assert!(client.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_ignores_expect_gets_the_body_after_a_second() {
    let stage = plain_stage(Script::new().read_request().answer(ok("done")));
    let started = tokio::time::Instant::now();
    let mut client = stage.connect_and_send(EXPECTS).await;
    assert_eq!(client.read_head().await.status(), 100);
    assert_eq!(started.elapsed().as_secs(), 1);
    client.send("body").await;
    assert_eq!(client.read_response().await.text(), "done");
}

#[tokio::test(start_paused = true)]
async fn an_expectation_of_http_1_0_is_ignored() {
    let stage = plain_stage(Script::ok());
    let request = "POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi";
    assert_eq!(stage.connect_and_send(request).await.read_response().await.text(), "ok");
    assert_eq!(stage.origin().received(0), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
}

#[tokio::test(start_paused = true)]
async fn interim_responses_pass_but_not_to_old_clients() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let script = || Script::new().read_request().answer(format!("{hints}{}", ok("hi")));
    let mut client = plain_stage(script()).connect_and_send(GET).await;
    assert_eq!(client.read_head().await.header("link"), Some("</a>"));
    assert_eq!(client.read_response().await.text(), "hi");
    let mut client = plain_stage(script()).connect_and_send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.read_response().await.status(), 200);
}

/// Neither side's slowness may block the other: the client writes everything before it reads, the
/// origin answers before it reads.
#[tokio::test(start_paused = true)]
async fn uploads_and_answers_cross() {
    let body = "x".repeat(1 << 20);
    for chunked in [false, true] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", 1 << 20, "y".repeat(1 << 20));
        let script = Script::new()
            .read_head()
            .answer(answer[..100_000].to_owned())
            .read(1 << 20)
            .answer(answer[100_000..].to_owned());
        let stage = plain_stage(script);
        let request = match chunked {
            false => post(&body),
            true => {
                format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n{body}\r\n0\r\n\r\n")
            }
        };
        let mut client = stage.connect_and_send(request).await;
        assert_eq!(client.read_response().await.body().len(), 1 << 20, "chunked: {chunked}");
        assert_eq!(stage.code().await, "ok");
    }
}

#[tokio::test(start_paused = true)]
async fn an_early_answer_drains_a_short_rest_and_closes_on_a_long_one() {
    let early = || Script::new().read_head().answer("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    let stage = Stage::with(ScriptedConnector::in_turn([early(), Script::ok()]), plain);
    let mut client = stage.connect_and_send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nab").await;
    assert_eq!(client.read_response().await.status(), 403);
    client.send(format!("{}{GET}", "c".repeat(998))).await;
    assert_eq!(client.read_response().await.text(), "ok");
    assert_eq!(stage.origin().connections(), 2, "a half-written exchange was used again");

    let stage = plain_stage(early());
    let mut client = stage.connect_and_send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\nab").await;
    assert_eq!(client.read_response().await.status(), 403);
    let _ = client.try_send(vec![b'c'; 600_000]).await;
    assert!(client.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_client_is_gone_unless_it_is_served() {
    for (half_close, code) in [(false, "client_gone"), (true, "ok")] {
        let slow =
            ScriptedConnector::always(Script::new().read_request().wait(Duration::from_secs(1)).answer(ok("late")));
        let stage = Stage::with(slow, |builder| builder.half_close(half_close));
        let mut client = stage.connect_and_send(GET).await;
        client.half_close().await;
        assert_eq!(client.try_read_response().await.is_some(), half_close);
        assert_eq!(stage.code().await, code);
    }
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn an_upgrade_opens_a_tunnel() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello";
    let stage = plain_stage(Script::new().read_head().answer(switch).echo());
    let mut client = stage.connect_and_send(UPGRADE).await;
    let response = client.read_head().await;
    assert_eq!((response.status(), response.header("upgrade")), (101, Some("websocket")));
    assert_eq!(client.read(5).await, b"hello");
    client.send("ping").await;
    assert_eq!(client.read(4).await, b"ping");
    client.half_close().await;
    assert!(client.is_closed().await);
    let outcome = stage.outcome().await;
    assert_eq!((outcome.error, outcome.bytes_received), (None, 4));
}

#[tokio::test(start_paused = true)]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let stage = plain_stage(Script::ok());
    let mut client = stage.connect_and_send(UPGRADE).await;
    assert_eq!(client.read_response().await.text(), "ok");
    client.send(GET).await;
    assert_eq!(client.read_response().await.text(), "ok");
}

#[tokio::test(start_paused = true)]
async fn long_bodies_reach_a_slow_reader_whole() {
    let text: String = (0..200_000).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    let sized = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    let chunks: String = text
        .as_bytes()
        .chunks(7001)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
        .collect();
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    for answer in [sized, chunked] {
        let stage = plain_stage(Script::new().read_request().answer(answer));
        let mut client = stage.connect_and_send(GET).await;
        let head = client.read_head().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let body = match head.header("content-length") {
            Some(length) => client.read(length.parse().expect("a number")).await,
            None => {
                client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
                continue;
            }
        };
        assert!(body == text.as_bytes(), "the body was changed on its way");
    }
}
