//! Raw TLS connections go where their ClientHello says, byte for byte and without a key: hellos made by hand, and those
//! of a real client where `openssl` is there.

use std::io::ErrorKind::ConnectionReset;
use std::net::SocketAddr;
use std::time::Duration;

use proxy_core::{
    Backend, Cluster, Context, Filter, Listener, Outcome, TcpListener, TcpProxy, TcpProxyBuilder, TcpRoute,
    TcpSettings, serve_tcp,
};
use proxy_lb::RoundRobin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A ClientHello of TLS 1.2 in one record, with this server name and these protocols.
fn hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    let vector16 = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &vector16(body)].concat();
    let mut extensions = Vec::new();
    if !name.is_empty() {
        extensions.extend(extension(0, &vector16(&[&[0][..], &vector16(name.as_bytes())].concat())));
    }
    if !protocols.is_empty() {
        let list: Vec<u8> = protocols.iter().flat_map(|it| [&[it.len() as u8][..], it.as_bytes()].concat()).collect();
        extensions.extend(extension(16, &vector16(&list)));
    }
    let body = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0x13, 1, 1, 0], &vector16(&extensions)].concat();
    let message = [&[1, 0][..], &vector16(&body)].concat();
    [&[22, 3, 1][..], &vector16(&message)].concat()
}

/// Says its name, and then everything it is sent.
async fn origin(name: &'static str) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(name.as_bytes()).await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address
}

struct Ends(mpsc::UnboundedSender<&'static str>);

impl Filter for Ends {
    fn on_done(&self, outcome: &Outcome, context: &Context) {
        assert!(context.request().is_none());
        let _ = self.0.send(outcome.error.map_or("ok", |kind| kind.code()));
    }
}

async fn front(
    configure: impl FnOnce(TcpProxyBuilder) -> TcpProxyBuilder,
) -> (SocketAddr, mpsc::UnboundedReceiver<&'static str>) {
    let (send, ended) = mpsc::unbounded_channel();
    let mut builder = TcpProxy::builder().filter(Ends(send));
    for name in ["web", "api", "h2", "rest"] {
        let cluster = Cluster::builder(RoundRobin::new()).with(Backend::new(origin(name).await.into())).build();
        builder = builder.upstream(name, cluster);
    }
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_tcp(listener, configure(builder).build().unwrap()).into_future());
    (address, ended)
}

fn by_name(builder: TcpProxyBuilder) -> TcpProxyBuilder {
    builder
        .route(TcpRoute::to("web").server_name("*.example.com").unwrap())
        .route(TcpRoute::to("api").server_name("api.example.com").unwrap())
        .route(TcpRoute::to("h2").server_name("api.example.com").unwrap().alpn("h2"))
        .settings(TcpSettings { hello: Duration::from_millis(200), ..TcpSettings::default() })
}

/// Everything that comes back for these bytes, sent in pieces of this size; `None` for a reset.
async fn say(address: SocketAddr, bytes: &[u8], piece: usize) -> Option<Vec<u8>> {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.set_nodelay(true).unwrap();
    for part in bytes.chunks(piece) {
        client.write_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    match client.read_to_end(&mut answer).await {
        Ok(_) => Some(answer),
        Err(error) => {
            assert_eq!(error.kind(), ConnectionReset);
            None
        }
    }
}

#[tokio::test]
async fn a_hello_goes_where_it_says_byte_for_byte() {
    let (address, mut ended) = front(by_name).await;
    let cases: [(&str, &[&str], &str); 4] = [
        ("www.example.com", &[], "web"),
        ("api.example.com", &["http/1.1"], "api"),
        ("api.example.com", &["http/1.1", "h2"], "h2"),
        ("API.EXAMPLE.COM.", &[], "api"),
    ];
    for (name, protocols, upstream) in cases {
        let bytes = [hello(name, protocols), vec![b'x'; 100_000]].concat();
        for piece in [bytes.len(), 50, 1] {
            let bytes = if piece < 50 { &bytes[..400] } else { &bytes[..] };
            let answer = say(address, bytes, piece).await.expect("no reset");
            assert!(answer == [upstream.as_bytes(), bytes].concat(), "{name} in pieces of {piece}");
            assert_eq!(ended.recv().await, Some("ok"));
        }
    }
}

#[tokio::test]
async fn what_no_route_takes_is_reset_and_told() {
    let (address, mut ended) = front(by_name).await;
    let mut check = async |bytes: &[u8], code| {
        assert_eq!(say(address, bytes, bytes.len().max(1)).await, None, "{code}");
        assert_eq!(ended.recv().await, Some(code));
    };
    check(&hello("elsewhere.example", &[]), "no_route").await;
    check(&hello("", &[]), "no_route").await;
    check(b"GET / HTTP/1.1\r\n\r\n", "not_tls").await;
    check(&[22, 3, 1, 0, 0], "bad_client_hello").await;
    check(&hello("a b", &[]), "bad_client_hello").await;
    check(&hello("www.example.com", &[])[..30], "client_gone").await;
    // One that stops in the middle has until the deadline.
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(&hello("www.example.com", &[])[..30]).await.unwrap();
    assert_eq!(slow.read_u8().await.unwrap_err().kind(), ConnectionReset);
    assert_eq!(ended.recv().await, Some("client_hello_timeout"));
}

#[tokio::test]
async fn a_route_without_conditions_takes_the_rest() {
    let (address, _) = front(|builder| by_name(builder).route(TcpRoute::to("rest"))).await;
    for bytes in [&hello("elsewhere.example", &[])[..], &hello("", &["h2"]), b"SSH-2.0-x\r\n"] {
        let answer = say(address, bytes, 7).await.expect("no reset");
        assert_eq!(answer, [b"rest", bytes].concat());
    }
    // A hello that is broken is nobody's.
    assert_eq!(say(address, &[22, 3, 1, 0, 0], 5).await, None);
}

/// Without conditions nothing is waited for: the server may speak first.
#[tokio::test]
async fn a_server_may_speak_first() {
    let (address, _) = front(|builder| builder.route(TcpRoute::to("rest"))).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let mut greeting = [0; 4];
    client.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"rest");
}

/// A real client's hellos, with all it has to say by default.
#[tokio::test]
async fn hellos_of_openssl_are_understood() {
    let found = std::process::Command::new("openssl").arg("version").output().is_ok();
    assert!(found || std::env::var_os("PROXY_REQUIRE_PEERS").is_none(), "not installed: openssl");
    if !found {
        eprintln!("skipped: openssl not installed");
        return;
    }
    let (address, _) = front(by_name).await;
    for (arguments, upstream) in [
        (&["-servername", "www.example.com"][..], "web"),
        (&["-servername", "api.example.com", "-tls1_2"], "api"),
        (&["-servername", "api.example.com", "-alpn", "http/1.1,h2"], "h2"),
    ] {
        let connect = ["s_client", "-debug", "-connect", &address.to_string()].map(str::to_owned);
        let client = tokio::process::Command::new("openssl")
            .args(connect)
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .unwrap();
        // What it is answered is no TLS; but it is the name of the upstream.
        let told = String::from_utf8_lossy(&client.stdout).to_lowercase();
        let spelled: Vec<_> = upstream.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(told.contains(&spelled.join(" ")), "{arguments:?}: {told}");
    }
}
