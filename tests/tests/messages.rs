//! What goes through: framings, versions, interim responses, uploads, upgrades.

use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{Context, Flow, Forwarding, ProxyBuilder, Request, Response, filter_fn};
use tests::{GET, Stage, ok, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

/// Found by the fuzz target `connection`: 100 came behind the final response.
#[tokio::test(start_paused = true)]
async fn a_client_that_expects_100_and_does_not_wait_gets_none_later() {
    let stage = plain_stage(Script::new().read_request().answer(ok("done")));
    let mut client = stage.connect_and_send(format!("{EXPECTS}body")).await;
    assert_eq!(client.read_response().await.text(), "done");
    assert!(client.is_closed().await, "not a byte more until the idle connection is closed");
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
        // What does not fit between them waits in the origin.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let body = client.read_response().await.body().to_vec();
        assert!(body == text.as_bytes(), "the body was changed on its way");
    }
}

/// An origin's connection is used again only where the origin said so.
#[tokio::test(start_paused = true)]
async fn only_kept_upstream_connections_are_used_again() {
    let table = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 1),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", 2),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\nhi", 2),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 2),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", 1),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 1),
    ];
    for (answer, connections) in table {
        let stage = plain_stage(Script::new().read_request().answer(answer).repeat());
        let mut client = stage.connect();
        for _ in 0..2 {
            client.send(GET).await;
            let response = client.read_response().await;
            assert_eq!((response.text(), response.header("connection")), ("hi", None), "{answer:?}");
        }
        assert_eq!(stage.origin().connections(), connections, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_carries_so_many_requests() {
    let limits = proxy_core::Limits { max_requests_per_connection: Some(2), ..Default::default() };
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.limits(limits));
    let mut client = stage.connect_and_send(format!("{GET}{GET}{GET}")).await;
    assert_eq!(client.read_response().await.header("connection"), None);
    assert_eq!(client.read_response().await.header("connection"), Some("close"));
    assert!(client.is_closed().await);
    assert_eq!(client.leave().await, 2);
}

/// A client need not wait for the 101 before it speaks; the origin hears it only behind its own.
#[tokio::test(start_paused = true)]
async fn what_a_client_says_before_the_switch_waits_for_it() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    for (answer, heard) in [(switch.to_owned(), true), (ok("no"), false)] {
        let script = Script::new().read_head().wait(Duration::from_secs(1)).answer(answer);
        let stage = plain_stage(script);
        let mut client = stage.connect_and_send(format!("{UPGRADE}early")).await;
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert!(stage.origin().received(0).ends_with("\r\n\r\n"));
        client.read_head().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(stage.origin().received(0).ends_with("early"), heard);
    }
}

/// A 101 to a request whose body is still on its way would hand that body to the tunnel.
#[tokio::test(start_paused = true)]
async fn an_upgrade_waits_for_the_body() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 4\r\n\r\n";
    let stage = plain_stage(Script::new().read_head().answer(switch).echo());
    let mut client = stage.connect_and_send(format!("{head}bo")).await;
    assert_eq!(client.read_response().await.status(), 502);

    let stage = plain_stage(Script::new().read_request().answer(switch).echo());
    let mut client = stage.connect_and_send(format!("{head}bodyping")).await;
    assert_eq!(client.read_head().await.status(), 101);
    assert_eq!(client.read(4).await, b"ping");
}

/// Interim responses: those of the origin, and those that reach the client before its 200.
#[tokio::test(start_paused = true)]
async fn interim_responses_come_in_order_and_only_if_wanted() {
    let table: [(&str, &[u16], &[u16]); 4] = [
        (GET, &[103], &[103]),
        (GET, &[102, 103, 103], &[102, 103, 103]),
        // Nobody asked for this one.
        (GET, &[100], &[]),
        (GET, &[100, 103, 100], &[103]),
    ];
    for (request, sent, wanted) in table {
        let interim: String = sent.iter().map(|status| format!("HTTP/1.1 {status} Wait\r\nX-A: b\r\n\r\n")).collect();
        let stage = plain_stage(Script::new().read_request().answer(interim + &ok("hi")));
        let mut client = stage.connect_and_send(request).await;
        for status in wanted {
            assert_eq!(client.read_head().await.status(), *status, "{sent:?}");
        }
        assert_eq!(client.read_response().await.text(), "hi", "{sent:?}");
        assert_eq!(stage.code().await, "ok");
    }
}

/// What the origin says before it reads is the answer; the next request gets the next one.
#[tokio::test(start_paused = true)]
async fn an_answer_may_come_before_the_request() {
    for body in ["x".repeat(2), "x".repeat(200_000)] {
        let early = Script::new().answer(ok("early")).read_head().read(body.len()).read_request().answer(ok("ok"));
        let stage = Stage::with(ScriptedConnector::in_turn([early, Script::ok()]), plain);
        let mut client = stage.connect_and_send(post(&body)).await;
        assert_eq!(client.read_response().await.text(), "early");
        assert_eq!(stage.code().await, "ok");
        client.send(GET).await;
        assert_eq!(client.read_response().await.text(), "ok");
    }
}

/// A client that waits for 100 and sends its body all the same: its next request is found behind it.
#[tokio::test(start_paused = true)]
async fn a_body_that_comes_before_100_is_still_a_body() {
    let script = Script::new().read_head().answer("HTTP/1.1 100 Continue\r\n\r\n").read(4).answer(ok("done"));
    let stage = plain_stage(script.read_request().answer(ok("next")));
    let mut client = stage.connect_and_send(format!("{EXPECTS}body")).await;
    let mut response = client.read_response().await;
    while response.status() == 100 {
        response = client.read_response().await;
    }
    assert_eq!(response.text(), "done");
    client.send(GET).await;
    assert_eq!(client.read_response().await.text(), "next");
    assert_eq!(stage.origin().received(0), format!("{EXPECTS}body{GET}"));
}

/// An answer instead of 100 ends the connection, and the body is never sent on.
#[tokio::test(start_paused = true)]
async fn an_answer_instead_of_100_is_the_end() {
    for status in [200, 403, 417, 500] {
        let stage = plain_stage(Script::new().read_head().answer(tests::status(status)));
        let mut client = stage.connect_and_send(format!("{EXPECTS}body{GET}")).await;
        let response = client.read_response().await;
        assert_eq!((response.status(), response.header("connection")), (status, Some("close")));
        assert!(client.is_closed().await, "{status}: the connection goes on");
        assert_eq!(stage.origin().received_in_all(), EXPECTS, "{status}");
        assert_eq!(stage.recorder().outcomes().len(), 1, "{status}");
    }
}

/// A HEAD's answer has no body, however it is framed, and the next answer is found behind it.
#[tokio::test(start_paused = true)]
async fn an_answer_to_head_has_no_body() {
    for framing in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: 0\r\n", ""] {
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n");
        let stage = plain_stage(Script::new().read_request().answer(answer).read_request().answer(ok("next")));
        let mut client = stage.connect();
        client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(client.read_head().await.status(), 200, "{framing:?}");
        client.send(GET).await;
        assert_eq!(client.read_response().await.text(), "next", "{framing:?}");
        assert_eq!(stage.origin().connections(), 1, "{framing:?}");
    }
}

/// A chunked body that nobody wants is thrown away up to the bound, whatever its length is to be.
#[tokio::test(start_paused = true)]
async fn an_unwanted_chunked_body_is_drained_within_the_bound() {
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (length, goes_on) in [(1000, true), (300_000, false)] {
        let limits = proxy_core::Limits { max_drain_bytes: 100_000, ..Default::default() };
        let early = Script::new().read_head().answer(tests::status(403)).close();
        let origin = ScriptedConnector::in_turn([early, Script::ok()]);
        let stage = Stage::with(origin, |builder| builder.limits(limits));
        let mut client = stage.connect_and_send(chunked).await;
        assert_eq!(client.read_response().await.status(), 403);
        let rest = format!("{length:x}\r\n{}\r\n0\r\n\r\n{GET}", "x".repeat(length));
        let sent = client.try_send(rest).await;
        match goes_on {
            true => assert_eq!(client.read_response().await.text(), "ok"),
            false => assert!(sent.is_err() || client.is_closed().await),
        }
        assert_eq!(stage.recorder().outcomes().len(), 1 + usize::from(goes_on));
    }
}

/// No byte of the client reaches the origin before the 101; afterwards all do, both ways at once.
#[tokio::test(start_paused = true)]
async fn a_tunnel_carries_much_both_ways() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let script = Script::new().read_head().wait(Duration::from_secs(1)).answer(switch).echo();
    let stage = plain_stage(script);
    let mut client = stage.connect_and_send(format!("{UPGRADE}early")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(stage.origin().received(0).ends_with("\r\n\r\n"), "{}", stage.origin().received(0));
    assert_eq!(client.read_head().await.status(), 101);
    assert_eq!(client.read(5).await, b"early");
    let (stream, ahead) = client.into_stream();
    assert!(ahead.is_empty());
    let (mut from, mut to) = tokio::io::split(stream);
    let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8).collect();
    let mut back = vec![0; bytes.len()];
    let (sent, read) = tokio::join!(to.write_all(&bytes), from.read_exact(&mut back));
    assert!(sent.is_ok() && read.is_ok() && back == bytes, "the bytes were changed on their way");
    to.shutdown().await.expect("the tunnel is open");
    let outcome = stage.outcome().await;
    assert_eq!((outcome.error, outcome.bytes_received), (None, 5 + (1 << 20)));
}

/// The origin may leave first, too.
#[tokio::test(start_paused = true)]
async fn a_tunnel_ends_with_either_side() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nbye";
    let stage = plain_stage(Script::new().read_head().answer(switch).close());
    let mut client = stage.connect_and_send(UPGRADE).await;
    assert_eq!(client.read_head().await.status(), 101);
    assert_eq!(client.read_to_end().await, b"bye");
    client.leave().await;
    stage.outcome().await;
}

/// However a tunnel ends, what went through it is known: head and bytes to the client, bytes to the origin.
#[tokio::test(start_paused = true)]
async fn a_tunnel_counts_until_its_end() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let table = [
        (Script::new().read_head().answer(switch).read(4).answer("pong!"), "shutting_down"),
        (Script::new().read_head().answer(switch).read(4).answer("pong!").close(), "ok"),
    ];
    for (script, code) in table {
        let stage = plain_stage(script);
        let mut client = stage.connect_and_send(UPGRADE).await;
        client.read_head().await;
        client.send("ping").await;
        assert_eq!(client.read(5).await, b"pong!");
        match code {
            "ok" => client.half_close().await,
            _ => client.stop_server().await,
        }
        let outcome = stage.outcome().await;
        assert_eq!(stage.code().await, code);
        assert_eq!((outcome.bytes_received, outcome.status), (4, Some(http::StatusCode::SWITCHING_PROTOCOLS)));
        assert_eq!(outcome.bytes_sent, client.seen().len() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_switch_nobody_asked_for_is_502() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    for request in [GET.to_owned(), post("x"), UPGRADE.replace("1.1", "1.0"), UPGRADE.replace("websocket", "h2c")] {
        let origin = ScriptedConnector::in_turn([Script::new().read_request().answer(switch), Script::ok()]);
        let stage = Stage::with(origin, plain);
        let mut client = stage.connect_and_send(&request).await;
        assert_eq!(client.read_response().await.status(), 502, "{request:?}");
        assert_eq!(stage.code().await, "unexpected_upgrade", "{request:?}");
    }
}

/// Such a response comes from plugins only. The client would wait for a stream that does not exist.
#[tokio::test(start_paused = true)]
async fn a_switch_without_a_stream_is_502() {
    let connect = "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n";
    for (request, status) in [(UPGRADE, 101), (GET, 101), (GET, 100), (GET, 103), (connect, 200)] {
        let status = http::StatusCode::from_u16(status).expect("a status");
        let answers = filter_fn(move |_: &mut Request, _: &mut Context| Ok(Flow::Respond(Response::status(status))));
        let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.filter(answers));
        let mut client = stage.connect_and_send(request).await;
        assert_eq!(client.read_response().await.status(), 502, "{request:?}");
        assert_eq!(stage.code().await, "no_tunnel", "{request:?}");
    }
}

/// The rest of the request is there, and then the end of the client's side.
#[tokio::test(start_paused = true)]
async fn a_client_may_half_close_behind_its_body_where_that_is_served() {
    for (half_close, code) in [(false, "client_gone"), (true, "ok")] {
        for request in [post("hello"), post("hello").replace("POST", "PUT")] {
            let drips = Script::new().read_request().wait(Duration::from_secs(1));
            let drips = drips.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nla").wait(Duration::from_secs(1));
            let origin = ScriptedConnector::always(drips.answer("te"));
            let stage = Stage::with(origin, |builder| builder.half_close(half_close));
            let mut client = stage.connect_and_send(&request).await;
            client.half_close().await;
            let text = client.try_read_response().await.map(|response| response.text().to_owned());
            assert_eq!((text.as_deref(), stage.code().await), (half_close.then_some("late"), code));
            client.read_to_end().await;
        }
    }
}

/// A mebibyte in either framing, to a client that takes a little at a time.
#[tokio::test(start_paused = true)]
async fn a_mebibyte_reaches_a_slow_reader_whole() {
    let text: String = (0..1 << 20).map(|i: u32| char::from(b'a' + (i % 23) as u8)).collect();
    let chunks: String = text
        .as_bytes()
        .chunks(70_001)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
        .collect();
    let answers = [
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\nX-Sum: 7\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n\r\n{text}"),
    ];
    for answer in answers {
        let script = Script::new().read_request().answer(answer).close();
        let stage = plain_stage(script);
        let client = stage.connect_and_send(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
        let (mut stream, mut came) = client.into_stream();
        let mut piece = vec![0; 30_011];
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            match stream.read(&mut piece).await.expect("the connection is closed in order") {
                0 => break,
                count => came.extend_from_slice(&piece[..count]),
            }
        }
        let came = String::from_utf8(came).expect("text");
        let (head, body) = came.split_once("\r\n\r\n").expect("a head");
        let body = if head.contains("chunked") { unchunked(body) } else { body.to_owned() };
        assert!(body == text, "{head:?}: the body was changed on its way");
        assert_eq!(stage.code().await, "ok");
    }
}

/// The data of all chunks, to the last one.
fn unchunked(mut body: &str) -> String {
    let mut data = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").expect("a chunk's size");
        match usize::from_str_radix(size, 16).expect("a size") {
            0 => return data,
            size => {
                data.push_str(&rest[..size]);
                body = rest[size..].strip_prefix("\r\n").expect("a chunk's end");
            }
        }
    }
}
