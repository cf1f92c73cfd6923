//! Every reason there is, by something that causes it: its code in the outcome and in one event, its
//! status at a client that gets an answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use proxy_core::testing::{Recorder, Script, ScriptedConnector, TestProxy};
use proxy_core::{
    Address, Backend, Breaker, BreakerPermit, ClientHandshake, Cluster, Connector, Context, Error, ErrorKind, Filter,
    Flow, Instant, Io, Limits, NextHop, NextHopRefusal, Proxy, ProxyBuilder, Request, Response, Result, RetryPolicy,
    Route, ServiceUpstream, SharedPool, Target, TlsInfo, Upstream, UpstreamTimeouts, filter_fn, selector_fn,
};
use tests::{Call, GET, Log, MemoryOrigin, ok, post};
use tokio::io::AsyncWriteExt;

/// What the client does once it has sent its request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Reads,
    HalfCloses,
    Leaves,
    /// Takes nothing, and stays.
    Stalls,
    /// Is there when the server stops.
    Stays,
}

/// Something that makes a request fail.
struct Cause {
    sent: String,
    then: Then,
    upstream: Box<dyn Upstream>,
    configure: Box<dyn FnOnce(ProxyBuilder) -> ProxyBuilder>,
    route: Route,
    /// The client asked for this host when it shook hands.
    server_name: Option<&'static str>,
}

impl Cause {
    /// The client sends this, and the origin answers `ok`.
    fn sent(bytes: impl Into<String>) -> Self {
        let upstream = Box::new(ScriptedConnector::always(Script::ok()).cluster());
        let route = Route::to("upstream");
        let configure = Box::new(|builder| builder);
        Cause { sent: bytes.into(), then: Then::Reads, upstream, configure, route, server_name: None }
    }

    /// A head with these lines between the first and the last.
    fn lines(lines: &str) -> Self {
        Cause::sent(format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n"))
    }

    /// The origin does this with a good request.
    fn origin(script: Script) -> Self {
        Cause::sent(GET).at(ScriptedConnector::always(script).cluster())
    }

    fn at(mut self, upstream: impl Upstream) -> Self {
        self.upstream = Box::new(upstream);
        self
    }

    fn with(mut self, configure: impl FnOnce(ProxyBuilder) -> ProxyBuilder + 'static) -> Self {
        self.configure = Box::new(configure);
        self
    }

    fn filter(self, filter: impl Filter) -> Self {
        self.with(|builder| builder.filter(filter))
    }

    fn sending(mut self, bytes: String) -> Self {
        self.sent = bytes;
        self
    }

    fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
}

/// Whatever causes this and nothing else. A new reason wants a row here.
fn cause(kind: ErrorKind) -> Cause {
    use ErrorKind as Kind;
    let chunked = "Host: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let part = || Cause::lines("Host: h\r\nContent-Length: 9\r\n\r\npart");
    let read = || Script::new().read_request();
    let upgrade = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    match kind {
        Kind::BadRequestLine => Cause::sent("G T\r\n\r\n"),
        Kind::BadTarget => Cause::sent(GET.replace(" / ", " x ")),
        Kind::BadVersion => Cause::sent(GET.replace("1.1", "3.1")),
        Kind::BadHeader => Cause::lines("Host: h\r\nA : b"),
        Kind::BareLineEnd => Cause::lines("Host: h\nA: b"),
        Kind::HeadTooLarge => Cause::lines(&format!("Host: h\r\nA: {}", "x".repeat(40_000))),
        Kind::TooManyHeaders => Cause::lines(&format!("Host: h{}", "\r\nA: b".repeat(200))),
        Kind::TargetTooLong => Cause::sent(GET.replace(" / ", &format!(" {} ", "/".repeat(10_000)))),
        Kind::HostMissing => Cause::lines("A: b"),
        Kind::HostRepeated => Cause::lines("Host: h\r\nHost: h"),
        Kind::HostMalformed => Cause::lines("Host: a b"),
        Kind::HostMismatch => Cause::sent("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"),
        Kind::Misdirected => Cause { server_name: Some("other"), ..Cause::sent(GET) },
        Kind::LengthAndChunked => Cause::lines("Host: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked"),
        Kind::LengthRepeated => Cause::lines("Host: h\r\nContent-Length: 1\r\nContent-Length: 1"),
        Kind::LengthMalformed => Cause::lines("Host: h\r\nContent-Length: 0x1"),
        Kind::TransferEncoding => Cause::lines("Host: h\r\nTransfer-Encoding: gzip, chunked"),
        Kind::ChunkedInHttp10 => Cause::sent("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Kind::Expectation => Cause::lines("Host: h\r\nExpect: rain"),
        Kind::ConnectRefusedHere => Cause::sent("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"),
        Kind::BodyTooLarge => Cause::sent(post("long"))
            .with(|builder| builder.limits(Limits { max_body_bytes: Some(3), ..Limits::default() })),
        Kind::BadChunk => Cause::lines(&format!("{chunked}x")),
        Kind::BadTrailer => Cause::lines(&format!("{chunked}0\r\nA : b")),
        Kind::BodyAborted => part().then(Then::HalfCloses),
        Kind::HeadTimeout => Cause::sent("GET / HT"),
        Kind::BodyTimeout => part(),
        Kind::WriteTimeout => Cause::origin(read().answer(ok(&"x".repeat(1 << 20)))).then(Then::Stalls),
        Kind::TunnelIdle => Cause::origin(read().answer(switched)).sending(upgrade.into()).then(Then::Stalls),
        Kind::NoTunnel => Cause::sent(upgrade).at(Answers(StatusCode::SWITCHING_PROTOCOLS)),
        Kind::ClientGone => Cause::origin(read()).then(Then::Leaves),
        Kind::NoRoute => {
            let route = Route::to("upstream").path("/elsewhere").expect("a path");
            Cause { route, ..Cause::sent(GET) }
        }
        Kind::NoUpstream => Cause::sent(GET).filter(filter_fn(|_, context| {
            context.route_to("nowhere");
            Ok(Flow::Continue)
        })),
        Kind::Plugin => Cause::sent(GET).filter(filter_fn(|_, _| Err(Error::plugin("trouble")))),
        Kind::PluginPanic => Cause::sent(GET).filter(filter_fn(|_, _| panic!("trouble"))),
        Kind::ShuttingDown => Cause::origin(read()).then(Then::Stays),
        Kind::TotalTimeout => Cause::origin(read()).with(|builder| builder.total_timeout(Duration::from_secs(1))),
        Kind::Unsupported => Cause::sent(GET).at(Connects(Box::new(Answers(StatusCode::OK)))),
        Kind::NoBackend => Cause::sent(GET).at(Cluster::builder(selector_fn(|_, _| None)).build()),
        Kind::CircuitOpen => {
            let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()));
            let backend = Backend::new("origin:80".parse().expect("an address"));
            Cause::sent(GET).at(cluster.with(backend).breaker(Open).build())
        }
        Kind::PoolFull => Cause::sent(GET).at(Crowded::new(0)),
        Kind::PoolTimeout => Cause::sent(GET).at(Crowded::new(1)),
        Kind::ConnectRefused => Cause::origin(Script::refuse()),
        Kind::ConnectTimeout => Cause::origin(Script::hang()),
        Kind::ConnectTls => Cause::sent(GET).at(untrusted()),
        Kind::ConnectHttp2 => {
            let origin = MemoryOrigin::new(|_, mut stream| {
                tokio::spawn(async move { stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await });
            });
            Cause::sent(GET).at(origin.upstream())
        }
        Kind::StreamRefused => Cause::sent(GET).at(resets(h2::Reason::REFUSED_STREAM)),
        Kind::StreamReset => Cause::sent(GET).at(resets(h2::Reason::INTERNAL_ERROR)),
        Kind::NextHopRefused => Cause::sent(GET).at(led_nowhere()),
        Kind::Resolve => Cause::sent(GET).at(unresolved()),
        Kind::UpstreamGone => Cause::origin(read().close()),
        Kind::UpstreamIo => Cause::origin(Script::new().read_head().close()).sending(post(&"x".repeat(1 << 20))),
        Kind::BadResponse => Cause::origin(read().answer("nonsense\r\n\r\n")),
        Kind::BadResponseBody => {
            Cause::origin(read().answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"))
        }
        Kind::UnexpectedUpgrade => Cause::origin(read().answer("HTTP/1.1 101 Switching Protocols\r\n\r\n")),
        Kind::ResponseTimeout => Cause::origin(read()),
        Kind::ResponseStalled => Cause::origin(read().answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")),
        Kind::ServiceFailed => Cause::sent(GET).at(ServiceUpstream::new(tower::service_fn(fails))),
        other => panic!("what causes {other:?}?"),
    }
}

/// What only a raw connection, a session of UDP or a shared connection can end by, or one that is turned away before
/// its first request: `proxy-forward/tests/it/server_names.rs`, `tests/tests/http2/floods.rs`, `tcp.rs`, `udp.rs`, `server_names.rs` and `proxy_protocol.rs` have their causes.
const NOT_OF_REQUESTS: [ErrorKind; 17] = [
    // What ends an attempt, and never a request.
    ErrorKind::GrpcStatus,
    ErrorKind::ServerNameMismatch,
    ErrorKind::Http2Protocol,
    ErrorKind::RapidReset,
    ErrorKind::MadeReset,
    ErrorKind::ContinuationFlood,
    ErrorKind::HeaderBomb,
    ErrorKind::FrameFlood,
    ErrorKind::LifetimeOver,
    ErrorKind::SessionsFull,
    ErrorKind::ProxyHeaderMissing,
    ErrorKind::ProxyHeaderUntrusted,
    ErrorKind::BadProxyHeader,
    ErrorKind::ProxyHeaderTimeout,
    ErrorKind::NotTls,
    ErrorKind::BadClientHello,
    ErrorKind::ClientHelloTimeout,
];

/// A breaker that lets nothing through.
struct Open;

impl Breaker for Open {
    fn admit(&self, _: &Backend, _: u32, _: Instant) -> Option<BreakerPermit> {
        None
    }

    fn permits(&self, _: &Backend, _: u32, _: Instant) -> bool {
        false
    }
}

/// Asks another upstream for a raw connection.
struct Connects(Box<dyn Upstream>);

#[async_trait]
impl Upstream for Connects {
    async fn send(&self, _: Request, context: &mut Context) -> Result<Response> {
        self.0.connect(None, context).await?;
        Ok(Response::status(StatusCode::OK))
    }
}

/// Answers with this status, and has no connections to give.
struct Answers(StatusCode);

#[async_trait]
impl Upstream for Answers {
    async fn send(&self, _: Request, _: &mut Context) -> Result<Response> {
        Ok(Response::status(self.0))
    }
}

/// A cluster whose one place is taken while a request waits for it.
struct Crowded {
    pool: SharedPool,
    backend: Backend,
}

impl Crowded {
    fn new(max_pending: usize) -> Self {
        let origin = Arc::new(ScriptedConnector::always(Script::new()));
        let pool = SharedPool::builder().max_open_per_backend(1).max_pending(max_pending).connector(origin).build();
        Crowded { pool, backend: Backend::new("origin:80".parse().expect("an address")) }
    }
}

#[async_trait]
impl Upstream for Crowded {
    async fn send(&self, request: Request, context: &mut Context) -> Result<Response> {
        use proxy_core::Pool;
        let _taken = self.pool.acquire(&Target::new(self.backend.clone()), None).await?;
        let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()));
        let timeouts = UpstreamTimeouts { connect: Duration::from_secs(1), ..UpstreamTimeouts::default() };
        let once = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
        let cluster = cluster.with(self.backend.clone()).timeouts(timeouts).retry(once);
        cluster.build_with(self.pool.clone()).send(request, context).await
    }
}

/// A backend that resets every stream.
fn resets(reason: h2::Reason) -> impl Upstream {
    MemoryOrigin::http2(move |mut call: Call| async move { call.reset(reason) }).upstream()
}

/// A backend that is a proxy, and does not lead to the destination.
fn led_nowhere() -> impl Upstream {
    struct Refuses;

    #[async_trait]
    impl Connector for Refuses {
        async fn connect(&self, _: &Target) -> io::Result<Box<dyn Io>> {
            Err(NextHopRefusal::new(StatusCode::BAD_GATEWAY, "not there").into())
        }
    }

    let pool = SharedPool::builder().connector(Arc::new(Refuses)).build();
    let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()));
    cluster.next_hop(NextHop::Tunnel).backend(Address::Name("proxy".into(), 1080)).build_with(pool)
}

/// A backend whose name has no address.
fn unresolved() -> impl Upstream {
    struct Nowhere;

    #[async_trait]
    impl Connector for Nowhere {
        async fn connect(&self, _: &Target) -> io::Result<Box<dyn Io>> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    let pool = SharedPool::builder().connector(Arc::new(Nowhere)).build();
    let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()));
    cluster.backend(Address::Name("nowhere".into(), 80)).build_with(pool)
}

/// A backend that is not whom it should be.
fn untrusted() -> impl Upstream {
    #[derive(Debug)]
    struct Distrust;

    #[async_trait]
    impl ClientHandshake for Distrust {
        async fn perform(&self, _: Box<dyn Io>, _: &Target) -> io::Result<Box<dyn Io>> {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    struct Secure;

    #[async_trait]
    impl Connector for Secure {
        async fn connect(&self, target: &Target) -> io::Result<Box<dyn Io>> {
            let tls = target.tls().expect("the cluster's");
            tls.perform(Box::new(tokio::io::duplex(1).0), target).await
        }
    }

    let pool = SharedPool::builder().connector(Arc::new(Secure)).build();
    let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()));
    cluster.backend("origin:443".parse().expect("an address")).tls(Distrust).build_with(pool)
}

async fn fails(_: http::Request<proxy_core::Body>) -> Result<http::Response<axum::body::Body>, io::Error> {
    Err(io::Error::other("trouble"))
}

#[tokio::test(start_paused = true)]
async fn every_reason_has_a_cause() {
    for kind in ErrorKind::ALL.iter().filter(|kind| !NOT_OF_REQUESTS.contains(kind)) {
        let Cause { sent, then, upstream, configure, route, server_name } = cause(*kind);
        let (recorder, log) = (Recorder::new("r"), Log::start());
        let builder = configure(Proxy::builder().filter(recorder.clone()).upstream("upstream", upstream));
        let mut proxy = TestProxy::new(builder.route(route).build().expect("the route names the upstream"));
        if let Some(name) = server_name {
            let mut tls = TlsInfo::default();
            tls.server_name = Some(name.into());
            proxy = proxy.over_tls(tls);
        }
        let mut client = proxy.connect();
        // A head that is refused may be longer than what the proxy reads of it.
        let _ = client.try_send(sent).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut status = None;
        match then {
            Then::Leaves => assert_eq!(client.leave().await, 1),
            Then::Stays => client.stop_server().await,
            Then::Stalls => assert_eq!(recorder.outcome().await.error, Some(*kind)),
            Then::HalfCloses | Then::Reads => {
                if then == Then::HalfCloses {
                    client.half_close().await;
                }
                status = client.try_read_response().await.map(|response| response.status());
            }
        }
        let outcome = recorder.outcome().await;
        assert_eq!((outcome.error, recorder.outcomes().len()), (Some(*kind), 1));
        if let Some(status) = status {
            assert_eq!((status, log.codes()), (kind.status().as_u16(), vec![kind.code().to_owned()]), "{kind:?}");
        }
    }
}
