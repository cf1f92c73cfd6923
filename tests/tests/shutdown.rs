//! Stopping well: what runs is finished, what idles is closed, and the rest ends at the deadline.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy_core::testing::{Recorder, Script, ScriptedConnector};
use proxy_core::{Admission, ErrorKind, Filter, Limits, Observer, Peer, Proxy, ProxyBuilder, Route, serve};
use tests::{Dialer, GET, listen, ok};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const S: Duration = Duration::from_secs(1);

struct Server {
    dialer: Dialer,
    recorder: Recorder,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// A server before this origin, that gives running requests 20 seconds.
fn start(script: Script, configure: impl FnOnce(ProxyBuilder) -> ProxyBuilder) -> Server {
    let (origin, recorder) = (ScriptedConnector::always(script), Recorder::new("r"));
    let builder = Proxy::builder().filter(recorder.clone()).upstream("origin", origin.cluster());
    let proxy = configure(builder).route(Route::to("origin")).build().expect("the route names the upstream");
    let ((dialer, listener), (stop, stopped)) = (listen(), oneshot::channel::<()>());
    let stopped = async { stopped.await.unwrap_or(()) };
    let server = serve(listener, proxy).with_graceful_shutdown(stopped).drain_timeout(20 * S);
    Server { dialer, recorder, stop: Some(stop), task: tokio::spawn(server.into_future()) }
}

impl Server {
    async fn connect(&self, bytes: &str) -> DuplexStream {
        let mut client = self.dialer.dial().expect("the server listens");
        client.write_all(bytes.as_bytes()).await.expect("the server reads");
        tokio::time::sleep(Duration::from_millis(1)).await;
        client
    }

    fn stop(&mut self) -> Instant {
        drop(self.stop.take());
        Instant::now()
    }
}

/// What the server still sends, to the end.
async fn rest(mut client: DuplexStream) -> String {
    let mut text = String::new();
    let read = tokio::time::timeout(3600 * S, client.read_to_string(&mut text)).await;
    read.expect("the server closes the connection").expect("text");
    text
}

#[tokio::test(start_paused = true)]
async fn running_requests_finish_and_idle_connections_close() {
    let mut server = start(Script::new().read_request().wait(5 * S).answer(ok("late")).repeat(), |builder| builder);
    let silent = server.connect("").await;
    let mut answer = vec![0; ok("late").len()];
    let mut idle = server.connect(GET).await;
    idle.read_exact(&mut answer).await.expect("an answer");
    let running = server.connect(GET).await;
    let partial = server.connect("GET / HT").await;
    tokio::time::sleep(S).await;

    let stopped = server.stop();
    assert_eq!((rest(silent).await, rest(idle).await), (String::new(), String::new()));
    assert_eq!(stopped.elapsed(), Duration::ZERO);
    let last = rest(running).await;
    assert!(last.contains("Connection: close\r\n") && last.ends_with("late"), "{last}");
    assert_eq!(stopped.elapsed().as_secs_f64().round(), 4.0);
    // The head that never came ends at its own deadline, before the server's.
    rest(partial).await;
    server.task.await.expect("a server ends without a panic");
    assert!(stopped.elapsed() < 20 * S, "{:?}", stopped.elapsed());
    assert!(server.dialer.dial().is_none(), "the listener is closed");
}

/// Its next request may be on its way when the server decides to stop.
#[tokio::test(start_paused = true)]
async fn a_client_that_was_here_a_moment_ago_may_ask_once_more() {
    let mut server = start(Script::new().read_request().answer(ok("ok")).repeat(), |builder| builder);
    let (mut busy, fresh) = (server.connect(GET).await, server.connect("").await);
    busy.read_exact(&mut vec![0; ok("ok").len()]).await.expect("an answer");
    let stopped = server.stop();
    tokio::time::sleep(S / 2).await;
    busy.write_all(GET.as_bytes()).await.expect("the connection is open");
    let last = rest(busy).await;
    assert!(last.contains("Connection: close\r\n") && last.ends_with("ok"), "{last}");
    assert_eq!(rest(fresh).await, "");
    server.task.await.expect("a server ends without a panic");
    assert_eq!(stopped.elapsed().as_secs_f64().round(), 1.0);
}

/// They are connected as far as they know.
#[tokio::test(start_paused = true)]
async fn those_who_wait_to_be_accepted_are_served() {
    let mut server = start(Script::new().read_request().answer(ok("ok")).repeat(), |builder| builder);
    tokio::task::yield_now().await;
    let mut clients: Vec<_> = (0..5).map(|_| server.dialer.dial().expect("the server listens")).collect();
    // Nobody has run since: all of them are in the queue.
    server.stop();
    for client in &mut clients {
        client.write_all(GET.as_bytes()).await.expect("the server reads");
    }
    for client in clients {
        assert!(rest(client).await.ends_with("ok"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_ended_at_the_deadline() {
    let mut server = start(Script::new().read_request(), |builder| builder);
    let stuck = server.connect(GET).await;
    let stopped = server.stop();
    assert_eq!(rest(stuck).await, "");
    assert_eq!(stopped.elapsed().as_secs(), 20);
    server.task.await.expect("a server ends without a panic");
    let outcomes = server.recorder.outcomes();
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].error.map(ErrorKind::code), Some("shutting_down"));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_connections_stops_at_once() {
    let mut server = start(Script::ok(), |builder| builder);
    let stopped = server.stop();
    server.task.await.expect("a server ends without a panic");
    assert_eq!(stopped.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_limits_wait_or_are_closed() {
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let server = start(Script::ok(), |builder| builder.limits(limits));
    let mut first = server.connect(GET).await;
    let mut second = server.connect(GET).await;
    let mut answer = vec![0; ok("ok").len()];
    first.read_exact(&mut answer).await.expect("an answer");
    let waits = tokio::time::timeout(S, second.read_exact(&mut answer)).await;
    assert!(waits.is_err(), "the second waits");
    drop(first);
    second.read_exact(&mut answer).await.expect("an answer");

    let limits = Limits { max_connections_per_client: Some(1), ..Limits::default() };
    let server = start(Script::ok(), |builder| builder.limits(limits));
    let mut first = server.connect(GET).await;
    let refused = server.connect("").await;
    assert_eq!(rest(refused).await, "");
    first.read_exact(&mut answer).await.expect("an answer");
    drop(first);
    tokio::time::sleep(S).await;
    server.connect(GET).await.read_exact(&mut answer).await.expect("an answer");
}

/// Connections as filters and observers see them.
#[derive(Clone, Default)]
struct Watch(Arc<Mutex<Vec<String>>>);

struct Guard(Watch);

impl Watch {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().expect("no holder panicked").push(text.into());
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.note("released");
    }
}

impl Filter for Watch {
    fn on_connection(&self, peer: &Peer) -> Admission {
        let refuses = self.0.lock().expect("no holder panicked").len() > 3;
        self.note(format!("asked by {}", peer.address.expect("an address").ip()));
        if refuses { Admission::Refuse } else { Admission::Hold(Box::new(Guard(self.clone()))) }
    }
}

impl Observer for Watch {
    fn on_connection_opened(&self, _: &Peer) {
        self.note("opened");
    }

    fn on_connection_closed(&self, _: &Peer, requests: u64) {
        self.note(format!("closed after {requests}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connections_guard_is_held_to_its_end() {
    let watch = Watch::default();
    let server = start(Script::ok(), |builder| builder.filter(watch.clone()).observer(watch.clone()));
    let client = server.connect(&format!("{GET}{GET}")).await;
    assert_eq!(*watch.0.lock().expect("no holder panicked"), ["asked by 192.0.2.1", "opened"]);
    drop(client);
    tokio::time::sleep(S).await;
    let refused = server.connect("").await;
    assert_eq!(rest(refused).await, "");
    let seen = watch.0.lock().expect("no holder panicked").clone();
    assert_eq!(seen, ["asked by 192.0.2.1", "opened", "closed after 2", "released", "asked by 192.0.2.1"]);
}
