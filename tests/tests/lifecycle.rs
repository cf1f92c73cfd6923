//! The order of hooks, and `on_done` exactly once in every way a request can end.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use proxy_core::testing::{Recorder, Script, ScriptedConnector, TestProxy};
use proxy_core::{
    AsyncTransform, Backend, Body, Candidates, Cluster, ClusterBuilder, Context, Error, ErrorKind, Filter, Flow,
    Outcome, Phase, Pool, Proxy, Request, RequestHead, Response, Result, RetryPolicy, Route, SelectionContext,
    SelectorFn, SharedPool, Target, selector_fn,
};
use tests::{GET, Stage, ok, post};
use tower::Service;

/// A proxy with these filters, in this order, before an origin that answers `ok`.
fn proxy(filters: Vec<Box<dyn Filter>>) -> TestProxy {
    let origin = ScriptedConnector::always(Script::ok());
    let mut builder = Proxy::builder().upstream("origin", origin.cluster());
    for filter in filters {
        builder = builder.filter(filter);
    }
    TestProxy::new(builder.route(Route::to("origin")).build().expect("the route names the upstream"))
}

/// Where a [`Trouble`] strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hook {
    Request,
    Forward,
    Response,
    Error,
    Done,
}

/// What it does there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Respond,
    Fail,
    Panic,
}

struct Trouble(Hook, Deed);

impl Trouble {
    fn strike(&self, hook: Hook) -> Result<()> {
        match self.1 {
            _ if self.0 != hook => Ok(()),
            Deed::Fail => Err(Error::plugin("trouble").with_status(http::StatusCode::IM_A_TEAPOT)),
            Deed::Panic => panic!("trouble"),
            Deed::Respond => Ok(()),
        }
    }
}

#[async_trait]
impl Filter for Trouble {
    async fn on_request(&self, _: &mut Request, _: &mut Context) -> Result<Flow> {
        self.strike(Hook::Request)?;
        match (self.0, self.1) {
            (Hook::Request, Deed::Respond) => Ok(Flow::Respond(Response::text(http::StatusCode::ACCEPTED, "mine"))),
            // Its other hooks strike only where something has gone wrong before.
            (Hook::Error, _) => Err(ErrorKind::NoRoute.into()),
            _ => Ok(Flow::Continue),
        }
    }

    fn on_forward(&self, _: &mut RequestHead, _: &Backend, _: &mut Context) -> Result<()> {
        self.strike(Hook::Forward)
    }

    fn on_response(&self, _: &mut Response, _: &mut Context) -> Result<()> {
        self.strike(Hook::Response)
    }

    fn on_error(&self, _: &Error, _: &mut Context) -> Option<Response> {
        match self.strike(Hook::Error) {
            Ok(()) if (self.0, self.1) == (Hook::Error, Deed::Respond) => {
                Some(Response::status(http::StatusCode::GONE))
            }
            _ => None,
        }
    }

    fn on_done(&self, _: &Outcome, _: &Context) {
        let _ = self.strike(Hook::Done);
    }
}

/// A trouble between two recorders: the status, and the hooks of both that ran.
async fn check(hook: Hook, deed: Deed, status: u16, calls: &[&str]) {
    let first = Recorder::new("a");
    let last = first.beside("z");
    let proxy = proxy(vec![Box::new(first.clone()), Box::new(Trouble(hook, deed)), Box::new(last)]);
    let mut client = proxy.connect();
    client.send(GET).await;
    assert_eq!(client.read_response().await.status(), status, "{hook:?} {deed:?}");
    first.wait_for(2).await;
    assert_eq!(first.calls(), calls, "{hook:?} {deed:?}");
    let mut other = proxy.connect();
    other.send(GET).await;
    assert_eq!(other.read_response().await.status(), status, "the next request is served alike");
}

/// The listener's, then the route's, then the upstream's, whichever route leads there.
#[tokio::test(start_paused = true)]
async fn filters_of_the_upstream_come_last() {
    let listener = Recorder::new("listener");
    let (route, upstream, other) = (listener.beside("route"), listener.beside("upstream"), listener.beside("other"));
    let origin = ScriptedConnector::always(Script::ok());
    let built = Proxy::builder()
        .upstream_filter("here", upstream)
        .upstream_filter("there", other)
        .upstream("here", origin.cluster())
        .upstream("there", origin.cluster())
        .filter(listener.clone())
        .route(Route::to("here").filter(route));
    let mut client = TestProxy::new(built.build().expect("the upstreams are there")).connect();
    client.send(GET).await;
    assert_eq!(client.read_response().await.status(), 200);
    listener.wait_for(3).await;
    let there = ["listener", "route", "upstream"];
    let back = ["upstream", "route", "listener"];
    let hooks = [("on_request", there), ("on_forward", there), ("on_response", back), ("on_done", there)];
    let expected: Vec<_> = hooks.iter().flat_map(|(hook, names)| names.map(|name| format!("{name}.{hook}"))).collect();
    let calls: Vec<_> = listener.calls().into_iter().filter(|call| !call.ends_with("on_connection")).collect();
    assert_eq!(calls, expected);
    let unknown = Proxy::builder().upstream_filter("nowhere", listener).upstream("a", origin.cluster());
    let error = unknown.route(Route::to("a")).build().expect_err("there is no such upstream");
    assert_eq!(error.to_string(), "a filter names no upstream: `nowhere`");
}

#[tokio::test(start_paused = true)]
async fn hooks_run_in_order_and_back() {
    let whole = [
        "a.on_request",
        "z.on_request",
        "a.on_forward",
        "z.on_forward",
        "z.on_response",
        "a.on_response",
        "a.on_done",
        "z.on_done",
    ];
    check(Hook::Done, Deed::Respond, 200, &whole).await;
    check(Hook::Done, Deed::Panic, 200, &whole).await;
    let short = ["a.on_request", "a.on_response", "a.on_done", "z.on_done"];
    check(Hook::Request, Deed::Respond, 202, &short).await;
    let failed = ["a.on_request", "z.on_error", "a.on_error", "a.on_response", "a.on_done", "z.on_done"];
    check(Hook::Request, Deed::Fail, 418, &failed).await;
    check(Hook::Request, Deed::Panic, 500, &failed).await;
    let mine = ["a.on_request", "z.on_error", "a.on_response", "a.on_done", "z.on_done"];
    check(Hook::Error, Deed::Respond, 410, &mine).await;
    check(Hook::Error, Deed::Panic, 404, &failed).await;
    let forward = [
        "a.on_request",
        "z.on_request",
        "a.on_forward",
        "z.on_error",
        "a.on_error",
        "z.on_response",
        "a.on_response",
        "a.on_done",
        "z.on_done",
    ];
    check(Hook::Forward, Deed::Fail, 418, &forward).await;
    check(Hook::Forward, Deed::Panic, 500, &forward).await;
    check(Hook::Response, Deed::Fail, 418, &whole).await;
    check(Hook::Response, Deed::Panic, 500, &whole).await;
}

/// The listener's filters, then the matching route's. A route's have no say in what never reaches it.
#[tokio::test(start_paused = true)]
async fn a_routes_filters_come_behind_the_listeners() {
    let check = async |path: &str, listener: Option<Trouble>, status: u16, calls: &[&str]| {
        let first = Recorder::new("a");
        let origin = ScriptedConnector::always(Script::ok());
        let mut builder = Proxy::builder().filter(first.clone()).upstream("origin", origin.cluster());
        if let Some(trouble) = listener {
            builder = builder.filter(trouble);
        }
        let here = Route::to("origin").path("/here").expect("a path").filter(first.beside("here"));
        let there = Route::to("origin").path("/there").expect("a path").filter(first.beside("there"));
        let answers = Route::to("origin").path("/mine").expect("a path").filter(first.beside("mine"));
        let answers = answers.filter(Trouble(Hook::Request, Deed::Respond)).filter(first.beside("behind"));
        let proxy = builder.route(here).route(there).route(answers).build().expect("the routes name the upstream");
        let mut client = TestProxy::new(proxy).connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        assert_eq!(client.read_response().await.status(), status, "{path}");
        client.leave().await;
        assert_eq!(first.calls(), calls, "{path}");
    };
    let through = ["a.on_request", "here.on_request", "a.on_forward", "here.on_forward"];
    let back = ["here.on_response", "a.on_response", "a.on_done", "here.on_done"];
    check("/here", None, 200, &[through, back].concat()).await;
    let mine = ["a.on_request", "mine.on_request", "mine.on_response", "a.on_response"];
    check("/mine", None, 202, &[&mine[..], &["a.on_done", "mine.on_done", "behind.on_done"]].concat()).await;
    check("/none", None, 404, &["a.on_request", "a.on_error", "a.on_response", "a.on_done"]).await;
    let before = Trouble(Hook::Request, Deed::Respond);
    check("/here", Some(before), 202, &["a.on_request", "a.on_response", "a.on_done"]).await;
}

/// Once for the answer, not for each interim one, and not for each attempt.
#[tokio::test(start_paused = true)]
async fn the_response_hook_runs_once() {
    let hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(3);
    let answers = Script::new().read_request().answer(hints + &ok("hi"));
    let gone = Script::new().read_request().close();
    let stage = Stage::over(ScriptedConnector::in_turn([Script::refuse(), gone, answers]));
    let mut client = stage.connect_and_send(GET).await;
    for _ in 0..3 {
        assert_eq!(client.read_head().await.status(), 103);
    }
    assert_eq!(client.read_response().await.text(), "hi");
    assert_eq!(stage.outcome().await.attempts, 3);
    let ran = |hook: &str| stage.recorder().calls().iter().filter(|call| call.ends_with(hook)).count();
    assert_eq!((ran("on_request"), ran("on_forward"), ran("on_response"), ran("on_done")), (1, 3, 1, 1));
}

/// A head that is refused has no hooks but those of its answer: no filter ran before it.
#[tokio::test(start_paused = true)]
async fn a_refused_head_is_done_once() {
    let stage = Stage::new(Script::ok());
    let mut client = stage.connect_and_send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.read_response().await.status(), 400);
    client.leave().await;
    assert_eq!(stage.recorder().calls(), ["recorder.on_error", "recorder.on_done"]);
}

/// The client sends this and leaves at once, or after the head of an answer.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_ends_its_request_once() {
    let slow = || Script::new().read_request().wait(Duration::from_secs(1)).answer(ok("late"));
    let halting = || Script::new().read_request().answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    let table = [
        (slow(), GET.to_owned(), false, "client_gone"),
        // Its body is sent, or kept for another attempt.
        (slow(), post("hello"), false, "client_gone"),
        (slow(), post("hello").replace("POST", "PUT"), false, "client_gone"),
        (slow(), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc".to_owned(), false, "body_aborted"),
        (halting(), GET.to_owned(), true, "client_gone"),
    ];
    for (script, sent, reads, code) in table {
        let (stage, started) = (Stage::new(script), tokio::time::Instant::now());
        let mut client = stage.connect_and_send(&sent).await;
        // The request is on its way before the client leaves.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if reads {
            client.read_head().await;
        }
        client.leave().await;
        assert_eq!(stage.code().await, code, "{sent:?}");
        assert_eq!(started.elapsed().as_millis(), 1, "{sent:?}: seen only with the answer");
    }
    // Within the head there is no request yet.
    let stage = Stage::new(Script::ok());
    assert_eq!(stage.connect_and_send("GET / HT").await.leave().await, 0);
    assert!(stage.recorder().outcomes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_leaves_ends_the_request_once() {
    let then = |answer: &'static str| Script::new().read_request().answer(answer).close();
    let table = [
        (Script::refuse(), 502, "connect_refused"),
        (Script::new().read_request().close(), 502, "upstream_gone"),
        (then("HTTP/1.1 200 OK\r\nConte"), 502, "bad_response"),
        (then("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), 0, "upstream_gone"),
        // Before it has read anything, and behind what was no answer yet.
        (Script::new().close(), 502, "upstream_gone"),
        (then("HTTP/1.1 100 Continue\r\n\r\n"), 502, "bad_response"),
    ];
    for (script, status, code) in table {
        let stage = Stage::new(script);
        let mut client = stage.connect_and_send(post("x")).await;
        let got = client.try_read_response().await.map_or(0, |response| response.status());
        assert_eq!((got, stage.code().await), (status, code));
    }
}

/// It leaves while the request's body is on its way to it. What it said before is its answer.
#[tokio::test(start_paused = true)]
async fn an_upstream_that_leaves_within_the_upload_ends_the_request_once() {
    let table = [
        (Script::new().read_head().close(), 502, "upstream_io"),
        (Script::new().read_head().read(1000).close(), 502, "upstream_io"),
        (Script::new().read_head().read(1000).answer("HTTP/1.1 40").close(), 502, "bad_response"),
        (Script::new().read_head().read(1000).answer(tests::status(413)).close(), 413, "ok"),
    ];
    let body = "x".repeat(1 << 20);
    let chunked =
        format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n{body}\r\n0\r\n\r\n");
    for (script, status, code) in table {
        for request in [&post(&body), &chunked] {
            let stage = Stage::new(script.clone());
            let mut client = stage.connect();
            // The proxy may have answered and closed by then.
            let _ = client.try_send(request).await;
            let got = client.try_read_response().await.map_or(0, |response| response.status());
            assert_eq!((got, stage.code().await), (status, code), "{request:.60?}");
        }
    }
}

/// The connection's task is dropped after each number of polls: whatever it was waiting for, every
/// request that began ends exactly once.
#[tokio::test(start_paused = true)]
async fn a_task_dropped_anywhere_ends_each_request_once() {
    for polls in 1.. {
        let stage = Stage::new(
            Script::new()
                .read_request()
                .answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
                .wait(Duration::from_secs(1))
                .answer("ok"),
        );
        let (mut client, connection) = stage.proxy().pair();
        client.send(post("hello")).await;
        let mut connection = Box::pin(connection);
        let mut left = polls;
        let ended = std::future::poll_fn(|cx| {
            left -= 1;
            match connection.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if left == 0 => Poll::Ready(false),
                Poll::Pending => {
                    if polls - left == 12 {
                        // By then only the client's leaving can end it.
                        cx.waker().wake_by_ref();
                    }
                    Poll::Pending
                }
            }
        });
        let ended = tokio::select! {
            ended = ended => ended,
            // The response is whole, and the connection idle.
            () = async { let _ = client.read_response().await; client.half_close().await; std::future::pending().await } => true,
        };
        drop(connection);
        let began = stage.recorder().calls().iter().filter(|call| *call == "recorder.on_request").count();
        assert_eq!(
            stage.recorder().outcomes().len(),
            began,
            "dropped after {polls} polls: {:?}",
            stage.recorder().calls()
        );
        if ended {
            assert!(polls > 3, "nothing was interrupted");
            break;
        }
    }
}

/// A body on its way has one half of the connection. It must not keep the other half alive.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_dropped_is_closed() {
    for sent in [GET, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc"] {
        let stage = Stage::new(Script::new().read_request());
        let mut client = stage.connect_and_send(sent).await;
        // Time stands still until the proxy waits for its origin.
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.stop_server().await;
        assert!(client.is_closed().await, "{sent:?}");
        assert_eq!(stage.code().await, "shutting_down", "{sent:?}");
    }
}

/// Three recorders, and one trouble among them: those that ran see the answer, last to first.
#[tokio::test(start_paused = true)]
async fn whoever_answers_is_seen_by_those_before() {
    for (deed, status) in [(Deed::Respond, 202), (Deed::Fail, 418), (Deed::Panic, 500)] {
        for place in 0..=3 {
            let first = Recorder::new("0");
            let mut filters: Vec<Box<dyn Filter>> =
                ["0", "1", "2"].map(|name| Box::new(first.beside(name)) as Box<dyn Filter>).into();
            filters.insert(place, Box::new(Trouble(Hook::Request, deed)));
            let mut client = proxy(filters).connect();
            client.send(GET).await;
            assert_eq!(client.read_response().await.status(), status, "{deed:?} at {place}");
            first.wait_for(3).await;
            let ran = |hook: &str| -> Vec<usize> {
                let calls = first.calls();
                let of_hook = calls.iter().filter_map(|call| call.strip_suffix(hook)?.strip_suffix('.'));
                of_hook.map(|name| name.parse().expect("a number")).collect()
            };
            assert_eq!(ran("on_request"), (0..place).collect::<Vec<_>>(), "{deed:?} at {place}");
            assert_eq!(ran("on_response"), (0..place).rev().collect::<Vec<_>>(), "{deed:?} at {place}");
            assert_eq!(ran("on_done"), [0, 1, 2], "{deed:?} at {place}");
        }
    }
}

/// The origin breaks off within a response that has begun: the connection's end must say so.
#[tokio::test(start_paused = true)]
async fn an_upstream_that_leaves_within_the_body_breaks_it_off() {
    let table = [
        ("Content-Length: 9\r\n\r\n", "upstream_gone"),
        ("Content-Length: 9\r\n\r\nabc", "upstream_gone"),
        ("Transfer-Encoding: chunked\r\n\r\n", "upstream_gone"),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nab", "upstream_gone"),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "upstream_gone"),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "upstream_gone"),
    ];
    for (answer, code) in table {
        for request in [GET.to_owned(), post("x"), post("x").replace("POST", "PUT")] {
            let stage = Stage::new(Script::new().read_request().answer(format!("HTTP/1.1 200 OK\r\n{answer}")).close());
            let mut client = stage.connect_and_send(&request).await;
            assert!(client.try_read_response().await.is_none(), "{answer:?}");
            assert_eq!(stage.code().await, code, "{answer:?}");
            assert!(client.is_closed().await, "{answer:?}");
            assert_eq!(stage.origin().connections(), 1, "{answer:?}: a request that was answered is not sent again");
        }
    }
}

/// The client leaves so long after it sent this, having read nothing.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_later_ends_its_request_once() {
    let upload = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab".to_owned();
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab".to_owned();
    let expects = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n".to_owned();
    let silent = || Script::new().read_request();
    let early = || Script::new().read_head().answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    let table = [
        (silent(), GET.to_owned(), "client_gone"),
        (silent(), post("x"), "client_gone"),
        (silent(), upload.clone(), "body_aborted"),
        (silent(), chunked.clone(), "body_aborted"),
        (silent(), expects, "body_aborted"),
        (early(), upload, "body_aborted"),
        (early(), chunked, "body_aborted"),
        (early(), GET.to_owned(), "client_gone"),
        (Script::hang(), GET.to_owned(), "client_gone"),
        // Behind a body that nobody reads yet its end cannot be seen.
        (Script::hang(), post("x"), "connect_timeout"),
        (silent().answer(ok(&"x".repeat(1 << 20))), GET.to_owned(), "client_gone"),
    ];
    for (row, (script, sent, code)) in table.into_iter().enumerate() {
        let stage = Stage::new(script);
        let client = stage.connect_and_send(&sent).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(client.leave().await, 1, "row {row}");
        assert_eq!(stage.code().await, code, "row {row}");
    }
}

/// The same where the request waits for something else than its origin.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_its_request_waits_ends_it_once() {
    let check = async |stage: Stage, sent: &str, code: &str, attempts: u32| {
        let started = tokio::time::Instant::now();
        let client = stage.connect_and_send(sent).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        client.leave().await;
        let outcomes = stage.recorder().outcomes();
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        assert_eq!(outcomes[0].error.map(ErrorKind::code), Some(code), "{sent:?}");
        assert_eq!((outcomes[0].attempts, started.elapsed().as_millis()), (attempts, 500), "{sent:?}");
    };
    let silent = || ScriptedConnector::always(Script::new().read_request());
    // A filter that thinks.
    check(Stage::with(silent(), |builder| builder.filter(Slow)), GET, "client_gone", 0).await;
    // The pause before another attempt.
    let refusing = ScriptedConnector::always(Script::refuse());
    let second = Duration::from_secs(3600);
    let patient = RetryPolicy { attempts: 9, backoff: second, max_backoff: second, ..RetryPolicy::default() };
    let cluster = first_of(&["a:1", "b:1", "c:1", "d:1"]).retry(patient).build_with(refusing.pool());
    check(Stage::to(refusing, cluster, |builder| builder), GET, "client_gone", 2).await;
    // A free place in the pool.
    let origin = silent();
    let pool = SharedPool::builder().max_open_per_backend(1).connector(Arc::new(origin.clone())).build();
    let taken = pool.acquire(&Target::new(Backend::new("a:1".parse().expect("an address"))), None).await;
    let cluster = first_of(&["a:1"]).build_with(pool);
    check(Stage::to(origin, cluster, |builder| builder), GET, "client_gone", 1).await;
    drop(taken);
    // The rest of a body that a filter looks at.
    let upload = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab";
    check(Stage::with(silent(), |builder| builder.filter(Reads)), upload, "body_aborted", 0).await;
    // The other side of a tunnel.
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
    let stage = Stage::new(Script::new().read_head().answer(switch));
    let upgrade = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    let client = stage.connect_and_send(upgrade).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.leave().await;
    assert_eq!(stage.outcome().await.phase, Phase::Tunnel);
}

/// Clusters that take the first candidate.
fn first_of(
    addresses: &[&str],
) -> ClusterBuilder<
    SelectorFn<impl Fn(&Candidates<'_>, &SelectionContext<'_>) -> Option<Backend> + Send + Sync + 'static>,
> {
    let builder = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()));
    addresses.iter().fold(builder, |builder, address| builder.backend(address.parse().expect("an address")))
}

/// Reads the whole body before it lets the request pass, and changes what comes back.
struct Reads;

#[async_trait]
impl Filter for Reads {
    async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
        request.body_mut().peek(64 * 1024).await?;
        request.replace_body(|body| body.transform_async(Waits));
        Ok(Flow::Continue)
    }

    fn on_response(&self, response: &mut Response, _: &mut Context) -> Result<()> {
        response.replace_body(|body| body.transform_async(Waits));
        Ok(())
    }
}

/// A second for each piece of a body.
struct Waits;

#[async_trait]
impl AsyncTransform for Waits {
    async fn chunk(&mut self, chunk: Bytes) -> Result<Bytes> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(chunk)
    }
}

/// Thinks for a second before every request.
struct Slow;

#[async_trait]
impl Filter for Slow {
    async fn on_request(&self, _: &mut Request, _: &mut Context) -> Result<Flow> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(Flow::Continue)
    }
}

/// Every shape of an exchange: what the client sends, and origins that make the proxy wait.
fn shapes() -> Vec<(String, Vec<Script>)> {
    let second = Duration::from_secs(1);
    let drips = |script: Script| {
        let script = script.wait(second).answer("HTTP/1.1 200 OK\r\nConte").wait(second);
        script.answer("nt-Length: 4\r\n\r\nab").wait(second).answer("cd")
    };
    let read = || Script::new().read_request();
    let head =
        |method: &str, fields: &str| format!("{method} / HTTP/1.1\r\nHost: h\r\n{fields}Connection: close\r\n\r\n");
    let get = head("GET", "");
    let long = "x".repeat(3000);
    let sized = head("POST", "Content-Length: 3000\r\n") + &long;
    let chunked = head("PUT", "Transfer-Encoding: chunked\r\n") + &format!("bb8\r\n{long}\r\n0\r\nX-Sum: 1\r\n\r\n");
    let expects = head("PUT", "Content-Length: 4\r\nExpect: 100-continue\r\n") + "body";
    let upgrade = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n".to_owned();
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n";
    vec![
        (get.clone(), vec![drips(read())]),
        (sized.clone(), vec![drips(read())]),
        (chunked, vec![drips(read())]),
        (sized.clone(), vec![drips(Script::new().read_head()).wait(second).read(3000)]),
        (sized, vec![Script::new().read_head().answer(ok("early")).wait(second)]),
        (
            expects.clone(),
            vec![
                Script::new().read_head().wait(second).answer("HTTP/1.1 100 Continue\r\n\r\n").read(4).answer(ok("x")),
            ],
        ),
        (expects, vec![read().answer(ok("x"))]),
        (get.clone(), vec![read().answer(chunks).wait(second).answer("ab\r\n").wait(second).answer("0\r\n\r\n")]),
        (get.clone(), vec![read().answer("HTTP/1.1 103 Early Hints\r\n\r\n").wait(second).answer(ok("x"))]),
        (
            get.clone(),
            vec![Script::refuse(), read().close(), read().answer("HTTP/1.1 200 OK\r\n\r\nhi").wait(second).close()],
        ),
        (format!("{GET}{get}"), vec![read().answer(ok("x")).read_request().wait(second).answer(ok("y"))]),
        (upgrade, vec![Script::new().read_head().wait(second).answer(switch).wait(second).answer("bytes").close()]),
    ]
}

/// Polls so often and no more: what came of it, if it was done by then.
async fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let (mut future, mut left) = (Box::pin(future), polls);
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// The connection's task is dropped after so many polls: was it done by then?
async fn cut_off(request: &str, scripts: Vec<Script>, filter: impl Filter, polls: usize) -> bool {
    let origin = ScriptedConnector::in_turn(scripts).room(64);
    let backend = Backend::new("origin:80".parse().expect("an address"));
    let selector = selector_fn(|candidates, _| candidates.at(0).cloned());
    let cluster = Cluster::builder(selector).with(backend.clone()).build_with(origin.pool());
    let stage = Stage::to(origin, cluster, |builder| builder.filter(filter));
    let (mut client, connection) = stage.proxy().pair();
    client.send(request).await;
    let reading = tokio::spawn(async move { client.read_to_end().await.len() });
    let done = polled(connection, polls).await.is_some();
    let row = format!("{request:.40?} after {polls} polls: {:?}", stage.recorder().calls());
    let began = stage.recorder().calls().iter().filter(|call| *call == "recorder.on_request").count();
    let outcomes = stage.recorder().outcomes();
    assert_eq!(outcomes.len(), began, "{row}");
    let cut = outcomes.iter().filter(|outcome| outcome.error == Some(ErrorKind::ShuttingDown)).count();
    assert!(cut <= usize::from(!done), "{row}");
    assert_eq!(backend.in_flight(), 0, "{row}");
    reading.await.expect("the client's side is closed with the connection");
    done
}

/// Whatever it waited for, every request that began ends exactly once, and its backend is let go.
#[tokio::test(start_paused = true)]
async fn a_connection_cut_off_anywhere_lets_everything_go() {
    for row in 0..shapes().len() {
        let mut polls = [1, 1];
        for (reads, polls) in polls.iter_mut().enumerate() {
            loop {
                let (request, scripts) = shapes().swap_remove(row);
                let done = match reads {
                    0 => cut_off(&request, scripts, Slow, *polls).await,
                    _ => cut_off(&request, scripts, Reads, *polls).await,
                };
                if done {
                    break;
                }
                *polls += 1;
            }
        }
        assert!(polls.iter().all(|polls| *polls > 3), "row {row}: nothing was interrupted, after {polls:?}");
    }
}

/// The same for a call of a proxy as a service, and for the body that it returns.
#[tokio::test(start_paused = true)]
async fn a_call_cut_off_anywhere_lets_everything_go() {
    let second = Duration::from_secs(1);
    for polls in 1.. {
        let answer = Script::new().read_request().wait(second).answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
        let origin = ScriptedConnector::always(answer.wait(second).answer("cd"));
        let (backend, recorder) = (Backend::new("origin:80".parse().expect("an address")), Recorder::new("r"));
        let cluster = first_of(&[]).with(backend.clone()).build_with(origin.pool());
        let builder = Proxy::builder().filter(recorder.clone()).filter(Slow).upstream("origin", cluster);
        let mut proxy = builder.route(Route::to("origin")).build().expect("the route names the upstream");
        let request = http::Request::post("/").header("host", "h").body(Body::from("hello")).expect("a request");
        let whole = async { proxy.call(request).await.expect("it never fails").into_body().collect().await };
        let done = polled(whole, polls).await;
        let began = recorder.calls().iter().filter(|call| *call == "r.on_request").count();
        assert_eq!(recorder.outcomes().len(), began, "after {polls} polls: {:?}", recorder.calls());
        assert_eq!(backend.in_flight(), 0, "after {polls} polls");
        if let Some(body) = done {
            assert_eq!(body.expect("a whole body").to_bytes(), "abcd");
            assert!(polls > 3, "nothing was interrupted");
            break;
        }
    }
}
