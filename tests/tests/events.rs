//! What is logged: one debug event for each request that does not go well, with its reason code.

use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{
    Backend, Cluster, Listener, Outcome, Proxy, Route, TcpListener, TcpProxy, TraceContext, serve, serve_tcp,
};
use tests::{GET, Log, LogEvent, Stage, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// What this request logs, before an origin like that. Behind a `|` it goes on half a second later; after
/// a second the client leaves.
async fn logged(request: &str, script: Script) -> Vec<LogEvent> {
    let log = Log::start();
    let stage = Stage::new(script);
    let mut client = stage.connect();
    for part in request.split('|') {
        client.send(part).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.leave().await;
    let outcomes = stage.recorder().outcomes();
    let failed: Vec<_> = log.events().into_iter().filter(|event| event["message"] == "request failed").collect();
    // The outcome, too, says in which phase it failed: answering it is a later one.
    let told: Vec<_> = failed.iter().map(|event| (&*event["fault"], &*event["phase"])).collect();
    let ended = outcomes.iter().filter(|outcome| outcome.error.is_some()).map(Outcome::reason);
    assert_eq!(ended.collect::<Vec<_>>(), told, "{request:?}");
    failed
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_is_one_event() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n";
    let early = Script::new().read_head().answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
    let table = [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), Script::ok(), "host_missing", "client", "head"),
        ("G T\r\n\r\n".to_owned(), Script::ok(), "bad_request_line", "client", "head"),
        (post("x").replace("Length: 1", "Length: 1x"), Script::ok(), "length_malformed", "client", "head"),
        (chunked.to_owned(), Script::new().read_request(), "bad_chunk", "client", "send"),
        // The status is on its way already: only the log and the outcome can tell.
        (chunked.replace("zz", "|zz"), early, "bad_chunk", "client", "relay"),
        (GET.to_owned(), Script::new().read_request(), "client_gone", "client", "send"),
        (GET.to_owned(), Script::refuse(), "connect_refused", "upstream", "connect"),
        (GET.to_owned(), Script::new().read_request().answer("nonsense\r\n\r\n"), "bad_response", "upstream", "send"),
        (GET.to_owned(), Script::new().read_request().answer(half).close(), "upstream_gone", "upstream", "relay"),
    ];
    for (request, script, code, fault, phase) in table {
        let events = logged(&request, script).await;
        let told: Vec<_> = events.iter().map(|event| (&*event["code"], &*event["fault"], &*event["phase"])).collect();
        assert_eq!(told, [(code, fault, phase)], "{request:?}");
        assert_eq!(events[0]["client"], "192.0.2.1", "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_names_what_lies_beneath() {
    let events = logged(GET, Script::refuse()).await;
    let event = &events[0];
    assert_eq!(
        (&*event["upstream"], &*event["backend"], &*event["cause"]),
        ("origin", "origin:80", "connection refused")
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_well_is_none() {
    assert!(logged(GET, Script::ok()).await.is_empty());
}

/// The spans of what one client sends to a listener, which then stops; in the order of their ends.
async fn spans<P, F>(serve: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> F, sends: &str) -> Vec<LogEvent>
where
    F: Future<Output = P> + Send + 'static,
    P: Send + 'static,
{
    let log = Log::start();
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap().named("web");
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(serve(listener, stopped));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(sends.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    drop(stop);
    // It waits for its connections.
    server.await.unwrap();
    log.spans()
}

#[track_caller]
fn check(span: &LogEvent, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(span.get(*name).map(String::as_str), Some(*value), "{name} in {span:?}");
    }
}

#[tokio::test]
async fn a_request_is_a_span_within_that_of_its_connection() {
    let origin = ScriptedConnector::always(Script::ok());
    let proxy = Proxy::builder().half_close(true).filter(TraceContext::new()).upstream("origin", origin.cluster());
    let proxy = proxy.route(Route::to("origin").named("all")).build().unwrap();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let sent = format!(
        "GET /a?secret HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n\r\n"
    );
    let serve = |listener, stopped: oneshot::Receiver<()>| {
        serve(listener, proxy).with_graceful_shutdown(async { stopped.await.unwrap_or(()) }).into_future()
    };
    let spans = spans(serve, &sent).await;
    let [request, connection] = &spans[..] else { panic!("{spans:?}") };
    let expected = [
        ("name", "request"),
        ("within", "connection"),
        ("method", "GET"),
        ("path", "/a"),
        ("host", "h"),
        ("client", "127.0.0.1"),
        ("listener", "web"),
        ("trace_id", trace),
        ("parent_span_id", "00f067aa0ba902b7"),
        ("sampled", "true"),
        ("route", "all"),
        ("upstream", "origin"),
        ("backend", "origin:80"),
        ("attempts", "1"),
        ("status", "200"),
        ("received", "0"),
        ("reason", "ok"),
    ];
    check(request, &expected);
    assert!(request["span_id"].len() == 16 && request.contains_key("total") && !request.contains_key("code"));
    assert!(!format!("{spans:?}").contains("secret"), "{spans:?}");
    check(connection, &[("name", "connection"), ("client", "127.0.0.1"), ("listener", "web")]);
}

#[tokio::test]
async fn a_raw_connection_says_at_its_end_what_was_moved() {
    let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = origin.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = origin.accept().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        stream.write_all(b"answer").await.unwrap();
    });
    let proxy = TcpProxy::over(Cluster::single(Backend::new(address.into())));
    let serve = |listener, stopped: oneshot::Receiver<()>| {
        serve_tcp(listener, proxy).with_graceful_shutdown(async { stopped.await.unwrap_or(()) }).into_future()
    };
    let spans = spans(serve, "hello").await;
    let [connection] = &spans[..] else { panic!("{spans:?}") };
    let backend = address.to_string();
    let moved = [("received", "5"), ("sent", "6"), ("attempts", "1"), ("reason", "ok"), ("upstream", "default")];
    check(connection, &moved);
    check(connection, &[("name", "connection"), ("client", "127.0.0.1"), ("backend", &backend)]);
}
