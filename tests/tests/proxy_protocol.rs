//! PROXY headers through real sockets: in front of HTTP, of raw connections and of TLS, and on to backends.

use std::io::ErrorKind::ConnectionReset;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{
    Address, Backend, Cidr, Cluster, Context, ErrorKind, Listener, Observer, Peer, PoolEvent, Proxy, ProxyHeaderSender,
    ProxyProtocol, Request, Response, Route, TcpListener, TcpProxy, TcpRoute, Upstream, selector_fn, serve, serve_tcp,
};
use tests::{Dialer, GET, listen, ok};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.7 5000 443\r\n";
const SECOND: Duration = Duration::from_secs(1);

/// A header of version 2 for the same connection.
fn v2() -> Vec<u8> {
    let mut peer = Peer::new("192.0.2.7:5000".parse().unwrap());
    peer.local = Some("198.51.100.7:443".parse().unwrap());
    ProxyHeaderSender::v2().checksum(true).unique_id(true).header(&peer).to_vec()
}

fn everybody() -> [Cidr; 2] {
    ["0.0.0.0/0", "::/0"].map(|range| range.parse().unwrap())
}

/// Answers with who it takes the client for.
struct Who;

#[async_trait]
impl Upstream for Who {
    async fn send(&self, _: Request, context: &mut Context) -> proxy_core::Result<Response> {
        let peer = context.peer();
        let id = peer.proxy_header.as_ref().map(|header| header.unique_id().is_some());
        let text = format!("{:?} {:?} {id:?}", peer.address, peer.local);
        Ok(Response::text(http::StatusCode::OK, text))
    }
}

#[derive(Clone)]
struct Failures(mpsc::UnboundedSender<&'static str>);

impl Observer for Failures {
    fn on_connection_failed(&self, _: &Peer, kind: ErrorKind) {
        let _ = self.0.send(kind.code());
    }

    fn on_connection_opened(&self, _: &Peer) {
        let _ = self.0.send("opened");
    }
}

/// In memory, in paused time.
struct Front {
    dialer: Dialer,
    told: mpsc::UnboundedReceiver<&'static str>,
}

fn front(protocol: ProxyProtocol) -> Front {
    let ((dialer, listener), (send, told)) = (listen(), mpsc::unbounded_channel());
    let proxy = Proxy::builder().upstream("who", Who).route(Route::to("who"));
    let proxy = proxy.proxy_protocol(protocol).observer(Failures(send)).build().expect("the route names the upstream");
    tokio::spawn(serve(listener, proxy).into_future());
    Front { dialer, told }
}

impl Front {
    fn connect(&self) -> DuplexStream {
        self.dialer.dial().expect("the server listens")
    }

    /// What the server says to these bytes, sent in these pieces, with a second between them.
    async fn say(&self, pieces: impl IntoIterator<Item = &[u8]>) -> String {
        let mut client = self.connect();
        for piece in pieces {
            // The server may have seen enough.
            let _ = client.write_all(piece).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let _ = client.shutdown().await;
        let mut text = String::new();
        let _ = client.read_to_string(&mut text).await;
        text
    }
}

const NAMED: &str = "Some(192.0.2.7:5000) Some(198.51.100.7:443)";

#[tokio::test(start_paused = true)]
async fn a_header_names_the_client() {
    for protocol in [ProxyProtocol::required(everybody()), ProxyProtocol::optional(everybody())] {
        let mut front = front(protocol.timeout(60 * SECOND));
        let get = format!("{}\r\n", GET.trim_end().to_owned() + "\r\nConnection: close\r\n");
        for header in [V1.as_bytes(), &v2()] {
            let whole = [header, get.as_bytes()].concat();
            let answer = front.say([&whole[..]]).await;
            assert!(answer.contains(NAMED), "{answer}");
            let answer = front.say(whole.chunks(1)).await;
            assert!(answer.contains(NAMED), "byte by byte: {answer}");
            assert_eq!(answer.ends_with("Some(true)"), header != V1.as_bytes(), "{answer}");
        }
        // Nobody in particular: the connection's own addresses stay.
        let answer = front.say(["PROXY UNKNOWN\r\n".as_bytes(), get.as_bytes()]).await;
        assert!(answer.contains("Some(192.0.2.1:50000)"), "{answer}");
        for _ in 0..5 {
            assert_eq!(front.told.recv().await, Some("opened"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_header_is_closed_unheard() {
    let mut front = front(ProxyProtocol::required(everybody()));
    let mut check = async |pieces: &[&[u8]], code| {
        assert_eq!(front.say(pieces.iter().copied()).await, "", "{pieces:?}");
        assert_eq!(front.told.recv().await, Some(code), "{pieces:?}");
    };
    check(&[GET.as_bytes()], "proxy_header_missing").await;
    check(&[], "proxy_header_missing").await;
    check(&[b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n", GET.as_bytes()], "bad_proxy_header").await;
    check(&[b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04abcd", GET.as_bytes()], "bad_proxy_header").await;
    check(&[&V1.as_bytes()[..10]], "client_gone").await;
    let mut broken = v2();
    broken[20] ^= 1;
    check(&[&broken, GET.as_bytes()], "bad_proxy_header").await;
    // And then nothing more comes.
    let mut slow = front.connect();
    slow.write_all(&V1.as_bytes()[..10]).await.unwrap();
    let started = tokio::time::Instant::now();
    assert_eq!(slow.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(started.elapsed().as_secs(), 5);
    assert_eq!(front.told.recv().await, Some("proxy_header_timeout"));
}

#[tokio::test(start_paused = true)]
async fn where_it_is_optional_other_streams_are_served() {
    let front = front(ProxyProtocol::optional(everybody()).timeout(SECOND));
    let get = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let answer = front.say([get.as_bytes()]).await;
    assert!(answer.contains("Some(192.0.2.1:50000)"), "{answer}");
    // Nearly a header, and in pieces.
    let patch = get.replace("GET", "PROPFIND");
    let answer = front.say(patch.as_bytes().chunks(1)).await;
    assert!(answer.contains("Some(192.0.2.1:50000)"), "{answer}");
    // One that is silent first.
    let mut late = front.connect();
    tokio::time::sleep(2 * SECOND).await;
    late.write_all(get.as_bytes()).await.unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("Some(192.0.2.1:50000)"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_header_is_believed_from_trusted_networks_only() {
    let elsewhere: Cidr = "203.0.113.0/24".parse().unwrap();
    let mut strict = front(ProxyProtocol::required([elsewhere]));
    assert_eq!(strict.say([V1.as_bytes(), GET.as_bytes()]).await, "");
    assert_eq!(strict.told.recv().await, Some("proxy_header_untrusted"));
    // Here it is a malformed request.
    let lenient = front(ProxyProtocol::optional([elsewhere]));
    let answer = lenient.say([V1.as_bytes(), GET.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

/// Waits for its clients, and hands out what each of them sent.
async fn origin() -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (send, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            let _ = stream.write_all(b"bye").await;
            let _ = send.send(bytes);
        }
    });
    (address, received)
}

fn first(backend: Backend) -> proxy_core::ClusterBuilder<impl proxy_core::Selector> {
    Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned())).with(backend)
}

/// Over sockets: nothing behind the header is taken with it, whatever its pieces, and what follows can be spliced.
#[tokio::test]
async fn a_raw_connection_is_passed_on_from_behind_its_header() {
    let (address, mut received) = origin().await;
    let cluster = first(Backend::new(address.into())).proxy_protocol(ProxyHeaderSender::v1()).build();
    let proxy = TcpProxy::builder().upstream("origin", cluster).route(TcpRoute::to("origin"));
    let proxy = proxy.proxy_protocol(ProxyProtocol::required(everybody())).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let front = listener.local_addr().unwrap();
    tokio::spawn(serve_tcp(listener, proxy).into_future());
    let whole = [V1.as_bytes(), &[b'x'; 3000]].concat();
    let from_v2 = [v2(), vec![b'x'; 3000]].concat();
    for (bytes, piece) in [(&whole, 4000), (&whole, 30), (&whole, 1), (&from_v2, 4000), (&from_v2, 7)] {
        let mut client = TcpStream::connect(front).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (early, late) = bytes.split_at(100);
        for part in early.chunks(piece) {
            client.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.write_all(late).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"bye");
        assert!(received.recv().await.unwrap() == whole, "in pieces of {piece}");
    }
    // A bad one reaches no backend.
    let mut client = TcpStream::connect(front).await.unwrap();
    client.write_all(b"PROXY TCP4 x\r\nxxxx").await.unwrap();
    match client.read(&mut [0]).await {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ConnectionReset),
    }
    assert!(received.try_recv().is_err());
}

#[derive(Default)]
struct Connects(std::sync::atomic::AtomicUsize);

impl Observer for Connects {
    fn on_pool(&self, _: &Backend, event: PoolEvent) {
        if let PoolEvent::Opened(_) = event {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// A connection that names one client is used for no other request.
#[tokio::test(start_paused = true)]
async fn a_connection_that_names_a_client_is_never_shared() {
    for (introduced, expected) in [(false, 1), (true, 3)] {
        let origin = ScriptedConnector::always(Script::new().read_request().answer(ok("ok")).repeat());
        let connects = Arc::new(Connects::default());
        let pool =
            proxy_core::SharedPool::builder().connector(Arc::new(origin.clone())).observer(connects.clone()).build();
        let cluster = first(Backend::new(Address::Name("origin".into(), 80)));
        let cluster = if introduced { cluster.proxy_protocol(ProxyHeaderSender::v1()) } else { cluster };
        let (dialer, listener) = listen();
        tokio::spawn(serve(listener, Proxy::over(cluster.build_with(pool))).into_future());
        let mut client = dialer.dial().unwrap();
        for _ in 0..3 {
            client.write_all(GET.as_bytes()).await.unwrap();
            let mut answer = vec![0; ok("ok").len()];
            client.read_exact(&mut answer).await.unwrap();
        }
        assert_eq!(connects.0.load(std::sync::atomic::Ordering::Relaxed), expected);
        if introduced {
            // In memory there is no address that the client connected to.
            assert!(origin.received(0).starts_with("PROXY UNKNOWN\r\nGET / "), "{}", origin.received(0));
        }
    }
}
