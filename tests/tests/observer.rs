//! Events beside the life of a request: that each is really told, and when.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{
    Attempt, AttemptResult, Backend, BackendState, Cluster, Context, Observer, Outcome, Peer, PoolEvent, Proxy,
    RetryPolicy, Route, SharedPool, selector_fn,
};
use tests::{Front, GET, ok};
use tokio::io::AsyncWriteExt;

/// What was told, a word each.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().expect("no holder panicked").push(text.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no holder panicked"))
    }
}

impl Observer for Told {
    fn on_connection_opened(&self, _: &Peer) {
        self.note("client came");
    }

    fn on_connection_closed(&self, _: &Peer, requests: u64) {
        self.note(format!("client left after {requests}"));
    }

    fn on_request_started(&self, _: &Peer) {
        self.note("request began");
    }

    fn on_request_ended(&self, outcome: &Outcome, context: &Context) {
        let status = outcome.status.map_or_else(|| "none".to_owned(), |status| status.as_str().to_owned());
        let places = (context.route_index(), context.upstream_index());
        self.note(format!("request ended {status} {places:?}"));
    }

    fn on_pool(&self, backend: &Backend, event: PoolEvent) {
        let event = match event {
            PoolEvent::Opened(_) => "opened".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        };
        self.note(format!("{} {event}", backend.id()));
    }

    fn on_attempt(&self, backend: &Backend, attempt: &Attempt) {
        let result = match attempt.result {
            AttemptResult::Response(status) => status.as_str().to_owned(),
            AttemptResult::Failed(kind) => kind.code().to_owned(),
            _ => "abandoned".to_owned(),
        };
        self.note(format!("{} {result}", backend.id()));
    }

    fn on_health(&self, backend: &Backend, state: BackendState) {
        self.note(format!("{} {state:?}", backend.id()));
    }
}

/// A proxy over two origins, the first of which refuses; at most one connection each.
fn observed() -> (Proxy, Told) {
    let told = Told::default();
    let observer: Arc<dyn Observer> = Arc::new(told.clone());
    let slow = Script::new().read_request().wait(Duration::from_secs(1)).answer(ok("b")).repeat();
    let origins = ScriptedConnector::default().backend_always("a:1", Script::refuse()).backend_always("b:1", slow);
    let pool = SharedPool::builder().connector(Arc::new(origins)).max_open_per_backend(1).observer(observer.clone());
    let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
        .backend("a:1".parse().expect("an address"))
        .backend("b:1".parse().expect("an address"))
        .observer(observer.clone())
        .build_with(pool.build());
    let builder = Proxy::builder().observer(observer).upstream("it", cluster).route(Route::to("it"));
    (builder.build().expect("the route names the upstream"), told)
}

#[tokio::test(start_paused = true)]
async fn everything_is_told_as_it_happens() {
    let (proxy, told) = observed();
    let server = Front::Engine.serve(proxy);
    let pause = || tokio::time::sleep(Duration::from_millis(100));

    let mut first = server.dial();
    pause().await;
    assert_eq!(told.take(), ["client came"]);
    first.write_all(GET.as_bytes()).await.expect("the proxy reads");
    pause().await;
    assert_eq!(told.take(), ["request began", "a:1 failed", "a:1 connect_refused", "b:1 opened"]);

    // A second client finds the only connection in use.
    let mut second = server.dial();
    second.write_all(GET.as_bytes()).await.expect("the proxy reads");
    pause().await;
    assert_eq!(told.take(), ["client came", "request began", "b:1 waiting"]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(told.take(), ["b:1 200", "request ended 200 (Some(0), Some(0))", "b:1 reused"]);

    // It leaves before it is answered: the connection is of no use any more.
    drop(second);
    pause().await;
    let mut left = told.take();
    left.sort();
    assert_eq!(left, ["b:1 abandoned", "b:1 closed", "client left after 1", "request ended none (Some(0), Some(0))"]);
    drop(first);
    pause().await;
    assert_eq!(told.take(), ["client left after 1"]);
}

/// A cluster hands its observer to the pool that it makes for itself.
#[tokio::test]
async fn a_clusters_own_pool_has_its_observer() {
    let told = Told::default();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
        .backend(nobody.expect("a free port").into())
        .observer(Arc::new(told.clone()))
        .retry(RetryPolicy { attempts: 1, ..RetryPolicy::default() })
        .build();
    let mut client = proxy_core::testing::TestProxy::over(cluster).connect();
    client.send(GET).await;
    assert_eq!(client.read_response().await.status(), 502);
    let told: Vec<_> =
        told.take().iter().filter_map(|event| event.split_once(' ').map(|(_, it)| it.to_owned())).collect();
    assert_eq!(told, ["failed", "connect_refused"]);
}

#[test]
fn pointers_forward_every_event() {
    let told = Told::default();
    let pair = (told.clone(), Box::new(()) as Box<dyn Observer>);
    let pointer: Arc<dyn Observer> = Arc::new(Box::new(pair) as Box<dyn Observer>);
    let backend = Backend::new("a:1".parse().expect("an address"));
    pointer.on_connection_opened(&Peer::default());
    pointer.on_connection_closed(&Peer::default(), 3);
    pointer.on_request_started(&Peer::default());
    pointer.on_pool(&backend, PoolEvent::Closed);
    pointer.on_health(&backend, BackendState::Healthy);
    assert_eq!(told.take(), ["client came", "client left after 3", "request began", "a:1 closed", "a:1 Healthy"]);
}
