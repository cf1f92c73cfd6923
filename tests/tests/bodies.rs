//! Bodies on their way: transforms, peeking, replacing, trailers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{
    AsyncTransform, Body, Cluster, Connector, Context, Filter, Flow, Forwarding, Io, Request, Response, Result,
    SharedPool, Target, Transform, filter_fn, selector_fn,
};
use tests::{GET, Stage, ok, post};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Upper case, and at the end how many bytes there were.
#[derive(Default)]
struct Shout(usize);

impl Transform for Shout {
    fn chunk(&mut self, chunk: Bytes) -> Result<Bytes> {
        self.0 += chunk.len();
        Ok(chunk.to_ascii_uppercase().into())
    }

    fn finish(&mut self) -> Result<Bytes> {
        Ok(format!("[{}]", self.0).into())
    }
}

/// Keeps everything back until the end.
#[derive(Default)]
struct Hold(Vec<u8>);

impl Transform for Hold {
    fn chunk(&mut self, chunk: Bytes) -> Result<Bytes> {
        self.0.extend_from_slice(&chunk);
        Ok(Bytes::new())
    }

    fn finish(&mut self) -> Result<Bytes> {
        Ok(std::mem::take(&mut self.0).into())
    }
}

/// A second for each chunk, and one for the end.
struct Slow;

#[async_trait]
impl AsyncTransform for Slow {
    async fn chunk(&mut self, chunk: Bytes) -> Result<Bytes> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(chunk)
    }

    async fn finish(&mut self) -> Result<Bytes> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok("!".into())
    }
}

/// Changes the bodies of both directions.
#[derive(Clone, Copy)]
struct Change {
    request: fn(Body) -> Body,
    response: fn(Body) -> Body,
}

fn same(body: Body) -> Body {
    body
}

#[async_trait]
impl Filter for Change {
    async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
        request.replace_body(self.request);
        Ok(Flow::Continue)
    }

    fn on_response(&self, response: &mut Response, _: &mut Context) -> Result<()> {
        response.replace_body(self.response);
        Ok(())
    }
}

/// A stage that changes bodies, and adds no forwarding fields.
fn stage(script: Script, change: impl Filter) -> Stage {
    let origin = ScriptedConnector::always(script);
    Stage::with(origin, |builder| builder.filter(change).forwarding(Forwarding::none()))
}

/// What the client gets of this answer through a change of response bodies: framing and text.
async fn check_response(answer: &str, change: fn(Body) -> Body, framing: &str, text: &str) {
    let script = Script::new().read_request().answer(answer.to_owned()).repeat();
    let stage = stage(script, Change { request: same, response: change });
    let mut client = stage.connect();
    // Twice, since what follows shows that the framing was kept.
    for _ in 0..2 {
        client.send(GET).await;
        let response = client.read_response().await;
        let header = framing.split_once(": ").expect("a field");
        assert_eq!(response.header(header.0), Some(header.1), "{answer:?}: {}", response.head());
        assert_eq!(response.text(), text, "{answer:?}");
    }
    assert_eq!(stage.origin().connections(), 1, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_transformed_response_is_framed_anew() {
    let (sized, chunked) =
        (ok("hi"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n");
    for answer in [&sized, chunked] {
        check_response(answer, |body| body.transform(Shout::default()), "Transfer-Encoding: chunked", "HI[2]").await;
        check_response(answer, |body| body.transform(Hold::default()), "Transfer-Encoding: chunked", "hi").await;
        check_response(answer, |body| body.transform_async(Slow), "Transfer-Encoding: chunked", "hi!").await;
        let twice = |body: Body| body.transform(Shout::default()).transform(Shout::default());
        check_response(answer, twice, "Transfer-Encoding: chunked", "HI[2][5]").await;
    }
    check_response(&ok(""), |body| body.transform(Shout::default()), "Transfer-Encoding: chunked", "[0]").await;
    check_response(&sized, |_| Body::from("replaced"), "Content-Length: 8", "replaced").await;
    check_response(&sized, |_| Body::empty(), "Content-Length: 0", "").await;
    check_response(&sized, same, "Content-Length: 2", "hi").await;
    check_response(chunked, same, "Transfer-Encoding: chunked", "hi").await;
}

/// HEAD, 204 and 304 stay without a body, whatever a filter makes of it.
#[tokio::test(start_paused = true)]
async fn what_carries_no_body_gets_none() {
    let table = [
        ("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        (GET, "HTTP/1.1 204 None\r\n\r\n"),
        (GET, "HTTP/1.1 304 Same\r\n\r\n"),
    ];
    for (request, answer) in table {
        let script = Script::new().read_request().answer(answer).repeat();
        let stage = stage(script, Change { request: same, response: |_| Body::from("body") });
        let mut client = stage.connect();
        for _ in 0..2 {
            client.send(request).await;
            let head = client.read_head().await;
            assert_eq!(head.header("transfer-encoding"), None, "{answer:?}");
        }
        client.half_close().await;
        assert!(client.is_closed().await, "{answer:?} had a body");
    }
}

/// What the origin gets behind the head of this request, through a change of request bodies.
async fn check_request(request: &str, change: fn(Body) -> Body, framing: &str, body: &str) {
    let stage = stage(Script::ok(), Change { request: change, response: same });
    let mut client = stage.connect();
    for _ in 0..2 {
        client.send(request).await;
        assert_eq!(client.read_response().await.text(), "ok", "{request:?}");
    }
    let received = stage.origin().received(0);
    let expected = format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n{body}").repeat(2);
    assert_eq!(received, expected, "{request:?}");
}

#[tokio::test(start_paused = true)]
async fn a_transformed_request_is_framed_anew() {
    let sized = post("hi");
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let again = "Transfer-Encoding: chunked";
    for request in [&sized, chunked] {
        check_request(request, |body| body.transform(Shout::default()), again, "2\r\nHI\r\n3\r\n[2]\r\n0\r\n\r\n")
            .await;
        check_request(request, |body| body.transform_async(Slow), again, "2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n").await;
        check_request(request, |_| Body::from("replaced"), "Content-Length: 8", "replaced").await;
        check_request(request, |_| Body::empty(), "Content-Length: 0", "").await;
    }
    check_request(&sized, same, "Content-Length: 2", "hi").await;
    check_request(chunked, same, again, "2\r\nhi\r\n0\r\n\r\n").await;
}

/// A plugin's framing fields are held against the body, in both directions.
#[tokio::test(start_paused = true)]
async fn a_filter_cannot_frame_a_message() {
    /// Sets these fields on both.
    struct Frames(&'static [(&'static str, &'static str)]);

    impl Frames {
        fn set(&self, headers: &mut proxy_core::Headers) {
            for (name, value) in self.0 {
                let name = http::HeaderName::from_static(name);
                headers.insert(name, http::HeaderValue::from_static(value));
            }
        }
    }

    #[async_trait]
    impl Filter for Frames {
        async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
            self.set(request.head_mut().headers_mut());
            Ok(Flow::Continue)
        }

        fn on_response(&self, response: &mut Response, _: &mut Context) -> Result<()> {
            self.set(response.head_mut().headers_mut());
            Ok(())
        }
    }

    let chunked = "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let fields: [&[(&str, &str)]; 4] = [
        &[("content-length", "1")],
        &[("content-length", "3"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "chunked")],
        &[("transfer-encoding", "gzip, chunked")],
    ];
    for fields in fields {
        for framed in ["Content-Length: 2\r\n\r\nhi", chunked] {
            let script = Script::new().read_request().answer(format!("HTTP/1.1 200 OK\r\n{framed}")).repeat();
            let stage = stage(script, Frames(fields));
            let mut client = stage.connect();
            for _ in 0..2 {
                client.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{framed}")).await;
                let got = client.read(format!("HTTP/1.1 200 OK\r\n{framed}").len()).await;
                assert_eq!(String::from_utf8_lossy(&got), format!("HTTP/1.1 200 OK\r\n{framed}"), "{fields:?}");
            }
            let sent = format!("POST / HTTP/1.1\r\nHost: h\r\n{framed}").repeat(2);
            assert_eq!(stage.origin().received(0), sent, "{fields:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_async_transform_waits_without_blocking() {
    let script = Script::new().read_request().answer(ok("hi"));
    let stage = stage(script, Change { request: same, response: |body| body.transform_async(Slow) });
    let started = Instant::now();
    let mut client = stage.connect_and_send(GET).await;
    assert_eq!(client.read_response().await.text(), "hi!");
    assert_eq!(started.elapsed().as_secs(), 2);
}

/// A transform that fails on the second chunk.
struct Fails(bool);

impl Transform for Fails {
    fn chunk(&mut self, chunk: Bytes) -> Result<Bytes> {
        match std::mem::replace(&mut self.0, true) {
            true => Err(proxy_core::Error::plugin("no more")),
            false => Ok(chunk),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_transform_that_fails_breaks_the_message_off() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n";
    let script = Script::new().read_request().answer(answer).wait(Duration::from_secs(1)).answer("1\r\ni\r\n0\r\n\r\n");
    let response = stage(script, Change { request: same, response: |body| body.transform(Fails(false)) });
    let mut client = response.connect_and_send(GET).await;
    assert!(client.try_read_response().await.is_none());
    assert_eq!(response.code().await, "plugin");

    let request = stage(Script::ok(), Change { request: |body| body.transform(Fails(true)), response: same });
    let mut client = request.connect_and_send(post("hi")).await;
    assert_eq!(client.read_response().await.status(), 500);
    assert_eq!(request.code().await, "plugin");
    assert!(!request.origin().received_in_all().ends_with("0\r\n\r\n"));
}

#[tokio::test(start_paused = true)]
async fn trailers_pass_a_transform() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n";
    for change in [|body: Body| body.transform(Shout::default()), |body: Body| body.transform_async(Slow)] {
        let stage = stage(Script::new().read_request().answer(answer), Change { request: change, response: change });
        let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Up: 2\r\n\r\n";
        let mut client = stage.connect_and_send(request).await;
        assert_eq!(client.read_response().await.trailer("x-sum"), Some("1"));
        assert!(stage.origin().received(0).ends_with("0\r\nx-up: 2\r\n\r\n"));
    }
}

/// Looks at the first bytes of a request, and refuses some.
struct Inspect(usize);

#[async_trait]
impl Filter for Inspect {
    async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
        let seen = request.body_mut().peek(self.0).await?;
        match seen.windows(6).any(|window| window == b"attack") {
            true => Ok(Flow::Respond(Response::status(http::StatusCode::FORBIDDEN))),
            false => Ok(Flow::Continue),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn peeking_takes_nothing_from_the_body() {
    let long = "0123456789".repeat(30_000);
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    for (request, count) in [
        (post("hello"), 3),
        (post("hello"), 5),
        (post("hello"), 500),
        (post(""), 5),
        (post(&long), 65_536),
        (chunked, 65_536),
    ] {
        let stage = stage(Script::ok(), Inspect(count));
        let mut client = stage.connect();
        for _ in 0..2 {
            client.send(&request).await;
            assert_eq!(client.read_response().await.text(), "ok", "{count} of {}", request.len());
        }
        let received = stage.origin().received(0);
        match request.contains("chunked") {
            true => assert_eq!(unchunked(&received), unchunked(&request).repeat(2)),
            false => assert_eq!(received, request.repeat(2)),
        }
    }
}

/// The digits of all chunks; sizes are told from data by their length.
fn unchunked(messages: &str) -> String {
    messages.split("\r\n").filter(|line| line.len() > 100).collect()
}

/// A body that was peeked at and not sent on is drained, or ends the connection.
#[tokio::test(start_paused = true)]
async fn a_refused_body_leaves_the_connection_usable_within_the_bound() {
    let stage = stage(Script::ok(), Inspect(64));
    let mut client = stage.connect_and_send(format!("{}{GET}", post(&format!("attack{}", "x".repeat(1000))))).await;
    assert_eq!(client.read_response().await.status(), 403);
    assert_eq!(client.read_response().await.text(), "ok");
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n";
    client.send(format!("{head}attack{}", "x".repeat(64))).await;
    let response = client.read_response().await;
    assert_eq!((response.status(), response.header("connection")), (403, Some("close")));
}

/// What a filter left unread is no request: this one would have the method `hiGET`.
#[tokio::test(start_paused = true)]
async fn an_unread_body_is_never_taken_for_a_request() {
    let refuse = || {
        filter_fn(|request, _| match request.head().method() {
            &http::Method::POST => Ok(Flow::Respond(Response::text(http::StatusCode::TOO_MANY_REQUESTS, "later"))),
            _ => Ok(Flow::Continue),
        })
    };
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_owned();
    for request in [post("hi"), post(GET), chunked] {
        let stage = stage(Script::ok(), refuse());
        let mut client = stage.connect_and_send(format!("{request}{GET}")).await;
        assert_eq!(client.read_response().await.status(), 429);
        assert_eq!(client.read_response().await.text(), "ok");
        client.leave().await;
        assert_eq!(stage.recorder().outcomes().len(), 2, "{request:?}");
        assert_eq!(stage.origin().received_in_all(), GET, "{request:?}");
    }
}

/// A filter that reads and does not care how it went.
struct Careless;

#[async_trait]
impl Filter for Careless {
    async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
        let _ = request.body_mut().peek(64).await;
        Ok(Flow::Continue)
    }
}

/// Read again from where it broke, `5Zbcd` would be a chunk of five bytes.
#[tokio::test(start_paused = true)]
async fn a_malformed_body_stays_malformed() {
    let stage = stage(Script::ok(), Careless);
    let body = "1\r\na\r\n5Zbcd\r\n0\r\n\r\n";
    let request = format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let mut client = stage.connect_and_send(request).await;
    assert_eq!(client.read_response().await.status(), 400);
    assert_eq!(stage.code().await, "bad_chunk");
    assert!(client.is_closed().await);
}

/// The first read of a body sends the `100 Continue` that the client waits for; no read sends none.
#[tokio::test(start_paused = true)]
async fn reading_a_body_asks_for_it() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let peeks = stage(Script::ok(), Inspect(64));
    let mut client = peeks.connect_and_send(head).await;
    assert_eq!(client.read_head().await.status(), 100);
    client.send("hello").await;
    assert_eq!(client.read_response().await.text(), "ok");
    assert!(peeks.origin().received(0).ends_with("\r\n\r\nhello"));

    let refuses = filter_fn(|_, _| Ok(Flow::Respond(Response::status(http::StatusCode::FORBIDDEN))));
    let mut client = stage(Script::ok(), refuses).connect_and_send(head).await;
    let response = client.read_response().await;
    assert_eq!((response.status(), response.header("connection")), (403, Some("close")));
    assert!(client.is_closed().await);
}

/// A filter that answers with what it was sent.
struct Echo;

#[async_trait]
impl Filter for Echo {
    async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
        let body = std::mem::take(request.body_mut());
        let bytes = body.collect().await?.to_bytes();
        Ok(Flow::Respond(Response::new(proxy_core::ResponseHead::new(http::StatusCode::OK), Body::full(bytes))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_filter_may_read_the_whole_body() {
    let stage = stage(Script::ok(), Echo);
    let mut client = stage.connect();
    for body in ["hello", "", "again"] {
        client.send(post(body)).await;
        assert_eq!(client.read_response().await.text(), body);
    }
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n").await;
    assert_eq!(client.read_response().await.text(), "abc");
    assert_eq!(stage.origin().connections(), 0);
}

/// An origin that answers early, with a body that ends with the connection, and is killed in the midst of both.
///
/// As sockets do it, the reset is told once: to whoever writes, and whoever reads then sees an end.
#[derive(Default)]
struct Killed {
    room: usize,
    answered: bool,
    told: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl AsyncRead for Killed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Task<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.told {
            return Poll::Ready(Ok(()));
        }
        if !std::mem::replace(&mut self.answered, true) {
            buffer.put_slice(b"HTTP/1.1 200 OK\r\n\r\nthe first half");
            return Poll::Ready(Ok(()));
        }
        // By now the first half is on its way.
        self.reader = Some(cx.waker().clone());
        self.writer.take().inspect(Waker::wake_by_ref);
        Poll::Pending
    }
}

impl AsyncWrite for Killed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.reader.is_some() {
            self.told = true;
            self.reader.take().inspect(Waker::wake_by_ref);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let count = bytes.len().min(self.room);
        self.room -= count;
        if count == 0 {
            self.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Io for Killed {}

#[async_trait]
impl Connector for Killed {
    async fn connect(&self, _: &Target) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(Killed { room: 1000, ..Killed::default() }))
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_found_by_writing_is_no_end_of_a_response() {
    let pool = SharedPool::builder().connector(Arc::new(Killed::default())).build();
    let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()));
    let upstream = cluster.backend("origin:80".parse().unwrap()).build_with(pool);
    let stage = Stage::to(ScriptedConnector::default(), upstream, |builder| builder);
    // More than the origin takes, and not all of it.
    let begun = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(5000));
    let mut client = stage.connect_and_send(begun).await;
    assert_eq!(client.read_head().await.status(), 200);
    let rest = client.read_to_end().await;
    assert!(rest.ends_with(b"the first half\r\n"), "{:?}", String::from_utf8_lossy(&rest));
    assert_eq!(stage.code().await, "upstream_gone");
}
