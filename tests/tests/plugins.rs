//! The plugins this design was tried against. A change to a trait that breaks one of them is wrong.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::ws::{self as axum_ws, WebSocketUpgrade};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use proxy_core::testing::{Message as HttpMessage, Recorder, Script, ScriptedConnector, TestProxy};
use proxy_core::{
    Admission, AsyncTransform, Attempt, AttemptResult, Backend, Body, Candidates, Cluster, Connector, Context, Error,
    ErrorKind, Filter, Flow, Limits, Observer, Outcome, Peer, Phase, Pool, Proxy, ProxyBuilder, Request, RequestHead,
    Response, ResponseHead, Result, Route, SelectionContext, Selector, ServiceUpstream, SharedPool, Transform,
    Upstream, filter_fn, selector_fn,
};
use tests::{Front, GET, Stage, listen, ok, post, status};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tower::{Service, ServiceBuilder, ServiceExt};

fn stage(script: Script, filter: impl Filter) -> Stage {
    Stage::with(ScriptedConnector::always(script), |builder| builder.filter(filter))
}

async fn ask(stage: &Stage, request: &str) -> HttpMessage {
    stage.connect_and_send(request).await.read_response().await
}

fn answering(text: &str) -> Script {
    Script::new().read_request().answer(ok(text)).repeat()
}

/// A stage over `a:1` and `b:1`, which answer with their names.
fn two_backends(selector: impl Selector, configure: impl FnOnce(ProxyBuilder) -> ProxyBuilder) -> Stage {
    let origin =
        ScriptedConnector::default().backend_always("a:1", answering("a")).backend_always("b:1", answering("b"));
    let builder = Cluster::builder(selector)
        .backend("a:1".parse().expect("an address"))
        .backend("b:1".parse().expect("an address"));
    Stage::to(origin.clone(), builder.build_with(origin.pool()), configure)
}

// A selector.

/// By the last digit of the path, and a count of how attempts ended.
#[derive(Clone, Default)]
struct ByPath(Arc<Mutex<HashMap<String, usize>>>);

impl Selector for ByPath {
    fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend> {
        let last = context.request()?.path().bytes().last()?;
        candidates.at(usize::from(last - b'0')).cloned()
    }

    fn on_outcome(&self, backend: &Backend, attempt: &Attempt) {
        assert_eq!(attempt.result, AttemptResult::Response(StatusCode::OK));
        *self.0.lock().expect("no holder panicked").entry(backend.id().to_owned()).or_default() += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn a_selector_chooses_and_learns() {
    let selector = ByPath::default();
    let stage = two_backends(selector.clone(), |builder| builder);
    for (path, text) in [("/0", "a"), ("/1", "b"), ("/x/0", "a")] {
        assert_eq!(ask(&stage, &format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await.text(), text);
    }
    let counts = selector.0.lock().expect("no holder panicked").clone();
    assert_eq!((counts["a:1"], counts["b:1"]), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_selector_may_refuse() {
    let stage = two_backends(selector_fn(|_, _| None), |builder| builder);
    assert_eq!(ask(&stage, GET).await.status(), 503);
    assert_eq!(stage.code().await, "no_backend");
}

// A header filter.

struct Tag;

#[async_trait]
impl Filter for Tag {
    async fn on_request(&self, request: &mut Request, context: &mut Context) -> Result<Flow> {
        request.head_mut().headers_mut().insert(HeaderName::from_static("x-in"), HeaderValue::from_static("1"));
        context.insert(Instant::now());
        Ok(Flow::Continue)
    }

    fn on_forward(&self, head: &mut RequestHead, backend: &Backend, _: &mut Context) -> Result<()> {
        let id = HeaderValue::from_str(backend.id()).map_err(Error::plugin)?;
        head.headers_mut().append(HeaderName::from_static("x-to"), id);
        Ok(())
    }

    fn on_response(&self, response: &mut Response, context: &mut Context) -> Result<()> {
        let since = context.get::<Instant>().map_or(0, |since| since.elapsed().as_secs());
        response.head_mut().headers_mut().insert(HeaderName::from_static("x-took"), since.into());
        response.head_mut().headers_mut().remove("server");
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_filter_edits_both_ways_and_each_attempt_afresh() {
    let answer = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 0\r\n\r\n";
    let origin = ScriptedConnector::default()
        .backend_always("a:1", Script::refuse())
        .backend_always("b:1", Script::new().read_request().wait(Duration::from_secs(3)).answer(answer));
    let builder = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
        .backend("a:1".parse().expect("an address"))
        .backend("b:1".parse().expect("an address"));
    let stage = Stage::to(origin.clone(), builder.build_with(origin.pool()), |builder| builder.filter(Tag));
    let response = ask(&stage, GET).await;
    assert_eq!((response.header("x-took"), response.header("server")), (Some("3"), None));
    let received = stage.origin().received(1);
    assert!(received.contains("x-in: 1\r\n") && received.contains("x-to: b:1\r\n"), "{received}");
    assert!(!received.contains("a:1"), "the edits for another backend: {received}");
}

// 429.

/// So many requests at a time, and so many in all, of one client.
struct Limit {
    left: AtomicU64,
}

#[async_trait]
impl Filter for Limit {
    async fn on_request(&self, _: &mut Request, context: &mut Context) -> Result<Flow> {
        assert!(context.client().is_some(), "a limiter needs a key");
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if taken.is_ok() {
            return Ok(Flow::Continue);
        }
        let mut response = Response::text(StatusCode::TOO_MANY_REQUESTS, "slow down\n");
        response.head_mut().headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        Ok(Flow::Respond(response))
    }
}

#[tokio::test(start_paused = true)]
async fn a_limiter_answers_429() {
    let stage = stage(Script::ok(), Limit { left: AtomicU64::new(2) });
    let mut client = stage.connect();
    for status in [200, 200, 429, 429] {
        client.send(GET).await;
        let response = client.read_response().await;
        assert_eq!(response.status(), status);
        assert_eq!(response.header("retry-after").is_some(), status == 429);
    }
    assert_eq!(stage.origin().connections(), 1);
}

/// The guard of a connection is held as long as it lives.
struct Count(Arc<AtomicUsize>);
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Filter for Count {
    fn on_connection(&self, _: &Peer) -> Admission {
        self.0.fetch_add(1, Ordering::Relaxed);
        Admission::Hold(Box::new(Held(Arc::clone(&self.0))))
    }
}

#[test]
fn a_connection_guard_counts_down_when_it_is_dropped() {
    let count = Arc::new(AtomicUsize::new(0));
    let admission = Count(Arc::clone(&count)).on_connection(&Peer::default());
    assert_eq!(count.load(Ordering::Relaxed), 1);
    drop(admission);
    assert_eq!(count.load(Ordering::Relaxed), 0);
}

// A cache.

/// Keeps responses with an `ETag` by target, revalidates them, and lets one request of several fetch.
struct Cache<U> {
    inner: U,
    kept: tokio::sync::Mutex<HashMap<Vec<u8>, Kept>>,
}

#[derive(Clone)]
struct Kept {
    etag: HeaderValue,
    body: Bytes,
}

impl Kept {
    fn response(&self) -> Response {
        let mut head = ResponseHead::new(StatusCode::OK);
        head.headers_mut().insert(header::ETAG, self.etag.clone());
        Response::new(head, Body::full(self.body.clone()))
    }
}

#[async_trait]
impl<U: Upstream> Upstream for Cache<U> {
    async fn send(&self, mut request: Request, context: &mut Context) -> Result<Response> {
        if *request.head().method() != Method::GET {
            return self.inner.send(request, context).await;
        }
        // Those who ask at the same time wait for the first, then revalidate.
        let mut kept = self.kept.lock().await;
        let target = request.head().target().to_vec();
        if let Some(kept) = kept.get(&target) {
            request.head_mut().headers_mut().insert(header::IF_NONE_MATCH, kept.etag.clone());
        }
        let response = self.inner.send(request, context).await?;
        if let (StatusCode::NOT_MODIFIED, Some(kept)) = (response.head().status(), kept.get(&target)) {
            return Ok(kept.response());
        }
        let Some(etag) = response.head().headers().get(header::ETAG).map(HeaderValue::from_bytes) else {
            return Ok(response);
        };
        let etag = etag.map_err(Error::plugin)?;
        let fresh = Kept { etag, body: response.into_parts().1.collect().await?.to_bytes() };
        kept.insert(target, fresh.clone());
        Ok(fresh.response())
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_keeps_and_revalidates() {
    let script = Script::new()
        .read_request()
        .wait(Duration::from_secs(1))
        .answer("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        .read_request()
        .answer("HTTP/1.1 304 Same\r\nETag: \"1\"\r\n\r\n")
        .read_request()
        .answer("HTTP/1.1 200 OK\r\nETag: \"2\"\r\nContent-Length: 3\r\n\r\nnew");
    let origin = ScriptedConnector::always(script);
    let cache = Cache { inner: origin.cluster(), kept: tokio::sync::Mutex::default() };
    let stage = Stage::to(origin, cache, |builder| builder);
    // Two at once: the second waits, and asks only whether the first one's is still good.
    let (first, second) = tokio::join!(ask(&stage, GET), ask(&stage, GET));
    assert_eq!((first.text(), second.text()), ("hi", "hi"));
    assert_eq!(second.header("content-length"), Some("2"));
    assert_eq!(ask(&stage, GET).await.text(), "new");
    assert_eq!(stage.origin().connections(), 1, "each exchange was complete");
    assert_eq!(stage.origin().received(0).matches("if-none-match: \"1\"").count(), 2);
}

// A compressor.

/// Run lengths: one letter and its count. The last run is known only at the end.
#[derive(Default)]
struct RunLengths(Option<(u8, usize)>);

impl RunLengths {
    fn flush(&mut self, out: &mut Vec<u8>) {
        if let Some((byte, count)) = self.0.take() {
            out.extend_from_slice(format!("{}{count}", char::from(byte)).as_bytes());
        }
    }
}

impl Transform for RunLengths {
    fn chunk(&mut self, chunk: Bytes) -> Result<Bytes> {
        let mut out = Vec::new();
        for byte in chunk {
            match &mut self.0 {
                Some((last, count)) if *last == byte => *count += 1,
                _ => {
                    self.flush(&mut out);
                    self.0 = Some((byte, 1));
                }
            }
        }
        Ok(out.into())
    }

    fn finish(&mut self) -> Result<Bytes> {
        let mut out = Vec::new();
        self.flush(&mut out);
        Ok(out.into())
    }
}

struct Compress;

#[async_trait]
impl Filter for Compress {
    fn on_response(&self, response: &mut Response, context: &mut Context) -> Result<()> {
        let accepted = context.request().and_then(|head| head.headers().get(header::ACCEPT_ENCODING));
        if accepted == Some(b"runs") && !response.head().headers().contains(header::CONTENT_ENCODING) {
            response.replace_body(|body| body.transform(RunLengths::default()));
            response.head_mut().headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("runs"));
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_compressor_emits_its_last_block_at_the_end() {
    let stage = stage(answering("aaaabbc"), Compress);
    let response = ask(&stage, "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: runs\r\n\r\n").await;
    assert_eq!((response.text(), response.header("content-encoding")), ("a4b2c1", Some("runs")));
    assert_eq!(response.header("content-length"), None);
    assert_eq!(ask(&stage, GET).await.text(), "aaaabbc");
}

// Forward authentication.

/// Asks another upstream first, and passes on whom it names.
struct ForwardAuth(Arc<dyn Upstream>);

#[async_trait]
impl Filter for ForwardAuth {
    async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
        let mut head = RequestHead::new(Method::GET, "/auth")?;
        head.headers_mut().insert(header::HOST, HeaderValue::from_static("auth"));
        if let Some(credentials) = request.head().headers().get(header::AUTHORIZATION) {
            let value = HeaderValue::from_bytes(credentials).map_err(Error::plugin)?;
            head.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let answer = self.0.send(Request::new(head, Body::empty()), &mut Context::internal()).await?;
        if !answer.head().status().is_success() {
            return Ok(Flow::Respond(answer));
        }
        if let Some(user) = answer.head().headers().get("x-user") {
            let value = HeaderValue::from_bytes(user).map_err(Error::plugin)?;
            request.head_mut().headers_mut().insert(HeaderName::from_static("x-user"), value);
        }
        Ok(Flow::Continue)
    }
}

#[tokio::test(start_paused = true)]
async fn forward_auth_asks_before_it_forwards() {
    let auth = ScriptedConnector::always(
        Script::new()
            .read_request()
            .answer("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nlogin")
            .read_request()
            .answer("HTTP/1.1 200 OK\r\nX-User: ada\r\nContent-Length: 0\r\n\r\n"),
    );
    let stage = stage(Script::ok(), ForwardAuth(Arc::new(auth.cluster())));
    let mut client = stage.connect();
    client.send(post("body")).await;
    let refused = client.read_response().await;
    assert_eq!((refused.status(), refused.header("www-authenticate"), refused.text()), (401, Some("Basic"), "login"));
    assert_eq!(stage.origin().connections(), 0);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nAuthorization: x\r\nX-User: eve\r\nContent-Length: 4\r\n\r\nbody").await;
    assert_eq!(client.read_response().await.text(), "ok");
    let received = stage.origin().received(0);
    assert!(received.contains("x-user: ada\r\n") && !received.contains("eve"), "{received}");
    assert!(received.ends_with("\r\n\r\nbody"));
    assert!(auth.received(0).contains("authorization: x\r\n"));
    assert_eq!(auth.connections(), 1, "its connection was kept");
}

// Mirroring.

/// Sends a copy elsewhere and forgets about it.
struct Mirror(Arc<dyn Upstream>);

#[async_trait]
impl Filter for Mirror {
    async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
        let head = request.head().clone();
        let copy = Body::full(request.body_mut().peek(64 * 1024).await?.to_vec());
        let shadow = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut context = Context::internal();
            if let Ok(response) = shadow.send(Request::new(head, copy), &mut context).await {
                let _ = response.into_parts().1.collect().await;
            }
        });
        Ok(Flow::Continue)
    }
}

#[tokio::test(start_paused = true)]
async fn a_mirror_costs_the_client_nothing() {
    for script in [Script::ok(), Script::refuse(), Script::new().read_head().close(), Script::hang()] {
        let shadow = ScriptedConnector::always(script);
        let stage = stage(Script::ok(), Mirror(Arc::new(shadow.cluster())));
        let started = Instant::now();
        assert_eq!(ask(&stage, &post("body")).await.text(), "ok");
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(stage.code().await, "ok");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(shadow.connections() >= 1);
    }
    let shadow = ScriptedConnector::always(Script::ok());
    let stage = stage(Script::ok(), Mirror(Arc::new(shadow.cluster())));
    ask(&stage, &post("body")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(shadow.received(0), stage.origin().received(0));
}

// A retry that replays.

/// Sends a short body once more after a 503.
struct Replay<U>(U);

#[async_trait]
impl<U: Upstream> Upstream for Replay<U> {
    async fn send(&self, request: Request, context: &mut Context) -> Result<Response> {
        let (head, body) = request.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let again = |head: RequestHead| Request::new(head, Body::full(bytes.clone()));
        let response = self.0.send(again(head.clone()), context).await?;
        match response.head().status() {
            StatusCode::SERVICE_UNAVAILABLE => self.0.send(again(head), context).await,
            _ => Ok(response),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_decorator_replays_a_request() {
    let script = Script::new().read_request().answer(status(503)).read_request().answer(ok("second"));
    let origin = ScriptedConnector::always(script);
    let upstream = Replay(origin.cluster());
    let stage = Stage::to(origin, upstream, |builder| builder);
    assert_eq!(ask(&stage, &post("body")).await.text(), "second");
    let received = stage.origin().received_in_all();
    assert_eq!(received.matches("\r\n\r\nbody").count(), 2, "{received}");
    assert_eq!(stage.outcome().await.attempts, 2);
}

// A firewall.

struct Waf;

#[async_trait]
impl Filter for Waf {
    async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
        let seen = request.body_mut().peek(64 * 1024).await?;
        match seen.windows(6).any(|window| window == b"attack") {
            true => Ok(Flow::Respond(Response::text(StatusCode::FORBIDDEN, "no\n"))),
            false => Ok(Flow::Continue),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_firewall_reads_the_beginning_of_a_body() {
    let stage = stage(Script::ok(), Waf);
    let long = "x".repeat(300_000);
    for (body, status) in [("attack", 403), ("an attack", 403), ("peace", 200), ("", 200), (long.as_str(), 200)] {
        assert_eq!(ask(&stage, &post(body)).await.status(), status, "{}", body.len());
    }
    let received = stage.origin().received_in_all();
    assert!(received.contains(&long) && !received.contains("attack"));
}

// Sticky sessions.

/// The backend the cookie names; else the next one.
#[derive(Default)]
struct Sticky(AtomicUsize);

impl Selector for Sticky {
    fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend> {
        let named = context.request().and_then(|head| head.cookie("stick")).and_then(|id| candidates.by_id(id));
        named.or_else(|| candidates.at(self.0.fetch_add(1, Ordering::Relaxed) % candidates.len())).cloned()
    }
}

struct SetCookie;

impl Filter for SetCookie {
    fn on_response(&self, response: &mut Response, context: &mut Context) -> Result<()> {
        let new = context.request().is_none_or(|head| head.cookie("stick").is_none());
        if let (true, Some(backend)) = (new, context.backend()) {
            let cookie = HeaderValue::from_str(&format!("stick={}; HttpOnly", backend.id())).map_err(Error::plugin)?;
            response.head_mut().headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_cookie_sticks_to_its_backend() {
    let stage = two_backends(Sticky::default(), |builder| builder.filter(SetCookie));
    assert_eq!(ask(&stage, GET).await.header("set-cookie"), Some("stick=a:1; HttpOnly"));
    let second = ask(&stage, GET).await;
    assert_eq!((second.text(), second.header("set-cookie")), ("b", Some("stick=b:1; HttpOnly")));
    for _ in 0..3 {
        let stuck = ask(&stage, "GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b; stick=b:1\r\n\r\n").await;
        assert_eq!((stuck.text(), stuck.header("set-cookie")), ("b", None));
    }
    let gone = ask(&stage, "GET / HTTP/1.1\r\nHost: h\r\nCookie: stick=z:9\r\n\r\n").await;
    assert_eq!(gone.status(), 200);
}

// Bandwidth.

/// So many bytes a second. It waits within the body, under the body's deadlines.
struct Throttle(f64);

#[async_trait]
impl AsyncTransform for Throttle {
    async fn chunk(&mut self, chunk: Bytes) -> Result<Bytes> {
        tokio::time::sleep(Duration::from_secs_f64(chunk.len() as f64 / self.0)).await;
        Ok(chunk)
    }
}

struct Bandwidth(f64);

impl Filter for Bandwidth {
    fn on_response(&self, response: &mut Response, _: &mut Context) -> Result<()> {
        response.replace_body(|body| body.transform_async(Throttle(self.0)));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn bandwidth_is_limited_by_waiting() {
    let text = "x".repeat(100_000);
    let stage = stage(answering(&text), Bandwidth(10_000.0));
    let started = Instant::now();
    assert_eq!(ask(&stage, GET).await.text(), text);
    assert_eq!(started.elapsed().as_secs_f64().round(), 10.0);
    assert_eq!(stage.code().await, "ok");
}

// Tower, both ways.

fn router() -> axum::Router {
    let echo = axum::routing::post(|body: String| async move { body });
    axum::Router::new()
        .route("/hello", axum::routing::get(|| async { "hello" }))
        .route("/echo", echo)
        .route("/fails", axum::routing::get(|| async { StatusCode::IM_A_TEAPOT }))
}

#[tokio::test(start_paused = true)]
async fn a_tower_service_is_an_upstream() {
    let recorder = Recorder::new("r");
    let builder = Proxy::builder().filter(recorder.clone()).upstream("app", ServiceUpstream::new(router()));
    let proxy = TestProxy::new(builder.route(Route::to("app")).build().expect("the route names the upstream"));
    let mut client = proxy.connect();
    let table = [
        ("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", 200, "hello"),
        ("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 200, "abc"),
        ("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200, "abc"),
        ("GET /fails HTTP/1.1\r\nHost: h\r\n\r\n", 418, ""),
        ("GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n", 404, ""),
    ];
    for (request, status, text) in table {
        client.send(request).await;
        let response = client.read_response().await;
        assert_eq!((response.status(), response.text()), (status, text), "{request:?}");
    }
    assert_eq!(
        recorder.wait_for(table.len()).await.iter().filter(|outcome| outcome.error.is_none()).count(),
        table.len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_a_bad_gateway() {
    let fails = tower::service_fn(|_: http::Request<Body>| async { Err::<http::Response<Body>, _>("broken") });
    let mut client = TestProxy::over(ServiceUpstream::new(fails)).connect();
    client.send(GET).await;
    assert_eq!(client.read_response().await.status(), 502);
}

/// A proxy over a scripted origin, and what it saw.
fn mounted(script: Script) -> (Proxy, Recorder, ScriptedConnector) {
    let (origin, recorder) = (ScriptedConnector::always(script), Recorder::new("r"));
    let builder = Proxy::builder().filter(recorder.clone()).upstream("origin", origin.cluster());
    let proxy = builder.route(Route::to("origin")).build().expect("the route names the upstream");
    (proxy, recorder, origin)
}

fn tower_request(path: &str, body: &'static str) -> http::Request<axum::body::Body> {
    let request = http::Request::builder().method(Method::POST).uri(path).header("host", "h");
    request.body(axum::body::Body::from(body)).expect("a request")
}

#[tokio::test(start_paused = true)]
async fn a_proxy_is_a_routers_fallback() {
    let (proxy, recorder, origin) = mounted(Script::ok());
    let mut app = router().fallback_service(proxy);
    let own = app.call(tower_request("/echo", "own")).await.expect("a router does not fail");
    assert_eq!(own.into_body().collect().await.expect("a whole body").to_bytes(), "own");
    assert_eq!(origin.connections(), 0);
    let proxied = app.call(tower_request("/elsewhere", "body")).await.expect("a router does not fail");
    assert_eq!(proxied.status(), 200);
    assert!(recorder.outcomes().is_empty(), "the body is still to come");
    assert_eq!(proxied.into_body().collect().await.expect("a whole body").to_bytes(), "ok");
    assert_eq!(recorder.outcome().await.error, None);
    assert!(origin.received(0).starts_with("POST /elsewhere HTTP/1.1\r\n"), "{}", origin.received(0));
    assert!(origin.received(0).ends_with("\r\n\r\nbody"));
}

/// Every request gets a clone of its own: what holds a `Cell` serves as well.
#[tokio::test(start_paused = true)]
async fn a_service_need_not_be_sync() {
    let count = std::cell::Cell::new(0);
    let counts = tower::service_fn(move |_: http::Request<Body>| {
        count.set(count.get() + 1);
        std::future::ready(Ok::<_, Error>(http::Response::new(count.get().to_string())))
    });
    let mut client = TestProxy::over(ServiceUpstream::new(counts)).connect();
    for _ in 0..2 {
        client.send(GET).await;
        assert_eq!(client.read_response().await.text(), "1");
    }
}

/// A body that comes in these pieces, a second each.
fn slow_body(pieces: &[&'static str]) -> Body {
    let frames = pieces.iter().map(|piece| Ok::<_, Error>(http_body::Frame::data(Bytes::from(*piece))));
    let frames = futures_util::stream::iter(frames.collect::<Vec<_>>()).then(async |frame| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        frame
    });
    Body::boxed(http_body_util::StreamBody::new(Box::pin(frames)))
}

fn slow_post(pieces: &[&'static str]) -> http::Request<Body> {
    http::Request::post("/").header("host", "h").body(slow_body(pieces)).expect("a request")
}

/// What is not the other server's business holds for a proxy under it, too.
#[tokio::test(start_paused = true)]
async fn limits_and_deadlines_hold_for_a_mounted_proxy() {
    let stalls = Script::new().read_head().answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    let table = [
        (Script::ok(), slow_post(&["abc", "de"]), Ok(413), "body_too_large", 3),
        (Script::new().read_request(), slow_post(&["abc"]), Ok(504), "total_timeout", 0),
        (stalls, slow_post(&["abc"]), Err("the request took longer than its total deadline"), "total_timeout", 3),
    ];
    for (script, request, expected, code, received) in table {
        let (origin, recorder) = (ScriptedConnector::always(script), Recorder::new("r"));
        let limits = Limits { max_body_bytes: Some(4), ..Limits::default() };
        let builder = Proxy::builder().filter(recorder.clone()).limits(limits).total_timeout(Duration::from_secs(10));
        let proxy = builder.upstream("origin", origin.cluster()).route(Route::to("origin")).build();
        let mut proxy = proxy.expect("the route names the upstream");
        let started = Instant::now();
        let response = proxy.call(request).await.expect("a proxy does not fail");
        let status = response.status().as_u16();
        let read = response.into_body().collect().await.map(|_| status).map_err(|error| error.to_string());
        assert_eq!(read.as_ref().map_err(String::as_str), expected.as_ref().map_err(|text| *text), "{code}");
        let outcome = recorder.outcome().await;
        assert_eq!((outcome.error.map(ErrorKind::code), outcome.bytes_received), (Some(code), received));
        assert!(started.elapsed() <= Duration::from_secs(10));
    }
}

#[tokio::test(start_paused = true)]
async fn layers_stand_around_a_proxy() {
    let (proxy, recorder, _) = mounted(Script::ok());
    let layered = ServiceBuilder::new()
        .concurrency_limit(1)
        .map_response(|mut response: http::Response<Body>| {
            response.headers_mut().insert("x-layer", HeaderValue::from_static("1"));
            response
        })
        .service(proxy);
    let response = layered.oneshot(tower_request("/", "")).await.expect("a proxy does not fail");
    assert_eq!((response.status(), response.headers()["x-layer"].as_bytes()), (StatusCode::OK, &b"1"[..]));
    // The body is dropped unread: the caller left.
    drop(response);
    assert_eq!(recorder.outcome().await.error, Some(ErrorKind::ClientGone));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_ends_its_request_once() {
    let (mut proxy, recorder, _) = mounted(Script::new().read_request());
    let call = proxy.call(tower_request("/", "body"));
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
    assert_eq!(recorder.outcomes().len(), 1);
    assert!(recorder.outcomes()[0].error.is_some());
}

// WebSockets, on both paths.

async fn chat(upgrade: WebSocketUpgrade) -> axum::response::Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, axum_ws::Message::Text(_) | axum_ws::Message::Binary(_)) {
                socket.send(message).await.expect("the client listens");
            }
        }
    })
}

/// An application with a WebSocket: in this process, or an origin that is connected to.
fn chat_upstreams() -> [Arc<dyn Upstream>; 2] {
    let app = axum::Router::new().route("/chat", axum::routing::get(chat));
    let (dialer, listener) = listen();
    tokio::spawn(axum::serve(listener, app.clone()).into_future());
    let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()));
    let cluster = cluster.backend("origin:80".parse().expect("an address"));
    let origin = cluster.build_with(SharedPool::builder().connector(Arc::new(dialer)).build());
    [Arc::new(ServiceUpstream::new(app)), Arc::new(origin)]
}

#[tokio::test(start_paused = true)]
async fn websockets_pass_on_both_paths() {
    for (front, upstream) in Front::ALL.into_iter().flat_map(|front| chat_upstreams().map(|back| (front, back))) {
        let recorder = Recorder::new("r");
        let builder = Proxy::builder().filter(recorder.clone()).shared_upstream("app", upstream);
        let proxy = builder.route(Route::to("app")).build().expect("the route names the upstream");
        let server = front.serve(proxy);
        let handshake = tokio_tungstenite::client_async("ws://h/chat", server.dial()).await;
        let (mut socket, response) = handshake.expect("a handshake");
        assert_eq!(response.status(), 101, "{front:?}");
        let long = vec![7; 1 << 20];
        for message in [Message::text("hello"), Message::binary(long)] {
            socket.send(message.clone()).await.expect("an open socket");
            assert!(socket.next().await.expect("an echo").expect("a frame") == message, "{front:?}");
        }
        assert!(recorder.outcomes().is_empty(), "the request ends with the tunnel");
        socket.close(None).await.expect("an open socket");
        assert!(socket.next().await.expect("a close").expect("a frame").is_close());
        assert!(socket.next().await.is_none());
        drop(socket);
        let outcome = recorder.outcome().await;
        assert_eq!((outcome.error, outcome.phase), (None, Phase::Tunnel), "{front:?}");
        // Two bytes of head, eight more where the length needs them, and four of a client's mask.
        assert_eq!(outcome.bytes_received, (2 + 4 + 5) + (2 + 8 + 4 + (1 << 20)) + (2 + 4), "{front:?}");
        let frames = (2 + 5) + (2 + 8 + (1 << 20)) + 2;
        match front {
            Front::Engine => assert!(outcome.bytes_sent > frames, "and the head: {}", outcome.bytes_sent),
            Front::Tower => assert_eq!(outcome.bytes_sent, frames),
        }
        assert_eq!(recorder.outcomes().len(), 1);
    }
}

// Trait objects.

#[test]
fn the_traits_are_dyn_safe_and_pointers_forward() {
    fn filter(_: impl Filter) {}
    fn selector(_: impl Selector) {}
    fn upstream(_: impl Upstream) {}
    fn pool(_: impl Pool) {}
    let first = || selector_fn(|candidates: &Candidates<'_>, _: &SelectionContext<'_>| candidates.at(0).cloned());
    let nothing = || filter_fn(|_: &mut Request, _: &mut Context| Ok(Flow::Continue));
    filter(Box::new(nothing()) as Box<dyn Filter>);
    filter(Arc::new(nothing()) as Arc<dyn Filter>);
    selector(Box::new(first()) as Box<dyn Selector>);
    selector(Arc::new(first()) as Arc<dyn Selector>);
    upstream(Box::new(ServiceUpstream::new(router())) as Box<dyn Upstream>);
    upstream(Arc::new(ServiceUpstream::new(router())) as Arc<dyn Upstream>);
    pool(Box::new(SharedPool::default()) as Box<dyn Pool>);
    pool(Arc::new(SharedPool::default()) as Arc<dyn Pool>);
    let _: (Arc<dyn Connector>, Arc<dyn Observer>) = (Arc::new(ScriptedConnector::default()), Arc::new(()));
    // A cluster takes them as they are.
    let cluster = Cluster::builder(Arc::new(first()) as Arc<dyn Selector>)
        .build_with(Arc::new(SharedPool::default()) as Arc<dyn Pool>);
    upstream(cluster);
}

/// Every hook of a filter behind a pointer is the filter's own.
#[tokio::test(start_paused = true)]
async fn pointers_forward_every_hook() {
    let recorder = Recorder::new("r");
    let pointer: Arc<dyn Filter> = Arc::new(Box::new(recorder.clone()) as Box<dyn Filter>);
    pointer.on_connection(&Peer::default());
    let mut client = TestProxy::around(pointer).connect();
    client.send(GET).await;
    client.read_response().await;
    client.send("nonsense\r\n\r\n").await;
    client.read_response().await;
    recorder.wait_for(2).await;
    let hooks = ["on_connection", "on_request", "on_forward", "on_response", "on_done", "on_error", "on_done"];
    assert_eq!(recorder.calls(), hooks.map(|hook| format!("r.{hook}")));
}

/// A filter need not implement anything.
#[tokio::test(start_paused = true)]
async fn every_hook_has_a_default() {
    struct Nothing;
    impl Filter for Nothing {}
    struct Last(Arc<Mutex<Option<Outcome>>>);
    impl Filter for Last {
        fn on_done(&self, outcome: &Outcome, _: &Context) {
            *self.0.lock().expect("no holder panicked") = Some(outcome.clone());
        }
    }
    let last = Arc::new(Mutex::new(None));
    let configure = |builder: ProxyBuilder| builder.filter(Nothing).filter(Last(Arc::clone(&last)));
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), configure);
    assert_eq!(ask(&stage, GET).await.text(), "ok");
    let outcome = last.lock().expect("no holder panicked").take().expect("on_done ran");
    assert_eq!((outcome.status, outcome.error, outcome.attempts), (Some(StatusCode::OK), None, 1));
}
