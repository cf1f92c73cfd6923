//! Raw connections, PROXY headers and who may connect, from the configuration on, through real sockets.

use std::net::SocketAddr;

use proxy_config::{Config, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// Says its name, and sends everything back.
async fn echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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

fn parse(config: &str) -> Config {
    config.parse().unwrap_or_else(|errors| panic!("{errors}"))
}

fn start(config: &str) -> Server {
    Server::start(&parse(config)).unwrap_or_else(|error| panic!("{error}"))
}

fn address(server: &Server, listener: &str) -> SocketAddr {
    server.addresses().into_iter().find(|(name, _)| name == listener).expect("a listener of this name").1
}

/// Everything that comes back for this; `None` where the connection was refused or reset.
async fn say(address: SocketAddr, text: &[u8]) -> Option<String> {
    let mut client = TcpStream::connect(address).await.unwrap();
    let mut answer = String::new();
    client.write_all(text).await.ok()?;
    client.shutdown().await.ok()?;
    client.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[tokio::test]
async fn connections_are_relayed_with_and_without_splice() {
    let (a, b) = (echo("a").await, echo("b").await);
    for splice in [true, false] {
        let server = start(&format!(
            r#"{{ "listeners": {{ "db": {{ "listen": ["127.0.0.1:0"], "tcp": {{ "upstream": "db", "splice": {splice} }} }} }},
                "upstreams": {{ "db": {{ "selector": "round_robin", "backends": ["{a}", "{b}"] }} }} }}"#
        ));
        let front = address(&server, "db");
        let mut answers = [say(front, b"hello").await, say(front, b"hello").await];
        answers.sort();
        assert_eq!(answers, [Some("ahello".to_owned()), Some("bhello".to_owned())]);
        server.drain().await;
    }
}

/// The header is read, and one with the same client goes to the backend.
#[tokio::test]
async fn proxy_headers_come_in_and_go_out() {
    let a = echo("").await;
    let server = start(&format!(
        r#"{{ "listeners": {{
                "strict": {{ "listen": ["127.0.0.1:0"], "proxy_protocol": {{ "trusted": ["127.0.0.0/8"] }}, "tcp": {{ "upstream": "a" }} }},
                "foreign": {{ "listen": ["127.0.0.1:0"], "proxy_protocol": {{ "trusted": ["10.0.0.0/8"] }}, "tcp": {{ "upstream": "a" }} }},
                "mixed": {{ "listen": ["127.0.0.1:0"], "proxy_protocol": {{ "required": false, "trusted": ["127.0.0.1"] }},
                            "tcp": {{ "upstream": "a" }} }} }},
            "upstreams": {{ "a": {{ "backends": ["{a}"], "proxy_protocol": "v1" }} }} }}"#
    ));
    let header = "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n";
    let with_header = format!("{header}hello");
    assert_eq!(say(address(&server, "strict"), with_header.as_bytes()).await.as_deref(), Some(&*with_header));
    assert_eq!(say(address(&server, "mixed"), with_header.as_bytes()).await.as_deref(), Some(&*with_header));
    let own = say(address(&server, "mixed"), b"hello").await.unwrap();
    assert!(own.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 ") && own.ends_with("\r\nhello"), "{own}");
    for (listener, text) in [("strict", "hello"), ("foreign", &with_header)] {
        let answer = say(address(&server, listener), text.as_bytes()).await.unwrap_or_default();
        assert_eq!(answer, "", "{listener}");
    }
    server.drain().await;
}

#[tokio::test]
async fn networks_are_allowed_or_not() {
    let a = echo("a").await;
    let server = start(&format!(
        r#"{{ "listeners": {{
                "open": {{ "listen": ["127.0.0.1:0"], "allow": ["127.0.0.0/8"], "tcp": {{ "upstream": "a" }} }},
                "closed": {{ "listen": ["127.0.0.1:0"], "allow": ["127.0.0.0/8"], "deny": ["127.0.0.1"], "tcp": {{ "upstream": "a" }} }},
                "web": {{ "listen": ["127.0.0.1:0"], "allow": ["10.0.0.0/8"], "http": {{ "upstream": "a" }} }} }},
            "upstreams": {{ "a": {{ "backends": ["{a}"] }} }} }}"#
    ));
    assert_eq!(say(address(&server, "open"), b"x").await.as_deref(), Some("ax"));
    for listener in ["closed", "web"] {
        assert_eq!(say(address(&server, listener), b"GET / HTTP/1.1\r\n\r\n").await.unwrap_or_default(), "");
    }
    server.drain().await;
}

#[tokio::test]
async fn server_names_choose_the_upstream() {
    let (a, rest) = (echo("a").await, echo("rest").await);
    let server = start(&format!(
        r#"{{ "listeners": {{ "tls": {{ "listen": ["127.0.0.1:0"], "tcp": {{
                "sni": [{{ "name": ["x.example", "*.example.x"], "alpn": ["h2"], "upstream": "rest" }},
                        {{ "name": "*.example.x", "upstream": "a" }}],
                "upstream": "rest" }} }} }},
            "upstreams": {{ "a": {{ "backends": ["{a}"] }}, "rest": {{ "backends": ["{rest}"] }} }} }}"#
    ));
    // A ClientHello for a.example.x, all ASCII.
    let hello = "\x16\x03\x01\x00\x43\x01\x00\x00\x3f\x03\x03RANDOMRANDOMRANDOMRANDOMRANDOMRA\0\0\x02\x13\x01\x01\0\
                 \0\x14\0\0\0\x10\0\x0e\0\0\x0ba.example.x";
    let front = address(&server, "tls");
    assert_eq!(say(front, hello.as_bytes()).await, Some(format!("a{hello}")));
    assert_eq!(say(front, b"plain").await.as_deref(), Some("restplain"));
    server.drain().await;
}

/// A reload gives new connections new backends, and leaves the others where they are.
#[tokio::test]
async fn a_reload_leaves_open_connections_alone() {
    let (a, b) = (echo("a").await, echo("b").await);
    let config = |upstream: &str| {
        parse(&format!(
            r#"{{ "listeners": {{ "db": {{ "listen": ["127.0.0.1:0"], "tcp": {{ "upstream": "{upstream}" }} }} }},
                "upstreams": {{ "a": {{ "backends": ["{a}"] }}, "b": {{ "backends": ["{b}"] }} }} }}"#
        ))
    };
    let server = Server::start(&config("a")).unwrap();
    let front = address(&server, "db");
    let mut old = TcpStream::connect(front).await.unwrap();
    assert_eq!(old.read_u8().await.unwrap(), b'a');
    let diff = server.reload(config("b")).await.unwrap();
    assert_eq!(diff.to_string(), "changed listeners.db.tcp");
    assert_eq!(address(&server, "db"), front);
    assert_eq!(say(front, b"x").await.as_deref(), Some("bx"));
    old.write_all(b"still").await.unwrap();
    let mut still = [0; 5];
    old.read_exact(&mut still).await.unwrap();
    assert_eq!(&still, b"still");
    drop(old);
    server.drain().await;
}

/// Says its name for each datagram.
async fn datagrams(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 16]).await {
            socket.send_to(name.as_bytes(), from).await.unwrap();
        }
    });
    address
}

async fn ask(client: &UdpSocket, server: SocketAddr) -> String {
    client.send_to(b"?", server).await.unwrap();
    let mut room = [0; 16];
    let (count, _) = client.recv_from(&mut room).await.unwrap();
    String::from_utf8_lossy(&room[..count]).into_owned()
}

/// Checks find the backend that answers; a reload gives new clients others, and keeps the socket.
#[tokio::test]
async fn datagrams_are_relayed() {
    let (a, b) = (datagrams("a").await, datagrams("b").await);
    let config = |upstream: &str| {
        parse(&format!(
            r#"{{ "listeners": {{ "dns": {{ "listen": ["127.0.0.1:0"], "udp": {{ "upstream": "{upstream}", "requests": 1 }} }} }},
                "upstreams": {{
                    "a": {{ "backends": ["{a}", "{b}"],
                            "health_check": {{ "udp": {{ "send": "?", "receive": "0x61" }}, "interval": "10ms", "fall": 1, "rise": 1 }} }},
                    "b": {{ "backends": ["{b}"] }} }} }}"#
        ))
    };
    let server = Server::start(&config("a")).unwrap();
    let (front, client) = (address(&server, "dns"), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let set = server.backends().into_iter().find(|(name, _)| name == "a").unwrap().1;
    let mut changes = set.changes();
    while set.backends()[1].is_usable() {
        changes.changed().await;
    }
    for _ in 0..4 {
        assert_eq!(ask(&client, front).await, "a");
    }
    let diff = server.reload(config("b")).await.unwrap();
    assert_eq!(diff.to_string(), "changed listeners.dns.udp");
    assert_eq!(address(&server, "dns"), front);
    assert_eq!(ask(&client, front).await, "b");
}
