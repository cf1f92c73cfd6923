//! Requests over HTTP/2: the same life as over HTTP/1, and what is its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use proxy_core::testing::{Recorder, Script, ScriptedConnector};
use proxy_core::{
    ErrorKind, Flow, Http2, Limits, LiveProxy, Observer, Peer, Proxy, ProxyBuilder, Response, Route, filter_fn, serve,
};
use tests::{Answer, Frame, Frames, Http2Client, Stage, fields, listen, ok, request, status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

mod conformance;
mod floods;
mod grpc;
mod smuggling;
mod upstream;

const S: Duration = Duration::from_secs(1);
const URI: &str = "http://a.example/";

async fn connect(stage: &Stage) -> Http2Client {
    Http2Client::over(stage.connect().into_stream().0).await
}

/// A client before an origin that plays this script.
async fn before(script: Script) -> (Stage, Http2Client) {
    let stage = Stage::new(script);
    let client = connect(&stage).await;
    (stage, client)
}

#[tokio::test(start_paused = true)]
async fn a_request_reaches_an_http1_origin_as_one_of_its_own() {
    let (stage, mut client) = before(Script::ok()).await;
    let mut get = request("GET", "http://a.example/x?y=z");
    for (name, value) in [("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2"), ("te", "trailers")] {
        get.headers_mut().append(name, value.parse().unwrap());
    }
    let answer = client.send(get, "").await;
    assert_eq!((answer.status, answer.text(), answer.header("content-length")), (200, "ok", Some("2")));
    let received = stage.origin().received(0);
    assert!(received.starts_with("GET /x?y=z HTTP/1.1\r\nhost: a.example\r\n"), "{received}");
    for line in [
        "\r\ncookie: a=1; b=2\r\n",
        "\r\naccept: */*\r\n",
        "\r\nX-Forwarded-For: 192.0.2.1\r\n",
        "\r\nTE: trailers\r\n",
    ] {
        assert!(received.contains(line), "{line:?} is not in {received}");
    }
    assert_eq!(received.matches("cookie").count(), 1, "{received}");
    let outcome = stage.outcome().await;
    assert_eq!((outcome.error, outcome.status.unwrap().as_u16(), outcome.bytes_sent), (None, 200, 2));
    assert_eq!(
        stage.recorder().calls(),
        ["recorder.on_request", "recorder.on_forward", "recorder.on_response", "recorder.on_done"]
    );
}

#[tokio::test(start_paused = true)]
async fn responses_without_a_body_have_none() {
    let script = |text: &'static str| Script::new().read_request().answer(text);
    let check = async |method: &str, text, code, length: Option<&str>| {
        let (_, mut client) = before(script(text)).await;
        let answer = client.send(request(method, URI), "").await;
        assert_eq!((answer.status, answer.body.len()), (code, 0), "{text}");
        assert_eq!(answer.header("content-length"), length, "{text}");
    };
    check("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 200, Some("7")).await;
    check("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, None).await;
    check("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, Some("7")).await;
    check("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, Some("0")).await;
}

#[tokio::test(start_paused = true)]
async fn fields_of_http1_connections_stay_there() {
    let text = "HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\
                Proxy-Connection: close\r\nX-Kept: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let (_, mut client) = before(Script::new().read_request().answer(text)).await;
    let answer = client.get(URI).await;
    assert_eq!((answer.text(), answer.headers.len(), answer.header("x-kept")), ("ok", 1, Some("1")), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn bodies_and_trailers_go_both_ways() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nx-sum: 3\r\n\r\n";
    let (stage, mut client) = before(Script::new().read_request().answer(chunked).repeat()).await;
    let mut sized = request("POST", URI);
    sized.headers_mut().insert("content-length", "5".parse().unwrap());
    let answer = client.send(sized, "hello").await;
    assert_eq!((answer.text(), answer.trailers.as_ref().unwrap()["x-sum"].to_str().unwrap()), ("abc", "3"));
    let (response, mut send) = client.begin(request("POST", URI), false).await;
    send.send_data("one".into(), false).unwrap();
    send.send_data("two".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    for (name, value) in [("x-end", "yes"), ("content-length", "9")] {
        trailers.insert(name, value.parse().unwrap());
    }
    send.send_trailers(trailers).unwrap();
    assert_eq!(Answer::read(response).await.unwrap().text(), "abc");
    let received = stage.origin().received(0);
    let (first, second) = received.split_once("\r\n\r\nhello").expect(&received);
    assert!(first.contains("content-length: 5\r\n") && !first.contains("chunked"), "{first}");
    assert!(second.contains("Transfer-Encoding: chunked\r\n\r\n"), "{second}");
    assert!(second.ends_with("0\r\nx-end: yes\r\n\r\n"), "{second}");
    assert_eq!(stage.origin().connections(), 1, "both exchanges were clean");
}

#[tokio::test(start_paused = true)]
async fn both_bodies_stream_at_once() {
    let script = Script::new().read_head().answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").echo();
    let (_, mut client) = before(script).await;
    let (response, mut send) = client.begin(request("POST", URI), false).await;
    let mut recv = response.await.unwrap().into_body();
    for word in ["ping", "pong", "again"] {
        // What comes back is in chunks already.
        send.send_data(word.into(), false).unwrap();
        assert_eq!(Answer::piece(&mut recv).await.unwrap().unwrap(), word);
    }
    send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(Answer::piece(&mut recv).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn interim_responses_reach_the_client() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let script =
        Script::new().read_head().answer(hints).answer("HTTP/1.1 100 Continue\r\n\r\n").read(2).answer(ok("end"));
    let stage = Stage::new(script);
    let mut client = Frames::open(stage.connect().into_stream().0).await;
    let head = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", "/"),
        ("expect", "100-continue"),
        ("content-length", "2"),
    ];
    client.send(&Frame::headers(1, false, &fields(head))).await;
    // The codec has no index for these: the status stands in the block, or is compressed to as few bytes.
    let heads = [client.next_of(1).await.unwrap(), client.next_of(1).await.unwrap()];
    assert!(heads.iter().all(|head| head.stream == 1 && head.flags == 4), "{heads:?}");
    client.send(&Frame::data(1, true, b"hi")).await;
    let last = client.next_of(1).await.unwrap();
    assert_eq!(last.payload[0], 0x88, "{last:?}");
    assert_eq!(client.next_of(0).await.unwrap(), Frame::data(1, true, b"end"));
    assert!(stage.origin().received(0).ends_with("\r\n\r\nhi"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_waited_for_is_asked_for_when_it_is_read() {
    let reads = filter_fn(|request, _| {
        // Whoever peeks reads.
        assert!(request.head().headers().contains("expect"));
        Ok(Flow::Continue)
    });
    let stage = Stage::with(ScriptedConnector::always(Script::new().read_request().answer(ok("end"))), |builder| {
        builder.filter(reads)
    });
    let mut client = connect(&stage).await;
    let mut post = request("POST", URI);
    post.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let (mut response, mut send) = client.begin(post, false).await;
    let interim = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    send.send_data("body".into(), true).unwrap();
    assert_eq!(Answer::read(response).await.unwrap().text(), "end");
    assert!(stage.origin().received(0).contains("body"));
}

#[tokio::test(start_paused = true)]
async fn many_streams_are_served_at_once() {
    let stage = Stage::new(Script::new().read_request().wait(S).answer(ok("late")).repeat());
    let mut client = connect(&stage).await;
    let started = tokio::time::Instant::now();
    let mut answers = Vec::new();
    for _ in 0..100 {
        answers.push(client.begin(request("GET", URI), true).await.0);
    }
    for answer in answers {
        assert_eq!(Answer::read(answer).await.unwrap().text(), "late");
    }
    assert_eq!((started.elapsed().as_secs(), stage.origin().connections()), (1, 100));
    assert_eq!(stage.recorder().wait_for(100).await.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_broken_response_is_never_a_whole_one() {
    let check = async |text: &'static str, code| {
        let (stage, mut client) = before(Script::new().read_request().answer(text).close()).await;
        let (response, _) = client.begin(request("GET", URI), true).await;
        let error = Answer::read(response).await.expect_err(text);
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR), "{text}");
        assert_eq!(stage.code().await, code, "{text}");
        assert!(client.is_open(), "{text}");
    };
    check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "upstream_gone").await;
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "upstream_gone").await;
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "bad_response_body").await;
}

#[tokio::test(start_paused = true)]
async fn failures_have_the_status_that_they_have_over_http1() {
    let check = async |script: Script, code| {
        let (_, mut client) = before(script).await;
        assert_eq!(client.get(URI).await.status, code);
        assert!(client.is_open());
    };
    check(Script::refuse(), 502).await;
    check(Script::new().read_request().close(), 502).await;
    check(Script::new().read_request().answer("nonsense\r\n\r\n"), 502).await;
    check(Script::new().read_request(), 504).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_request_back_is_gone() {
    let (stage, mut client) = before(Script::new().read_request()).await;
    let (response, mut send) = client.begin(request("GET", URI), false).await;
    tokio::time::sleep(S).await;
    send.send_reset(h2::Reason::CANCEL);
    drop(response);
    assert_eq!(stage.code().await, "client_gone");
    // Its connection serves on.
    let (_, mut other) = before(Script::ok()).await;
    assert_eq!(other.get(URI).await.status, 200);
    let (response, _) = client.begin(request("GET", URI), true).await;
    drop((response, client));
    assert_eq!(stage.recorder().wait_for(2).await[1].error, Some(ErrorKind::ClientGone));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_as_long_as_it_says_reaches_nobody_as_a_whole() {
    for (declared, sent) in [("3", "four"), ("9", "four")] {
        let (stage, mut client) = before(Script::new().read_request().answer(ok("never"))).await;
        let mut post = request("POST", URI);
        post.headers_mut().insert("content-length", declared.parse().unwrap());
        let (response, mut send) = client.begin(post, false).await;
        send.send_data(sent.into(), true).unwrap();
        let error = Answer::read(response).await.expect_err(declared);
        assert_eq!(error.reason(), Some(h2::Reason::PROTOCOL_ERROR), "{declared}");
        assert_eq!(stage.code().await, "body_aborted", "{declared}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_read_no_faster_than_it_is_used() {
    let script = Script::new().read_head().wait(10 * S).read(8 * 1024 * 1024).answer(ok("all"));
    let (_, mut client) = before(script).await;
    let mut post = request("POST", URI);
    post.headers_mut().insert("content-length", (8 * 1024 * 1024).to_string().parse().unwrap());
    let (response, mut send) = client.begin(post, false).await;
    let (mut left, piece) = (8 * 1024 * 1024, Bytes::from(vec![7; 16 * 1024]));
    let mut before_origin_read = 0;
    let started = tokio::time::Instant::now();
    while left > 0 {
        send.reserve_capacity(left.min(piece.len()));
        let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
        send.send_data(piece.slice(..room), left == room).unwrap();
        left -= room;
        if started.elapsed() < 9 * S {
            before_origin_read += room;
        }
    }
    assert_eq!(Answer::read(response).await.unwrap().text(), "all");
    assert!(before_origin_read < 1024 * 1024, "{before_origin_read} bytes were taken from the client and kept");
}

#[tokio::test(start_paused = true)]
async fn a_large_response_fits_through_a_small_window() {
    let body = "0123456789abcdef".repeat(64 * 1024);
    let stage = Stage::new(Script::new().read_request().answer(ok(&body)));
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1000);
    let mut client = Http2Client::with(stage.connect().into_stream().0, &builder).await;
    let answer = client.get(URI).await;
    assert_eq!(answer.body.len(), body.len());
    assert!(answer.body == body.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_window_that_never_opens_ends_the_stream_and_nothing_else() {
    let stage = Stage::new(Script::ok());
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let mut client = Http2Client::with(stage.connect().into_stream().0, &builder).await;
    let (response, _) = client.begin(request("GET", URI), true).await;
    let error = Answer::read(response).await.expect_err("no window, no body");
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    assert_eq!(stage.code().await, "write_timeout");
    assert_eq!(client.send(request("HEAD", URI), "").await.status, 200);
}

/// Many a client sends all of its request before it looks at the answer, and takes a reset for a failure.
#[tokio::test(start_paused = true)]
async fn an_early_answer_takes_the_rest_of_the_body_in() {
    let early = Script::new().read_head().answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").read_to_end();
    let refuses = |builder: ProxyBuilder| {
        builder.filter(filter_fn(|_, _| Ok(Flow::Respond(Response::text(http::StatusCode::FORBIDDEN, "no")))))
    };
    let too_large = |builder: ProxyBuilder| builder.limits(Limits { max_body_bytes: Some(10), ..Limits::default() });
    let stages = [
        (403, Stage::new(early)),
        (403, Stage::with(ScriptedConnector::always(Script::ok()), refuses)),
        (413, Stage::with(ScriptedConnector::always(Script::ok()), too_large)),
    ];
    for (status, stage) in stages {
        let mut client = connect(&stage).await;
        let mut post = request("POST", URI);
        post.headers_mut().insert("content-length", "240000".parse().unwrap());
        let (response, mut send) = client.begin(post, false).await;
        let response = response.await.unwrap();
        assert_eq!(response.status(), status);
        let mut recv = response.into_body();
        while let Ok(Some(_)) = Answer::piece(&mut recv).await {}
        for last in [false, false, true] {
            send.send_data(vec![7; 80_000].into(), last).unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let reset = std::future::poll_fn(|cx| std::task::Poll::Ready(send.poll_reset(cx))).await;
        assert!(reset.is_pending(), "{status}: {reset:?}");
        assert_eq!(stage.outcome().await.status.unwrap(), status);
        let again = client.send(request("GET", URI), "").await;
        assert!(matches!(again.status, 200 | 403), "the connection goes on");
    }
}

/// It is not waited for without end: then the stream is reset, as RFC 9113 §8.1 has it.
#[tokio::test(start_paused = true)]
async fn the_rest_of_a_body_that_does_not_come_is_not_waited_for() {
    let refuses = |builder: ProxyBuilder| {
        builder.filter(filter_fn(|_, _| Ok(Flow::Respond(Response::text(http::StatusCode::FORBIDDEN, "no")))))
    };
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), refuses);
    let mut client = connect(&stage).await;
    let (response, mut send) = client.begin(request("POST", URI), false).await;
    assert_eq!(response.await.unwrap().status(), 403);
    let since = tokio::time::Instant::now();
    let reason = std::future::poll_fn(|cx| send.poll_reset(cx)).await.unwrap();
    assert_eq!((reason, since.elapsed().as_secs()), (h2::Reason::NO_ERROR, 2));
}

#[tokio::test(start_paused = true)]
async fn limits_are_those_of_http1() {
    let limits = Limits {
        max_head_bytes: 1000,
        max_headers: 10,
        max_target_bytes: 50,
        max_body_bytes: Some(5),
        ..Limits::default()
    };
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.limits(limits));
    let mut client = connect(&stage).await;
    let check = async |client: &mut Http2Client, request: http::Request<()>, body, code| {
        assert_eq!(client.send(request, body).await.status, code);
    };
    let with = |count: usize, length: usize| {
        let mut get = request("GET", URI);
        for number in 0..count {
            get.headers_mut().insert(
                http::HeaderName::try_from(format!("x-{number}")).unwrap(),
                "x".repeat(length).parse().unwrap(),
            );
        }
        get
    };
    check(&mut client, with(9, 1), "", 200).await;
    check(&mut client, with(10, 1), "", 431).await;
    check(&mut client, with(2, 600), "", 431).await;
    check(&mut client, with(2, 1200), "", 431).await;
    check(&mut client, request("GET", &format!("{URI}{}", "x".repeat(50))), "", 414).await;
    check(&mut client, request("POST", URI), "small", 200).await;
    let mut large = request("POST", URI);
    large.headers_mut().insert("content-length", "6".parse().unwrap());
    check(&mut client, large, "larger", 413).await;
    check(&mut client, request("CONNECT", "a.example:443"), "", 405).await;
    let mut expects = request("POST", URI);
    expects.headers_mut().insert("expect", "something".parse().unwrap());
    check(&mut client, expects, "x", 417).await;
    assert!(client.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_its_own_request() {
    let trouble = filter_fn(|request, _| match request.head().path() {
        "/bad" => panic!("trouble"),
        _ => Ok(Flow::Continue),
    });
    let stage = Stage::with(
        ScriptedConnector::always(Script::new().read_request().wait(S).answer(ok("fine")).repeat()),
        |builder| builder.filter(trouble),
    );
    let mut client = connect(&stage).await;
    let (beside, _) = client.begin(request("GET", URI), true).await;
    assert_eq!(client.get("http://a.example/bad").await.status, 500);
    assert_eq!(Answer::read(beside).await.unwrap().text(), "fine");
}

#[tokio::test(start_paused = true)]
async fn idle_connections_end_with_a_word() {
    let stage = Stage::new(Script::ok());
    let started = tokio::time::Instant::now();
    let silent = connect(&stage).await;
    while silent.is_open() {
        tokio::time::sleep(S).await;
    }
    assert!((10..14).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    let mut frames = Frames::open(stage.connect().into_stream().0).await;
    assert_eq!(frames.goodbye().await, Some(0));
    let mut used = connect(&stage).await;
    used.get(URI).await;
    let started = tokio::time::Instant::now();
    while used.is_open() {
        tokio::time::sleep(S).await;
    }
    assert!((74..78).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_closed() {
    let body = "x".repeat(1024 * 1024);
    let stage = Stage::new(Script::new().read_request().answer(ok(&body)));
    let (mut stream, _) = stage.connect().into_stream();
    let settings = Frame::new(4, 0, 0, [0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let window = Frame::new(8, 0, 0, [0x40, 0, 0, 0]);
    let head = Frame::headers(
        1,
        true,
        &fields([(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/")]),
    );
    let bytes = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings.bytes(), &window.bytes(), &head.bytes()].concat();
    stream.write_all(&bytes).await.unwrap();
    let started = tokio::time::Instant::now();
    stage.outcome().await;
    assert!((29..40).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() < body.len());
}

#[tokio::test(start_paused = true)]
async fn a_spent_connection_ends_when_its_requests_have() {
    let limits = Limits { max_requests_per_connection: Some(2), ..Limits::default() };
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.limits(limits));
    let mut client = connect(&stage).await;
    for _ in 0..2 {
        assert_eq!(client.get(URI).await.text(), "ok");
    }
    assert_eq!(client.ended().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_drain_loses_no_stream() {
    let origin = ScriptedConnector::always(Script::new().read_request().wait(5 * S).answer(ok("late")).repeat());
    let recorder = Recorder::new("r");
    let proxy = Proxy::builder()
        .filter(recorder.clone())
        .upstream("origin", origin.cluster())
        .route(Route::to("origin"))
        .build()
        .unwrap();
    let ((dialer, listener), (stop, stopped)) = (listen(), tokio::sync::oneshot::channel::<()>());
    let server = serve(listener, proxy).with_graceful_shutdown(async { stopped.await.unwrap_or(()) });
    let server = tokio::spawn(server.into_future());
    let mut client = Http2Client::over(dialer.dial().unwrap()).await;
    let idle = Http2Client::over(dialer.dial().unwrap()).await;
    let mut frames = Frames::open(dialer.dial().unwrap()).await;
    let (response, _) = client.begin(request("GET", URI), true).await;
    tokio::time::sleep(S).await;
    drop(stop);
    // The first GOAWAY leaves room for what is on its way (RFC 9113 §6.8).
    assert_eq!(frames.next_of(7).await.unwrap().payload[..4], [0x7f, 0xff, 0xff, 0xff]);
    let head = fields([(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/")]);
    frames.send(&Frame::headers(1, true, &head)).await;
    let ping = frames.next_of(6).await.unwrap();
    frames.send(&Frame::new(6, 1, 0, ping.payload)).await;
    let last = frames.next_of(7).await.unwrap();
    assert_eq!((&last.payload[..4], last.code()), (&[0, 0, 0, 1][..], 0));
    assert_eq!(frames.next_of(0).await.unwrap(), Frame::data(1, true, b"late"));
    assert_eq!(frames.next_of(7).await, None);
    assert_eq!(Answer::read(response).await.unwrap().text(), "late");
    assert_eq!((client.ended().await, idle.ended().await), (None, None));
    server.await.unwrap();
    assert!(recorder.outcomes().iter().all(|outcome| outcome.error.is_none()), "{:?}", recorder.outcomes());
}

#[tokio::test(start_paused = true)]
async fn a_replaced_proxy_has_every_later_stream() {
    let says = |text: &'static str| {
        let origin = ScriptedConnector::always(Script::new().read_request().wait(S).answer(ok(text)).repeat());
        Proxy::builder().upstream("origin", origin.cluster()).route(Route::to("origin")).build().unwrap()
    };
    let (live, (dialer, listener)) = (LiveProxy::new(says("old")), listen());
    tokio::spawn(serve(listener, live.clone()).into_future());
    let mut client = Http2Client::over(dialer.dial().unwrap()).await;
    let (before, _) = client.begin(request("GET", URI), true).await;
    tokio::time::sleep(S / 2).await;
    live.replace(says("new"));
    let after = client.get(URI).await;
    assert_eq!((Answer::read(before).await.unwrap().text(), after.text()), ("old", "new"));
}

#[tokio::test(start_paused = true)]
async fn connect_opens_a_tunnel() {
    let tunnels = filter_fn(|_, _| {
        let (near, mut far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(&mut far);
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        Ok(Flow::Respond(Response::tunnel(proxy_core::Connection::new(near))))
    });
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.filter(tunnels));
    let mut client = connect(&stage).await;
    let (response, mut send) = client.begin(request("CONNECT", "a.example:443"), false).await;
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    let mut recv = response.into_body();
    for word in ["there", "and", "back"] {
        send.send_data(word.into(), false).unwrap();
        assert_eq!(Answer::piece(&mut recv).await.unwrap().unwrap(), word);
    }
    send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(Answer::piece(&mut recv).await.unwrap(), None);
    let outcome = stage.outcome().await;
    assert_eq!((outcome.error, outcome.bytes_received, outcome.bytes_sent), (None, 12, 12));
}

fn websocket(protocol: &'static str) -> http::Request<()> {
    let mut request = request("CONNECT", "http://a.example/chat?x=y");
    request.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
    for (name, value) in [("sec-websocket-version", "13"), ("origin", "http://a.example")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

#[tokio::test(start_paused = true)]
async fn a_websocket_goes_through_one_stream() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    let (stage, mut client) = before(Script::new().read_head().answer(switch).echo()).await;
    let (response, mut send) = client.begin(websocket("websocket"), false).await;
    let response = response.await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().len()), (200, 1), "{response:?}");
    let mut recv = response.into_body();
    for word in ["there", "and", "back"] {
        send.send_data(word.into(), false).unwrap();
        assert_eq!(Answer::piece(&mut recv).await.unwrap().unwrap(), word);
    }
    let received = stage.origin().received(0);
    assert!(received.starts_with("GET /chat?x=y HTTP/1.1\r\nhost: a.example\r\n"), "{received}");
    for line in ["\r\nupgrade: websocket\r\n", "\r\nConnection: upgrade\r\n", "\r\nsec-websocket-version: 13\r\n"] {
        assert!(received.contains(line), "{line:?} is not in {received}");
    }
    let key = received.split("sec-websocket-key: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    assert!(key.is_some_and(|key| key.len() == 24 && key.ends_with("A==")), "{received}");
    // Other requests share the connection.
    assert!(client.is_open());
    send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(Answer::piece(&mut recv).await.unwrap(), None);
    assert_eq!(stage.code().await, "ok");
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_is_refused_is_an_ordinary_answer() {
    let (_, mut client) =
        before(Script::new().read_head().answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")).await;
    let (response, _send) = client.begin(websocket("websocket"), false).await;
    let answer = Answer::read(response).await.unwrap();
    assert_eq!((answer.status, answer.text()), (403, "no"));
    let (stage, mut client) = before(Script::ok()).await;
    let (response, _send) = client.begin(websocket("connect-udp"), false).await;
    assert_eq!(Answer::read(response).await.unwrap().status, 501);
    assert_eq!(stage.origin().connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn where_it_is_not_spoken_its_preface_is_refused() {
    let off = |builder: ProxyBuilder| builder.http2(None::<Http2>);
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), off);
    let mut client = stage.connect_and_send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(client.read_response().await.status(), 505);
}

#[tokio::test(start_paused = true)]
async fn the_preface_may_come_in_any_pieces() {
    for cut in 1..24 {
        let stage = Stage::new(Script::new().read_request().answer(status(204)));
        let (mut stream, _) = stage.connect().into_stream();
        let (first, rest) = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".split_at(cut);
        stream.write_all(first).await.unwrap();
        tokio::time::sleep(S).await;
        stream.write_all(rest).await.unwrap();
        stream.write_all(&Frame::new(4, 0, 0, []).bytes()).await.unwrap();
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[3], 4, "settings, cut at {cut}");
    }
}

/// Counts what connections were ended for.
#[derive(Clone, Debug, Default)]
struct Failures(Arc<Mutex<Vec<ErrorKind>>>);

impl Failures {
    fn seen(&self) -> Vec<ErrorKind> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Failures {
    fn on_connection_failed(&self, _: &Peer, error: ErrorKind) {
        self.0.lock().unwrap().push(error);
    }
}
