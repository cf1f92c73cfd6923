//! A plugin that panics costs its own request, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{
    Admission, AsyncTransform, Attempt, Backend, Candidates, Cluster, Context, Filter, Observer, Peer, Proxy, Request,
    Response, Result, Route, SelectionContext, Selector, Transform, filter_fn, serve,
};
use tests::{GET, Stage, listen, ok, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Panics in both hooks of a body.
struct Bomb;

impl Transform for Bomb {
    fn chunk(&mut self, _: Bytes) -> Result<Bytes> {
        panic!("trouble")
    }
}

#[async_trait::async_trait]
impl AsyncTransform for Bomb {
    async fn chunk(&mut self, _: Bytes) -> Result<Bytes> {
        panic!("trouble")
    }
}

struct OnResponse(fn(&mut Response));

impl Filter for OnResponse {
    fn on_response(&self, response: &mut Response, _: &mut Context) -> Result<()> {
        (self.0)(response);
        Ok(())
    }
}

/// The connection ends, and the next one is served.
async fn check_response_body(change: fn(&mut Response)) {
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.filter(OnResponse(change)));
    let mut client = stage.connect_and_send(GET).await;
    assert!(client.try_read_response().await.is_none());
    assert_eq!(stage.code().await, "plugin_panic");
    assert_eq!(client.leave().await, 1);
}

#[tokio::test(start_paused = true)]
async fn in_a_response_body() {
    check_response_body(|response| response.replace_body(|body| body.transform(Bomb))).await;
    check_response_body(|response| response.replace_body(|body| body.transform_async(Bomb))).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_request_body() {
    let change = |request: &mut Request, _: &mut Context| {
        request.replace_body(|body| body.transform(Bomb));
        Ok(proxy_core::Flow::Continue)
    };
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.filter(filter_fn(change)));
    let mut client = stage.connect_and_send(post("x")).await;
    let response = client.read_response().await;
    assert_eq!((response.status(), response.header("connection")), (500, Some("close")));
    assert_eq!(stage.code().await, "plugin_panic");
}

/// The same behind an answer that came early: the body is sent beside the response then.
#[tokio::test(start_paused = true)]
async fn in_a_request_body_behind_an_early_answer() {
    let change = |request: &mut Request, _: &mut Context| {
        request.replace_body(|body| body.transform(Bomb));
        Ok(proxy_core::Flow::Continue)
    };
    let early = Script::new().read_head().answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    let stage = Stage::with(ScriptedConnector::always(early), |builder| builder.filter(filter_fn(change)));
    let mut client = stage.connect_and_send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n").await;
    client.read_head().await;
    client.send("body").await;
    assert!(client.try_read_response().await.is_none());
    assert_eq!(stage.code().await, "plugin_panic");
    assert_eq!(client.leave().await, 1);
}

/// A hook that panicked may have left anything behind: the connection is not used again.
#[tokio::test(start_paused = true)]
async fn in_a_hook_ends_the_connection() {
    let bomb = filter_fn(|_, _| panic!("trouble"));
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.filter(bomb));
    let mut client = stage.connect_and_send(GET).await;
    let response = client.read_response().await;
    assert_eq!((response.status(), response.header("connection")), (500, Some("close")));
    assert!(client.is_closed().await);

    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| {
        builder.filter(OnResponse(|_| panic!("trouble")))
    });
    let mut client = stage.connect_and_send(GET).await;
    assert_eq!(client.read_response().await.status(), 500);
    assert!(client.is_closed().await);
}

/// Where a [`Touchy`] selector panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Select,
    Outcome,
}

struct Touchy(At);

impl Selector for Touchy {
    fn select(&self, candidates: &Candidates<'_>, _: &SelectionContext<'_>) -> Option<Backend> {
        assert_ne!(self.0, At::Select, "trouble");
        candidates.at(0).cloned()
    }

    fn on_outcome(&self, _: &Backend, _: &Attempt) {
        assert_ne!(self.0, At::Outcome, "trouble");
    }
}

impl Observer for Touchy {
    fn on_attempt(&self, _: &Backend, _: &Attempt) {
        panic!("trouble");
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_selector_or_what_watches_attempts() {
    // A refused connect is retried, so that one attempt ends while the request goes on.
    let scripts = || [Script::refuse(), Script::ok(), Script::ok(), Script::ok()];
    for (at, watched, status) in [(At::Select, false, 500), (At::Outcome, false, 200), (At::Outcome, true, 200)] {
        let origin = ScriptedConnector::in_turn(scripts());
        let mut builder = Cluster::builder(Touchy(at)).backend("a:1".parse().expect("an address"));
        if watched {
            builder = builder.observer(Arc::new(Touchy(at)));
        }
        let stage = Stage::to(origin.clone(), builder.build_with(origin.pool()), |builder| builder);
        for _ in 0..2 {
            let mut client = stage.connect_and_send(GET).await;
            assert_eq!(client.read_response().await.status(), status, "{at:?}");
            assert_eq!(client.leave().await, 1);
        }
        assert_eq!(stage.recorder().outcomes().len(), 2, "{at:?}");
    }
}

/// Panics at the first connection.
struct Shy(AtomicUsize);

impl Filter for Shy {
    fn on_connection(&self, _: &Peer) -> Admission {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) > 0, "trouble");
        Admission::Admit
    }
}

/// The accept loop lives on: a panic there would end the whole server.
#[tokio::test(start_paused = true)]
async fn at_a_connection_refuses_it() {
    let origin = ScriptedConnector::always(Script::new().read_request().answer(ok("hi")).repeat());
    let builder = Proxy::builder().filter(Shy(AtomicUsize::new(0))).upstream("origin", origin.cluster());
    let proxy = builder.route(Route::to("origin")).build().expect("the route names the upstream");
    let (dialer, listener) = listen();
    let server = tokio::spawn(serve(listener, proxy).into_future());
    for answered in [false, true] {
        let mut client = dialer.dial().expect("the server accepts");
        let _ = client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(60), client.read_to_string(&mut answer)).await;
        assert!(read.is_ok(), "the connection is neither served nor closed");
        assert_eq!(answer.ends_with("hi"), answered, "{answer:?}");
    }
    assert!(!server.is_finished());
}
