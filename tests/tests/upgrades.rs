//! Upgrades, whoever serves the client and whoever answers: tunnels, refusals, and how they end.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request as HttpRequest, Response as HttpResponse, StatusCode};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use proxy_core::testing::{Recorder, Script, ScriptedConnector, TestProxy};
use proxy_core::{
    Body, Context, ErrorKind, Filter, Flow, Outcome, Phase, Proxy, Request, Result, Route, ServiceUpstream, Timeouts,
    Upstream,
};
use tests::{Front, GET};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep, timeout};
use tower::Service;

const S: Duration = Duration::from_secs(1);
const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
const CONNECT: &str = "CONNECT far:1 HTTP/1.1\r\nHost: far:1\r\n\r\n";

/// A proxy of everything to this upstream, and what it saw. A silent tunnel has 100 seconds.
fn proxy(upstream: impl Upstream) -> (Proxy, Recorder) {
    let recorder = Recorder::new("r");
    let timeouts = Timeouts { tunnel_idle: 100 * S, ..Timeouts::default() };
    let builder = Proxy::builder().filter(recorder.clone()).timeouts(timeouts).upstream("it", upstream);
    (builder.route(Route::to("it")).build().expect("the route names the upstream"), recorder)
}

/// The same over an origin that plays this script.
fn scripted(script: Script) -> (Proxy, Recorder) {
    proxy(ScriptedConnector::always(script).cluster())
}

type Answer = HttpResponse<Full<Bytes>>;

fn answer(status: StatusCode, body: &'static str) -> Answer {
    let mut answer = HttpResponse::new(Full::from(body));
    *answer.status_mut() = status;
    answer
}

/// Agrees to every upgrade, and sends back what comes through.
async fn echo(mut request: HttpRequest<Body>) -> Result<Answer, &'static str> {
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Ok(answer(StatusCode::UPGRADE_REQUIRED, "no stream"));
    };
    tokio::spawn(async move {
        let stream = TokioIo::new(upgrade.await.expect("the answer is a switch"));
        let (mut read, mut write) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut read, &mut write).await;
        let _ = write.shutdown().await;
    });
    if *request.method() == Method::CONNECT {
        return Ok(answer(StatusCode::OK, ""));
    }
    let mut switch = answer(StatusCode::SWITCHING_PROTOCOLS, "");
    switch.headers_mut().insert("upgrade", request.headers()["upgrade"].clone());
    switch.headers_mut().insert("x-peer", request.extensions().get::<Mark>().map_or(0, |mark| mark.0).into());
    Ok(switch)
}

/// What plugins hand to a service.
#[derive(Clone)]
struct Mark(u64);

fn echo_service() -> impl Upstream {
    ServiceUpstream::new(tower::service_fn(echo))
}

async fn send(stream: &mut DuplexStream, bytes: &str) {
    stream.write_all(bytes.as_bytes()).await.expect("the proxy reads");
}

/// Reads a head, and not a byte more.
async fn head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&head))));
    }
    String::from_utf8(head).expect("text")
}

async fn read(stream: &mut (impl AsyncRead + Unpin), count: usize) -> String {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.expect("as many bytes");
    String::from_utf8(bytes).expect("text")
}

async fn rest(mut stream: DuplexStream) -> String {
    let mut text = String::new();
    timeout(3600 * S, stream.read_to_string(&mut text)).await.expect("an end").expect("text");
    text
}

/// The one outcome there is.
async fn end(recorder: &Recorder) -> Outcome {
    let outcome = recorder.outcome().await;
    sleep(S).await;
    assert_eq!(recorder.outcomes().len(), 1);
    outcome
}

fn code(outcome: &Outcome) -> &'static str {
    outcome.error.map_or("ok", ErrorKind::code)
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_opens_and_ends_once_wherever_it_runs() {
    for front in Front::ALL {
        for (proxy, recorder) in [proxy(echo_service()), scripted(Script::new().read_head().answer(SWITCH).echo())] {
            let server = front.serve(proxy);
            let mut client = server.dial();
            send(&mut client, UPGRADE).await;
            let head = head(&mut client).await.to_lowercase();
            assert!(head.starts_with("http/1.1 101 ") && head.contains("\r\nupgrade: x\r\n"), "{front:?} {head}");
            assert!(head.contains("\r\nconnection: upgrade\r\n"), "{front:?} {head}");
            send(&mut client, "ping").await;
            assert_eq!(read(&mut client, 4).await, "ping");
            assert!(recorder.outcomes().is_empty());
            client.shutdown().await.expect("an open stream");
            assert_eq!(rest(client).await, "");
            let outcome = end(&recorder).await;
            assert_eq!((code(&outcome), outcome.phase, outcome.bytes_received), ("ok", Phase::Tunnel, 4), "{front:?}");
            assert_eq!(outcome.timings.first_byte.is_some(), outcome.attempts > 0, "{front:?}");
        }
    }
}

/// Not a byte of the client reaches the origin before the 101, and none is lost.
#[tokio::test(start_paused = true)]
async fn early_bytes_wait_for_the_switch() {
    for front in Front::ALL {
        let origin = ScriptedConnector::always(Script::new().read_head().wait(2 * S).answer(SWITCH).echo());
        let (proxy, recorder) = proxy(origin.cluster());
        let server = front.serve(proxy);
        let mut client = server.dial();
        send(&mut client, &format!("{UPGRADE}early")).await;
        sleep(S).await;
        assert!(origin.received(0).ends_with("\r\n\r\n"), "{front:?} {}", origin.received(0));
        head(&mut client).await;
        assert_eq!(read(&mut client, 5).await, "early");
        drop(client);
        let outcome = end(&recorder).await;
        assert_eq!(outcome.bytes_received, 5, "{front:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let table = [(StatusCode::OK, "a page"), (StatusCode::FORBIDDEN, "no"), (StatusCode::UPGRADE_REQUIRED, "other")];
    for (front, (status, body)) in Front::ALL.into_iter().flat_map(|front| table.map(|row| (front, row))) {
        let refuses = move |_: HttpRequest<Body>| async move { Ok::<_, &'static str>(answer(status, body)) };
        let line = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n\r\n{body}", status.as_u16(), body.len());
        let script = Script::new().read_request().answer(line).repeat();
        let backs = [proxy(ServiceUpstream::new(tower::service_fn(refuses))), scripted(script)];
        for (proxy, recorder) in backs {
            let server = front.serve(proxy);
            let mut client = server.dial();
            // The connection goes on with the next request, with an upgrade and without.
            for request in [UPGRADE, UPGRADE, GET] {
                send(&mut client, request).await;
                let head = head(&mut client).await;
                assert!(head.contains(status.as_str()), "{front:?} {head}");
                assert_eq!(read(&mut client, body.len()).await, body);
            }
            let outcomes = recorder.wait_for(3).await;
            let fine = |outcome: &Outcome| outcome.error.is_none() && outcome.status == Some(status);
            assert!(outcomes.iter().all(fine), "{front:?} {outcomes:?}");
        }
    }
}

/// At every stage, on both sides of the proxy.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_ends_its_request_once() {
    for front in Front::ALL {
        // Before the answer.
        let (waits, recorder) = scripted(Script::new().read_head());
        let server = front.serve(waits);
        let mut client = server.dial();
        send(&mut client, UPGRADE).await;
        sleep(S).await;
        drop(client);
        let outcome = end(&recorder).await;
        assert_eq!((code(&outcome), outcome.status), ("client_gone", None), "{front:?}");

        // While a service thinks.
        let (waits, recorder) = proxy(ServiceUpstream::new(tower::service_fn(async |request| {
            sleep(10 * S).await;
            echo(request).await
        })));
        let server = front.serve(waits);
        let mut client = server.dial();
        send(&mut client, UPGRADE).await;
        sleep(S).await;
        drop(client);
        let outcome = end(&recorder).await;
        assert_eq!((code(&outcome), outcome.status), ("client_gone", None), "{front:?}");

        // In the tunnel: the other side sees the end of the stream, and ends too.
        for (proxy, recorder) in [proxy(echo_service()), scripted(Script::new().read_head().answer(SWITCH).echo())] {
            let server = front.serve(proxy);
            let mut client = server.dial();
            send(&mut client, UPGRADE).await;
            head(&mut client).await;
            send(&mut client, "ping").await;
            read(&mut client, 4).await;
            drop(client);
            let outcome = end(&recorder).await;
            assert_eq!((outcome.phase, outcome.bytes_received), (Phase::Tunnel, 4), "{front:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_leaves_ends_the_tunnel() {
    for front in Front::ALL {
        let (proxy, recorder) = scripted(Script::new().read_head().answer(SWITCH).answer("bye").close());
        let server = front.serve(proxy);
        let mut client = server.dial();
        send(&mut client, UPGRADE).await;
        head(&mut client).await;
        assert_eq!(rest(client).await, "bye", "{front:?}");
        let outcome = end(&recorder).await;
        assert_eq!((outcome.phase, outcome.status), (Phase::Tunnel, Some(StatusCode::SWITCHING_PROTOCOLS)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_tunnel_is_closed_on_both_paths() {
    for front in Front::ALL {
        let (proxy, recorder) = proxy(echo_service());
        let server = front.serve(proxy);
        let mut client = server.dial();
        send(&mut client, UPGRADE).await;
        head(&mut client).await;
        sleep(90 * S).await;
        send(&mut client, "ping").await;
        assert_eq!(read(&mut client, 4).await, "ping");
        let silent = Instant::now();
        assert_eq!(rest(client).await, "");
        assert_eq!(silent.elapsed().as_secs(), 100, "{front:?}");
        let outcome = end(&recorder).await;
        assert_eq!((code(&outcome), outcome.bytes_received, outcome.phase), ("tunnel_idle", 4, Phase::Tunnel));
    }
}

/// A tunnel outlives the signal, and is cut off at the drain's deadline; the service behind it sees that.
#[tokio::test(start_paused = true)]
async fn a_drain_cuts_tunnels_off_at_its_deadline() {
    let (proxy, recorder) = proxy(echo_service());
    let server = Front::Engine.serve(proxy);
    let mut client = server.dial();
    send(&mut client, UPGRADE).await;
    head(&mut client).await;
    let (told, stopped) = (Instant::now(), server.stop());
    sleep(10 * S).await;
    send(&mut client, "ping").await;
    assert_eq!(read(&mut client, 4).await, "ping");
    assert_eq!(rest(client).await, "");
    assert_eq!(told.elapsed().as_secs(), 20);
    stopped.await.expect("a server ends without a panic");
    let outcome = end(&recorder).await;
    assert_eq!((code(&outcome), outcome.bytes_received), ("shutting_down", 4));
    assert!(outcome.bytes_sent > 4);
}

/// hyper has let go of an upgraded connection when its server drains: the tunnel goes on, as those
/// of axum's own WebSockets do, and ends with the runtime at the latest.
#[test]
fn a_tunnel_under_a_router_ends_with_the_runtime_at_the_latest() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let recorder = runtime.block_on(async {
        let (proxy, recorder) = proxy(echo_service());
        let server = Front::Tower.serve(proxy);
        let mut client = server.dial();
        send(&mut client, UPGRADE).await;
        head(&mut client).await;
        server.stop().await.expect("a server ends without a panic");
        send(&mut client, "ping").await;
        assert_eq!(read(&mut client, 4).await, "ping");
        assert!(recorder.outcomes().is_empty());
        recorder
    });
    drop(runtime);
    let outcomes = recorder.outcomes();
    assert_eq!(outcomes.len(), 1);
    assert_eq!((code(&outcomes[0]), outcomes[0].bytes_received, outcomes[0].bytes_sent), ("shutting_down", 4, 4));
}

/// A 2xx of a service to CONNECT opens a tunnel, too.
#[tokio::test(start_paused = true)]
async fn connect_reaches_a_service() {
    let (proxy, recorder) = proxy(echo_service());
    let server = Front::Engine.serve(proxy);
    let mut client = server.dial();
    send(&mut client, &format!("{CONNECT}early")).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(read(&mut client, 5).await, "early");
    client.shutdown().await.expect("an open stream");
    assert_eq!(rest(client).await, "");
    let outcome = end(&recorder).await;
    assert_eq!((code(&outcome), outcome.bytes_received), ("ok", 5));
}

/// The stream is the service's to take: its request is otherwise what the proxy has.
#[tokio::test(start_paused = true)]
async fn a_service_gets_the_request_as_it_is() {
    struct Marks;
    #[async_trait]
    impl Filter for Marks {
        async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
            request.head_mut().extensions_mut().insert(Mark(7));
            Ok(Flow::Continue)
        }
    }
    let builder = Proxy::builder().filter(Marks).upstream("it", echo_service()).route(Route::to("it"));
    let server = Front::Engine.serve(builder.build().expect("the route names the upstream"));
    let mut client = server.dial();
    send(&mut client, UPGRADE).await;
    let head = head(&mut client).await;
    assert!(head.contains("x-peer: 7\r\n"), "{head}");
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_at_an_upgrade_is_a_clear_answer() {
    async fn fails(_: HttpRequest<Body>) -> Result<Answer, &'static str> {
        Err("broken")
    }
    async fn panics(_: HttpRequest<Body>) -> Result<Answer, &'static str> {
        panic!("on purpose")
    }
    async fn lies(_: HttpRequest<Body>) -> Result<Answer, &'static str> {
        Ok(answer(StatusCode::SWITCHING_PROTOCOLS, ""))
    }
    let with_body = UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\nbody");
    let to_h2c = UPGRADE.replace("Upgrade: x", "Upgrade: h2c");
    for front in Front::ALL {
        let table: [(Box<dyn Upstream>, &str, &str, &str); 6] = [
            (Box::new(ServiceUpstream::new(tower::service_fn(fails))), UPGRADE, "502", "service_failed"),
            (Box::new(ServiceUpstream::new(tower::service_fn(panics))), UPGRADE, "500", "plugin_panic"),
            // A switch that nobody asked for, or that would begin within the request.
            (Box::new(ServiceUpstream::new(tower::service_fn(lies))), GET, "502", "no_tunnel"),
            (Box::new(ServiceUpstream::new(tower::service_fn(lies))), &with_body, "502", "no_tunnel"),
            // An ordinary request, to the service.
            (Box::new(echo_service()), &with_body, "426", "ok"),
            (Box::new(echo_service()), &to_h2c, "426", "ok"),
        ];
        for (upstream, request, status, expected) in table {
            let (proxy, recorder) = proxy(upstream);
            let server = front.serve(proxy);
            let mut client = server.dial();
            send(&mut client, request).await;
            let head = head(&mut client).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{front:?} {expected} {head}");
            assert_eq!(code(&recorder.outcome().await), expected, "{front:?}");
        }
    }
}

/// A service that agrees and drops its stream has ended the tunnel.
#[tokio::test(start_paused = true)]
async fn a_service_may_drop_its_stream() {
    let (proxy, recorder) = proxy(ServiceUpstream::new(tower::service_fn(async |_: HttpRequest<Body>| {
        Ok::<_, &'static str>(answer(StatusCode::SWITCHING_PROTOCOLS, ""))
    })));
    let server = Front::Engine.serve(proxy);
    let mut client = server.dial();
    send(&mut client, UPGRADE).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 101 "));
    assert_eq!(rest(client).await, "");
    assert_eq!(end(&recorder).await.phase, Phase::Tunnel);
}

/// Polls a connection so many times, then drops it: was it done by then?
async fn cut_off(connection: impl Future, polls: usize) -> bool {
    let mut connection = Box::pin(connection);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        connection.as_mut().poll(cx).map(|_| true)
    })
    .await
}

/// Wherever the connection is dropped, a request that began ends exactly once, and nobody waits for ever.
#[tokio::test(start_paused = true)]
async fn an_upgrade_may_be_cut_off_at_every_await() {
    let slow = || {
        ServiceUpstream::new(tower::service_fn(async |request| {
            sleep(S).await;
            let answer = echo(request).await;
            sleep(S).await;
            answer
        }))
    };
    for front in Front::ALL {
        let mut polls = 0;
        loop {
            let (proxy, recorder) = proxy(slow());
            let (mut client, server): (_, Pin<Box<dyn Future<Output = ()>>>) = match front {
                Front::Engine => {
                    let (client, server) = TestProxy::new(proxy).room(64).pair();
                    (client.into_stream().0, Box::pin(async { _ = server.await }))
                }
                Front::Tower => {
                    let (client, stream) = tokio::io::duplex(64);
                    (client, Box::pin(hyper_server(proxy, stream)))
                }
            };
            let talk = tokio::spawn(async move {
                let _ = client.write_all(format!("{UPGRADE}early").as_bytes()).await;
                let mut answer = Vec::new();
                while !answer.ends_with(b"early") && client.read_buf(&mut answer).await.is_ok_and(|count| count > 0) {}
                answer.ends_with(b"early")
            });
            let done = cut_off(server, polls).await;
            let whole =
                timeout(3600 * S, talk).await.expect("the client's side ends").expect("a client does not panic");
            sleep(1000 * S).await;
            let began = recorder.calls().iter().filter(|call| *call == "r.on_request").count();
            assert_eq!(recorder.outcomes().len(), began, "{front:?} after {polls} polls: {:?}", recorder.calls());
            if done {
                assert!(whole, "{front:?}");
                break;
            }
            polls += 1;
        }
        assert!(polls > 2, "{front:?}: {polls}");
    }
}

async fn hyper_server(proxy: Proxy, stream: DuplexStream) {
    let service = hyper::service::service_fn(|request| proxy.clone().call(request));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = connection.with_upgrades().await;
}

/// Where the server in front has no stream to give, nobody is asked to upgrade.
#[tokio::test(start_paused = true)]
async fn without_a_clients_stream_there_is_no_upgrade() {
    let table = [(Script::ok(), StatusCode::OK), (Script::new().read_head().answer(SWITCH), StatusCode::BAD_GATEWAY)];
    for (script, status) in table {
        let origin = ScriptedConnector::always(script);
        let (mut proxy, recorder) = proxy(origin.cluster());
        let get = HttpRequest::get("/chat").header("host", "h").header("connection", "upgrade").header("upgrade", "x");
        let response = proxy.call(get.body(Full::<Bytes>::default()).expect("a request")).await;
        assert_eq!(response.expect("a proxy does not fail").status(), status);
        assert!(!origin.received(0).to_lowercase().contains("upgrade"), "{}", origin.received(0));
        recorder.outcome().await;
    }
}

/// A router's WebSocket keeps its connection through a proxy before and a proxy behind.
#[tokio::test(start_paused = true)]
async fn tunnels_nest() {
    let (inner, within) = scripted(Script::new().read_request().answer(SWITCH).echo());
    let app = axum::Router::new().route("/own", axum::routing::get(async || "own")).fallback_service(inner);
    let (outer, without) = proxy(ServiceUpstream::new(app));
    let server = Front::Engine.serve(outer);
    let mut client = server.dial();
    send(&mut client, &GET.replace("/ ", "/own ")).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(read(&mut client, 3).await, "own");
    send(&mut client, UPGRADE).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 101 "));
    send(&mut client, "ping").await;
    assert_eq!(read(&mut client, 4).await, "ping");
    // The deadline of the outer server's drain ends both.
    server.stop().await.expect("a server ends without a panic");
    let (outer, inner) = (without.wait_for(2).await.remove(1), within.outcome().await);
    assert_eq!((code(&outer), outer.bytes_received), ("shutting_down", 4));
    assert_eq!((inner.phase, inner.bytes_received, inner.bytes_sent), (Phase::Tunnel, 4, 4));
    assert_eq!(within.outcomes().len(), 1);
}
