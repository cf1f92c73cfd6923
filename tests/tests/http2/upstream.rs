//! HTTP/2 with backends: the bridges, and the connections that requests share.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::Reason;
use h2::server::Builder;
use http::{HeaderMap, Response};
use proxy_core::testing::{Recorder, TestClient, TestProxy};
use proxy_core::{ErrorKind, Pool, PoolHttp2, Protocol, Proxy, RetryPolicy, Route, Target, Upstream, UpstreamTimeouts};
use tests::{Answer, Call, Frame, Frames, Http2Client, MemoryOrigin, request};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::{S, URI};

/// A proxy before an upstream, with a filter that records.
pub(super) struct Bridge {
    proxy: TestProxy,
    pub(super) recorder: Recorder,
}

impl Bridge {
    pub(super) fn to(upstream: impl Upstream) -> Self {
        let recorder = Recorder::new("recorder");
        let builder = Proxy::builder().filter(recorder.clone()).upstream("origin", upstream).route(Route::to("origin"));
        Bridge { proxy: TestProxy::new(builder.build().unwrap()), recorder }
    }

    fn http1(&self) -> TestClient {
        self.proxy.connect()
    }

    pub(super) async fn http2(&self) -> Http2Client {
        Http2Client::over(self.proxy.connect().into_stream().0).await
    }

    /// A client of HTTP/1 that has sent these bytes.
    async fn sent(&self, bytes: impl AsRef<[u8]>) -> TestClient {
        let mut client = self.http1();
        client.send(bytes).await;
        client
    }

    async fn code(&self) -> &'static str {
        self.recorder.outcome().await.error.map_or("ok", |kind| kind.code())
    }
}

/// Answers everything with this.
fn answers(text: &'static str) -> MemoryOrigin {
    MemoryOrigin::http2(move |mut call| async move { call.answer(text) })
}

/// A whole request: head, body and trailers.
type Whole = (http::request::Parts, Vec<u8>, Option<HeaderMap>);

/// Has what it sees sent on, and answers with `ok`.
fn watched() -> (MemoryOrigin, mpsc::UnboundedReceiver<Whole>) {
    let (seen, sees) = mpsc::unbounded_channel();
    let origin = MemoryOrigin::http2(move |mut call: Call| {
        let seen = seen.clone();
        async move {
            let body = call.read().await;
            let trailers = call.request.body_mut().trailers().await.unwrap_or(None);
            call.answer("ok");
            let _ = seen.send((call.request.into_parts().0, body, trailers));
        }
    });
    (origin, sees)
}

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn a_request_of_http1_becomes_one_of_http2() {
    let (origin, mut sees) = watched();
    let bridge = Bridge::to(origin.upstream());
    let mut client = bridge
        .sent(
            "POST /a?b=c HTTP/1.1\r\nHost: a.example:81\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\
             Keep-Alive: timeout=1\r\nTE: trailers, gzip\r\nCookie: a=1; b=2\r\nX-Case: Kept\r\nContent-Length: 2\r\n\r\nhi",
        )
        .await;
    let answer = client.read_response().await;
    assert_eq!((answer.status(), answer.text(), answer.header("content-length")), (200, "ok", None));
    let (head, body, _) = sees.recv().await.unwrap();
    assert_eq!(head.uri, "http://a.example:81/a?b=c");
    assert_eq!((head.method, body), (http::Method::POST, b"hi".to_vec()));
    let mut fields: Vec<_> =
        head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "content-length: 2",
            "cookie: a=1; b=2",
            "te: trailers",
            "via: 1.1 proxy",
            "x-case: Kept",
            "x-forwarded-for: 192.0.2.1",
            "x-forwarded-proto: http",
        ]
    );
    // The next request of the connection.
    client.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.read_response().await.status(), 200);
    assert_eq!(sees.recv().await.unwrap().0.uri.path(), "*");
    assert_eq!(origin.connections(), 1);
    assert_eq!(bridge.recorder.wait_for(2).await[1].error, None);
}

#[tokio::test(start_paused = true)]
async fn a_request_of_http2_stays_one() {
    let (origin, mut sees) = watched();
    let bridge = Bridge::to(origin.upstream());
    let mut client = bridge.http2().await;
    let mut post = request("POST", "http://a.example/x");
    for (name, value) in [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")] {
        post.headers_mut().append(name, value.parse().unwrap());
    }
    let (response, mut send) = client.begin(post, false).await;
    send.send_data("body".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "4".parse().unwrap());
    send.send_trailers(trailers.clone()).unwrap();
    assert_eq!(Answer::read(response).await.unwrap().text(), "ok");
    let (head, body, behind) = sees.recv().await.unwrap();
    assert_eq!((&*body, behind), (&b"body"[..], Some(trailers)));
    assert_eq!(head.uri.authority().unwrap(), "a.example");
    assert_eq!(head.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    assert_eq!((head.headers.get("host"), &head.headers["te"]), (None, &"trailers".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn chunks_and_trailers_of_http1_go_both_ways() {
    let (seen, mut sees) = mpsc::unbounded_channel();
    let origin = MemoryOrigin::http2(move |mut call: Call| {
        let seen = seen.clone();
        async move {
            let body = call.read().await;
            seen.send((body, call.request.body_mut().trailers().await.unwrap())).unwrap();
            let mut send = call.respond.send_response(Response::new(()), false).unwrap();
            send.send_data("down".into(), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-end", "yes".parse().unwrap());
            // Those that may not trail are left out.
            trailers.insert("content-length", "3".parse().unwrap());
            send.send_trailers(trailers).unwrap();
        }
    });
    let bridge = Bridge::to(origin.upstream());
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nup\r\n0\r\nx-sum: 2\r\n\r\n";
    let mut client = bridge.sent(chunked).await;
    let answer = client.read_response().await;
    assert_eq!((answer.text(), answer.trailer("x-end"), answer.trailer("content-length")), ("down", Some("yes"), None));
    let (body, trailers) = sees.recv().await.unwrap();
    assert_eq!((&*body, trailers.unwrap()["x-sum"].to_str().unwrap()), (&b"up"[..], "2"));
}

/// A body whose length is declared may have trailers, too.
#[tokio::test(start_paused = true)]
async fn trailers_behind_a_declared_length_are_kept() {
    let origin = MemoryOrigin::http2(|mut call: Call| async move {
        let head = Response::builder().header("content-length", "2").body(()).unwrap();
        let mut send = call.respond.send_response(head, false).unwrap();
        send.send_data("ok".into(), false).unwrap();
        send.send_trailers([(http::HeaderName::from_static("x-end"), "1".parse().unwrap())].into_iter().collect())
            .unwrap();
    });
    let bridge = Bridge::to(origin.upstream());
    let answer = bridge.http2().await.get(URI).await;
    assert_eq!((answer.text(), answer.header("content-length")), ("ok", Some("2")));
    assert_eq!(answer.trailers.unwrap()["x-end"], "1");
    let mut http1 = bridge.sent(get("h")).await;
    assert_eq!(http1.read_response().await.text(), "ok");
}

/// What comes in goes out at once, in both directions.
fn echo() -> MemoryOrigin {
    MemoryOrigin::http2(|mut call: Call| async move {
        let mut send = call.respond.send_response(Response::new(()), false).unwrap();
        while let Some(Ok(data)) = call.request.body_mut().data().await {
            call.request.body_mut().flow_control().release_capacity(data.len()).unwrap();
            send.send_data(data, false).unwrap();
        }
        send.send_data(Bytes::new(), true).unwrap();
    })
}

#[tokio::test(start_paused = true)]
async fn both_bodies_stream_at_once() {
    let bridge = Bridge::to(echo().upstream());
    let mut client = bridge.http2().await;
    let (response, mut send) = client.begin(request("POST", URI), false).await;
    let mut recv = response.await.unwrap().into_body();
    for word in ["ping", "pong", "again"] {
        send.send_data(word.into(), false).unwrap();
        assert_eq!(Answer::piece(&mut recv).await.unwrap().unwrap(), word);
    }
    send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(Answer::piece(&mut recv).await.unwrap(), None);
    let mut client = bridge.sent("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.read_head().await;
    for word in ["ping", "pong"] {
        client.send(format!("4\r\n{word}\r\n")).await;
        assert_eq!(client.read(9).await, format!("4\r\n{word}\r\n").as_bytes());
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.read(5).await, b"0\r\n\r\n");
    assert!(bridge.recorder.wait_for(2).await.iter().all(|outcome| outcome.error.is_none()));
}

/// The client writes all of it before it reads.
#[tokio::test(start_paused = true)]
async fn an_origin_that_answers_first_is_not_blocked_by_what_the_client_sends() {
    let bridge = Bridge::to(echo().upstream());
    let body = vec![7; 100 * 1024];
    let mut client = bridge.sent(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    client.send(&body).await;
    let answer = client.read_response().await;
    assert!(answer.body() == body);
}

#[tokio::test(start_paused = true)]
async fn interim_responses_reach_clients_of_both() {
    let origin = MemoryOrigin::http2(|mut call: Call| async move {
        let hints = Response::builder().status(103).header("link", "</a.css>").body(()).unwrap();
        call.respond.send_informational(hints).unwrap();
        let waits = call.header("expect").is_some();
        if waits {
            call.respond.send_informational(Response::builder().status(100).body(()).unwrap()).unwrap();
        }
        let body = call.read().await;
        call.answer(body);
    });
    let bridge = Bridge::to(origin.upstream());
    let mut client =
        bridge.sent("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await;
    let hints = client.read_head().await;
    assert_eq!((hints.status(), hints.header("link")), (103, Some("</a.css>")));
    assert_eq!(client.read_head().await.status(), 100);
    client.send("hi").await;
    assert_eq!(client.read_response().await.text(), "hi");
    let mut client = bridge.http2().await;
    let (mut response, _) = client.begin(request("GET", URI), true).await;
    let interim = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
    assert_eq!(interim.status(), 103);
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn responses_without_a_body_have_none() {
    let origin = MemoryOrigin::http2(|mut call: Call| async move {
        let code: u16 = call.request.uri().path()[1..].parse().unwrap();
        let head = Response::builder().status(code).header("content-length", "7");
        let head = if code == 204 { Response::builder().status(204) } else { head };
        call.answer_with(head.body(()).unwrap(), Bytes::new());
    });
    let bridge = Bridge::to(origin.upstream());
    for (method, path, length) in [("HEAD", "200", Some("7")), ("GET", "204", None), ("GET", "304", Some("7"))] {
        let answer = bridge.http2().await.send(request(method, &format!("{URI}{path}")), "").await;
        assert_eq!((answer.body.len(), answer.header("content-length")), (0, length), "{method} {path}");
        let mut client = bridge.sent(format!("{method} /{path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        let head = client.read_head().await;
        assert_eq!((head.status().to_string().as_str(), head.header("content-length")), (path, length), "{method}");
        client.send(get("h").replace("GET /", "GET /204")).await;
        assert_eq!(client.read_response().await.status(), 204, "the connection goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn targets_that_http2_cannot_have_are_refused() {
    let bridge = Bridge::to(answers("ok").upstream());
    let mut client = bridge.sent("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.read_response().await.status(), 200, "the backend's address is the authority");
    let mut client = bridge.sent("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").await;
    assert_eq!(client.read_response().await.status(), 405);
}

// The connections.

/// Waits until this many requests are there, then answers all of them.
fn gathers(count: usize, builder: Builder) -> MemoryOrigin {
    let gathered = Arc::new(tokio::sync::Barrier::new(count));
    MemoryOrigin::http2_with(builder, move |mut call: Call| {
        let gathered = Arc::clone(&gathered);
        async move {
            gathered.wait().await;
            let connection = call.connection.to_string();
            call.answer(connection);
        }
    })
}

async fn at_once(bridge: &Bridge, count: usize) -> Vec<String> {
    let clients = (0..count).map(|_| bridge.sent(get("h")));
    let mut answers = Vec::new();
    for client in &mut futures_util::future::join_all(clients).await {
        answers.push(client.read_response().await.text().to_owned());
    }
    answers
}

#[tokio::test(start_paused = true)]
async fn requests_of_many_clients_share_a_connection() {
    let origin = gathers(100, Builder::new());
    let bridge = Bridge::to(origin.upstream());
    at_once(&bridge, 100).await;
    at_once(&bridge, 100).await;
    assert_eq!(origin.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn there_are_as_many_connections_as_streams_ask_for() {
    let check = async |theirs: Option<u32>, ours: usize, requests: usize, connections: usize| {
        let mut builder = Builder::new();
        theirs.map(|theirs| builder.max_concurrent_streams(theirs));
        let origin = gathers(requests, builder);
        let settings = PoolHttp2 { max_streams: ours, ..PoolHttp2::default() };
        let bridge = Bridge::to(origin.cluster(|cluster| cluster, |pool| pool.http2(settings)));
        let answers = at_once(&bridge, requests).await;
        assert_eq!(origin.connections(), connections, "{theirs:?} {ours}");
        let most = theirs.map_or(ours, |theirs| ours.min(theirs as usize));
        for connection in 0..connections {
            let served = answers.iter().filter(|answer| **answer == connection.to_string()).count();
            assert!((1..=most).contains(&served), "{served} on {connection}");
        }
    };
    check(None, 4, 16, 4).await;
    check(Some(2), 100, 8, 4).await;
    check(Some(50), 100, 50, 1).await;
    check(Some(1), 1, 3, 3).await;
}

#[tokio::test(start_paused = true)]
async fn where_no_more_connections_may_be_made_requests_wait_for_a_stream() {
    let origin = MemoryOrigin::http2(|mut call: Call| async move {
        tokio::time::sleep(S).await;
        call.answer("ok");
    });
    let settings = PoolHttp2 { max_streams: 2, ..PoolHttp2::default() };
    let pool = move |max_pending| {
        let settings = settings.clone();
        move |pool: proxy_core::PoolBuilder| pool.max_open_per_backend(1).max_pending(max_pending).http2(settings)
    };
    let bridge = Bridge::to(origin.cluster(|cluster| cluster, pool(100)));
    let started = Instant::now();
    assert_eq!(at_once(&bridge, 8).await, ["ok"; 8]);
    assert_eq!((started.elapsed().as_secs(), origin.connections()), (4, 1));
    // Those who leave leave the queue.
    let held = [bridge.sent(get("h")).await, bridge.sent(get("h")).await];
    let left = bridge.sent(get("h")).await;
    tokio::task::yield_now().await;
    left.leave().await;
    drop(held);
    let mut next = bridge.sent(get("h")).await;
    assert_eq!(next.read_response().await.text(), "ok");
    // And the queue has an end.
    let bridge = Bridge::to(origin.cluster(|cluster| cluster.retry(once()), pool(1)));
    let clients = futures_util::future::join_all((0..6).map(|_| bridge.sent(get("h")))).await;
    let mut statuses = Vec::new();
    for mut client in clients {
        statuses.push(client.read_response().await.status());
    }
    assert!(statuses.contains(&503) && statuses.iter().filter(|status| **status == 200).count() >= 3, "{statuses:?}");
}

fn once() -> RetryPolicy {
    RetryPolicy { attempts: 1, ..RetryPolicy::default() }
}

#[tokio::test(start_paused = true)]
async fn idle_and_old_and_used_up_connections_are_closed() {
    let origin = answers("ok");
    let pool = |pool: proxy_core::PoolBuilder| pool.idle_timeout(8 * S);
    let cluster = Arc::new(origin.cluster(|cluster| cluster, pool));
    let bridge = Bridge::to(Arc::clone(&cluster));
    at_once(&bridge, 1).await;
    let target = Target::new(cluster.backends().backends()[0].clone()).with_protocol(Protocol::Http2);
    assert_eq!(cluster.pool().idle(&target), 1);
    tokio::time::sleep(12 * S).await;
    assert_eq!((cluster.pool().idle(&target), cluster.pool().stats().closed), (0, 1));
    at_once(&bridge, 1).await;
    assert_eq!(origin.connections(), 2);
    // Who leaves the set takes its connections along.
    cluster.backends().replace([]).unwrap_err();
    cluster.pool().evict(target.backend());
    tokio::time::sleep(S).await;
    assert_eq!((cluster.pool().idle(&target), cluster.pool().stats().closed), (0, 2));

    let origin = answers("ok");
    let bridge = Bridge::to(origin.cluster(|cluster| cluster, |pool| pool.max_requests(3)));
    for _ in 0..9 {
        at_once(&bridge, 1).await;
    }
    assert_eq!(origin.connections(), 3);

    let origin = answers("ok");
    let bridge = Bridge::to(origin.cluster(|cluster| cluster, |pool| pool.max_age(4 * S)));
    for _ in 0..12 {
        at_once(&bridge, 1).await;
        tokio::time::sleep(S).await;
    }
    assert!((2..=4).contains(&origin.connections()), "{}", origin.connections());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_pool_is_the_end_of_its_connections() {
    let ended = Arc::new(Notify::new());
    let told = Arc::clone(&ended);
    let origin = MemoryOrigin::new(move |_, stream| {
        let told = Arc::clone(&told);
        tokio::spawn(async move {
            let mut server = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = server.accept().await {
                respond.send_response(Response::new(()), true).unwrap();
            }
            told.notify_one();
        });
    });
    let bridge = Bridge::to(origin.upstream());
    let mut client = bridge.sent(get("h")).await;
    client.read_response().await;
    client.leave().await;
    drop(bridge);
    ended.notified().await;
}

// What goes wrong.

#[tokio::test(start_paused = true)]
async fn a_refused_stream_goes_elsewhere_whatever_its_method() {
    let origin = MemoryOrigin::http2(|mut call: Call| async move {
        match call.connection {
            0 => call.reset(Reason::REFUSED_STREAM),
            _ => {
                let body = call.read().await;
                call.answer(body);
            }
        }
    });
    let two = |cluster: proxy_core::ClusterBuilder<_>| cluster.backend("other:80".parse().unwrap());
    let bridge = Bridge::to(origin.cluster(two, |pool| pool));
    let mut client = bridge.sent("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody").await;
    assert_eq!(client.read_response().await.text(), "body");
    assert_eq!(origin.made(), ["origin:80", "other:80"]);
    assert_eq!(bridge.recorder.outcome().await.attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_refuses_everything_is_503() {
    let origin = MemoryOrigin::http2(|mut call: Call| async move { call.reset(Reason::REFUSED_STREAM) });
    let bridge = Bridge::to(origin.upstream());
    let mut client = bridge.sent(get("h")).await;
    assert_eq!(client.read_response().await.status(), 503);
    assert_eq!(bridge.code().await, "stream_refused");
    assert_eq!(bridge.recorder.outcome().await.attempts, 3);
}

/// Answers as this says, by frames.
fn by_frames<F>(serve: impl Fn(usize, Frames) -> F + Clone + Send + Sync + 'static) -> MemoryOrigin
where
    F: Future<Output = ()> + Send + 'static,
{
    MemoryOrigin::new(move |number, stream| {
        let serve = serve.clone();
        tokio::spawn(async move { serve(number, Frames::accept(stream).await).await });
    })
}

fn goaway(last: u32) -> Frame {
    Frame::new(7, 0, 0, [last.to_be_bytes(), [0; 4]].concat())
}

/// The status 200, of the static table.
const OK: [u8; 1] = [0x88];

#[tokio::test(start_paused = true)]
async fn what_a_goaway_leaves_undone_is_sent_again() {
    let check = async |last: u32, head: &str, expected: Option<u16>, connections| {
        let origin = by_frames(move |number, mut frames| async move {
            while let Some(request) = frames.next_of(1).await {
                if number == 0 {
                    frames.send(&goaway(last)).await;
                    return;
                }
                frames.send(&Frame::headers(request.stream, true, &OK)).await;
            }
        });
        let bridge = Bridge::to(origin.upstream());
        let mut client = bridge.sent(format!("{head} / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")).await;
        let status = client.read_response().await.status();
        assert_eq!((Some(status), origin.connections()), (expected, connections), "{last} {head}");
    };
    check(0, "POST", Some(200), 2).await;
    check(0, "PUT", Some(200), 2).await;
    // It may have been done.
    check(1, "POST", Some(502), 1).await;
    check(1, "PUT", Some(200), 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_gets_no_new_requests_and_loses_none() {
    let (go, goes) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, tells) = (Arc::clone(&go), Arc::clone(&goes));
    let origin = MemoryOrigin::http2(move |mut call: Call| {
        let (go, goes) = (Arc::clone(&told), Arc::clone(&tells));
        async move {
            if call.number == 0 {
                call.end_connection();
                goes.notify_one();
                go.notified().await;
            }
            let connection = call.connection.to_string();
            call.answer(connection);
        }
    });
    let bridge = Bridge::to(origin.upstream());
    let mut first = bridge.sent(get("h")).await;
    goes.notified().await;
    tokio::time::sleep(S).await;
    assert_eq!(at_once(&bridge, 3).await, ["1"; 3]);
    go.notify_one();
    assert_eq!(first.read_response().await.text(), "0");
    assert!(bridge.recorder.wait_for(4).await.iter().all(|outcome| outcome.attempts == 1));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_breaks_off_is_never_a_whole_one() {
    let check = async |length: Option<&'static str>, reason: Option<Reason>, code, told| {
        let origin = MemoryOrigin::http2(move |mut call: Call| async move {
            let head = length.into_iter().fold(Response::builder(), |head, it| head.header("content-length", it));
            let mut send = call.respond.send_response(head.body(()).unwrap(), false).unwrap();
            send.send_data("part".into(), false).unwrap();
            tokio::time::sleep(S).await;
            match reason {
                Some(reason) => send.send_reset(reason),
                None => call.break_connection(Reason::INTERNAL_ERROR),
            }
            tokio::time::sleep(S).await;
        });
        let bridge = Bridge::to(origin.upstream());
        let mut client = bridge.sent(get("h")).await;
        let all = client.read_to_end().await;
        let all = String::from_utf8_lossy(&all);
        assert!(all.contains("part") && !all.ends_with("0\r\n\r\n"), "{all}");
        assert_eq!(bridge.code().await, code, "{length:?} {reason:?}");
        let (response, _) = bridge.http2().await.begin(request("GET", URI), true).await;
        let error = Answer::read(response).await.expect_err(code);
        assert_eq!(error.reason(), Some(told), "{length:?} {reason:?}");
    };
    check(None, Some(Reason::CANCEL), "stream_reset", Reason::CANCEL).await;
    check(Some("9"), Some(Reason::ENHANCE_YOUR_CALM), "stream_reset", Reason::ENHANCE_YOUR_CALM).await;
    check(None, Some(Reason::NO_ERROR), "stream_reset", Reason::INTERNAL_ERROR).await;
    check(Some("9"), None, "upstream_gone", Reason::INTERNAL_ERROR).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_response_is_502() {
    let check = async |frames: fn(u32) -> Vec<Frame>, code| {
        let origin = by_frames(move |_, mut connection| async move {
            while let Some(request) = connection.next_of(1).await {
                for frame in frames(request.stream) {
                    connection.send(&frame).await;
                }
            }
        });
        let bridge = Bridge::to(origin.cluster(|cluster| cluster.retry(once()), |pool| pool));
        let mut client = bridge.sent(get("h")).await;
        let _ = client.try_read_response().await;
        client.leave().await;
        assert_eq!(bridge.code().await, code);
    };
    check(|stream| vec![Frame::headers(stream, true, &tests::fields([("x", "no status")]))], "bad_response").await;
    check(|stream| vec![Frame::headers(stream, true, &tests::fields([(":status", "101")]))], "bad_response").await;
    check(
        |stream| vec![Frame::headers(stream, true, &tests::fields([(":status", "200"), ("connection", "close")]))],
        "bad_response",
    )
    .await;
    check(
        |stream| vec![Frame::headers(stream, true, &tests::fields([(":status", "200"), ("X", "1")]))],
        "bad_response",
    )
    .await;
    check(
        |stream| vec![Frame::headers(stream, true, &tests::fields([(":status", "200"), ("content-length", "5")]))],
        "bad_response",
    )
    .await;
    check(
        |stream| {
            vec![
                Frame::headers(stream, false, &tests::fields([(":status", "200"), ("content-length", "2")])),
                Frame::data(stream, true, b"three"),
            ]
        },
        "bad_response",
    )
    .await;
    check(|stream| vec![Frame::data(stream, true, b"first")], "bad_response").await;
    check(|_| vec![Frame::new(8, 0, 0, [0; 4])], "bad_response").await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_speaks_something_else_gets_no_request() {
    let origin = MemoryOrigin::new(|_, mut stream| {
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
    });
    let bridge = Bridge::to(origin.upstream());
    let mut client = bridge.sent(get("h")).await;
    assert_eq!(client.read_response().await.status(), 502);
    assert_eq!(bridge.code().await, "connect_http2");
    // And one that says nothing is not waited for without end.
    let silent = MemoryOrigin::new(|_, stream| {
        tokio::spawn(async move {
            let _held = stream;
            std::future::pending::<()>().await;
        });
    });
    let bridge = Bridge::to(silent.cluster(|cluster| cluster.retry(once()), |pool| pool));
    let started = Instant::now();
    // Those who wait for the same connection learn it with the one who makes it.
    let clients = futures_util::future::join_all((0..10).map(|_| bridge.sent(get("h")))).await;
    for mut client in clients {
        assert_eq!(client.read_response().await.status(), 504);
    }
    assert_eq!((started.elapsed().as_secs(), silent.connections()), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_found_out() {
    let held = |number: usize, mut frames: Frames| async move {
        while let Some(request) = frames.next_of(1).await {
            if number > 0 {
                frames.send(&Frame::headers(request.stream, true, &OK)).await;
            }
        }
    };
    // By the deadline of a request: others go elsewhere.
    let origin = by_frames(held);
    let timeouts = UpstreamTimeouts { response: 3 * S, ..UpstreamTimeouts::default() };
    let bridge = Bridge::to(origin.cluster(|cluster| cluster.timeouts(timeouts), |pool| pool));
    let mut client = bridge.sent(get("h")).await;
    assert_eq!(client.read_response().await.status(), 504);
    client.send(get("h")).await;
    assert_eq!(client.read_response().await.status(), 200);
    assert_eq!(origin.connections(), 2);

    // By a ping: its requests do not wait for theirs.
    let origin = by_frames(held);
    let settings = PoolHttp2 { ping_interval: Some(2 * S), ping_timeout: S, ..PoolHttp2::default() };
    let bridge = Bridge::to(origin.cluster(|cluster| cluster, |pool| pool.http2(settings)));
    let started = Instant::now();
    let mut client = bridge.sent(get("h")).await;
    assert_eq!(client.read_response().await.status(), 200, "it is safe to send again");
    assert!(started.elapsed() < 5 * S, "{:?}", started.elapsed());
    assert_eq!(origin.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend_that_answers_pings_is_waited_for() {
    let origin = MemoryOrigin::http2(|mut call: Call| async move {
        tokio::time::sleep(30 * S).await;
        call.answer("late");
    });
    let settings = PoolHttp2 { ping_interval: Some(2 * S), ping_timeout: S, ..PoolHttp2::default() };
    let bridge = Bridge::to(origin.cluster(|cluster| cluster, |pool| pool.http2(settings)));
    assert_eq!(at_once(&bridge, 1).await, ["late"]);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_takes_its_stream_back_and_nothing_else() {
    let (seen, mut sees) = mpsc::unbounded_channel();
    let origin = MemoryOrigin::http2(move |mut call: Call| {
        let seen = seen.clone();
        async move {
            if call.request.uri().path() == "/stays" {
                return call.answer("ok");
            }
            let reason = poll_fn(|cx| call.respond.poll_reset(cx)).await;
            seen.send(reason.unwrap()).unwrap();
        }
    });
    let bridge = Bridge::to(origin.upstream());
    let client = bridge.sent(get("h")).await;
    tokio::time::sleep(S).await;
    client.leave().await;
    assert_eq!(sees.recv().await, Some(Reason::CANCEL));
    let mut client = bridge.sent(get("h").replace("GET /", "GET /stays")).await;
    assert_eq!(client.read_response().await.text(), "ok");
    assert_eq!(origin.connections(), 1);
    assert_eq!(bridge.recorder.wait_for(2).await[0].error, Some(ErrorKind::ClientGone));
}

#[tokio::test(start_paused = true)]
async fn a_request_body_that_breaks_off_is_never_a_whole_one() {
    let (seen, mut sees) = mpsc::unbounded_channel();
    let origin = MemoryOrigin::http2(move |mut call: Call| {
        let seen = seen.clone();
        async move {
            let recv = call.request.body_mut();
            assert_eq!(recv.data().await.unwrap().unwrap(), "part");
            let end = match recv.data().await {
                Some(Err(error)) => error.reason(),
                other => panic!("{other:?}"),
            };
            seen.send(end).unwrap();
        }
    });
    let bridge = Bridge::to(origin.upstream());
    let client = bridge.sent("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\npart").await;
    tokio::time::sleep(S).await;
    client.leave().await;
    assert_eq!(sees.recv().await, Some(Some(Reason::CANCEL)));
}

/// RFC 9113 §8.1: such a reset is no failure.
#[tokio::test(start_paused = true)]
async fn an_early_answer_ends_the_upload() {
    let origin = by_frames(|_, mut frames| async move {
        while let Some(request) = frames.next_of(1).await {
            let head = Frame::headers(request.stream, false, &tests::fields([(":status", "413")]));
            let body = Frame::data(request.stream, true, b"no");
            let reset = Frame::new(3, 0, request.stream, [0; 4]);
            frames.send_bytes(&[head.bytes(), body.bytes(), reset.bytes()].concat()).await;
        }
    });
    let bridge = Bridge::to(origin.upstream());
    let mut client = bridge.sent("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n").await;
    client.send(vec![7; 50_000]).await;
    let answer = client.read_response().await;
    assert_eq!((answer.status(), answer.text()), (413, "no"));
    assert_eq!(bridge.code().await, "ok");
}

// Flow control.

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_its_own_response_and_no_other() {
    let sent = Arc::new(Mutex::new(0));
    let count = Arc::clone(&sent);
    let origin = MemoryOrigin::http2(move |mut call: Call| {
        let count = Arc::clone(&count);
        async move {
            if call.request.uri().path() != "/large" {
                return call.answer("small");
            }
            let mut send = call.respond.send_response(Response::new(()), false).unwrap();
            loop {
                send.reserve_capacity(16 * 1024);
                let Some(Ok(room)) = poll_fn(|cx| send.poll_capacity(cx)).await else { return };
                send.send_data(vec![7; room].into(), false).unwrap();
                *count.lock().unwrap() += room;
            }
        }
    });
    let settings = PoolHttp2 { max_streams: 10, stream_window: 64 * 1024, ..PoolHttp2::default() };
    let bridge = Bridge::to(origin.cluster(|cluster| cluster, |pool| pool.http2(settings)));
    let mut slow = Vec::new();
    for _ in 0..9 {
        slow.push(bridge.sent(get("h").replace("GET /", "GET /large")).await);
    }
    tokio::time::sleep(S).await;
    let held = *sent.lock().unwrap();
    // The window, and what lies between us and the client.
    assert!((9 * 64 * 1024..9 * 320 * 1024).contains(&held), "{held}");
    assert_eq!(at_once(&bridge, 1).await, ["small"], "in its own time");
    assert_eq!((origin.connections(), *sent.lock().unwrap()), (1, held));
    for client in &mut slow {
        client.read(256 * 1024).await;
    }
    assert!(*sent.lock().unwrap() > held + 9 * 128 * 1024);
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend_holds_the_client() {
    let origin = MemoryOrigin::http2(|mut call: Call| async move {
        tokio::time::sleep(10 * S).await;
        let length = call.read().await.len().to_string();
        call.answer(length);
    });
    let bridge = Bridge::to(origin.upstream());
    let mut client = bridge.http2().await;
    let mut post = request("POST", URI);
    const LENGTH: usize = 4 * 1024 * 1024;
    post.headers_mut().insert("content-length", LENGTH.to_string().parse().unwrap());
    let (response, mut send) = client.begin(post, false).await;
    let (mut left, mut early, started) = (LENGTH, 0, Instant::now());
    while left > 0 {
        send.reserve_capacity(left.min(16 * 1024));
        let room = poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
        send.send_data(vec![7; room].into(), left == room).unwrap();
        left -= room;
        early += if started.elapsed() < 9 * S { room } else { 0 };
    }
    assert_eq!(Answer::read(response).await.unwrap().text(), LENGTH.to_string());
    assert!(early < 1024 * 1024, "{early} bytes were taken from the client and kept");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_stalls_within_its_response_is_given_up() {
    let origin = MemoryOrigin::http2(|mut call: Call| async move {
        let mut send = call.respond.send_response(Response::new(()), false).unwrap();
        send.send_data("part".into(), false).unwrap();
        let _ = poll_fn(|cx| send.poll_reset(cx)).await;
    });
    let bridge = Bridge::to(origin.upstream());
    let (response, _) = bridge.http2().await.begin(request("GET", URI), true).await;
    Answer::read(response).await.expect_err("it does not end");
    assert_eq!(bridge.code().await, "response_stalled");
}

/// A client's PROXY header makes the connection that client's own.
#[tokio::test(start_paused = true)]
async fn a_connection_that_names_a_client_serves_one_request() {
    let origin = answers("ok");
    let introduced =
        |cluster: proxy_core::ClusterBuilder<_>| cluster.proxy_protocol(proxy_core::ProxyHeaderSender::v1());
    let bridge = Bridge::to(origin.cluster(introduced, |pool| pool));
    at_once(&bridge, 2).await;
    assert_eq!(origin.connections(), 2);
}
