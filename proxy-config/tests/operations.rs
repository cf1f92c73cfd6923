//! Metrics, the access log and the administration interface of a running server, through real sockets.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proxy_config::{Config, Server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use tokio::sync::Notify;

/// An origin that answers everything with 200; `/slow` when it is told to.
struct Origin {
    address: SocketAddr,
    asked: Arc<Notify>,
    go: Arc<Notify>,
}

impl Origin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (told, gate) = (Arc::clone(&asked), Arc::clone(&go));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&told), Arc::clone(&gate)));
            }
        });
        Origin { address, asked, go }
    }
}

async fn answer(mut stream: TcpStream, asked: Arc<Notify>, go: Arc<Notify>) -> io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        if head.starts_with(b"GET /slow") {
            asked.notify_one();
            go.notified().await;
        }
        let status = if head.starts_with(b"GET /503") { "503 Service Unavailable" } else { "200 OK" };
        stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok").as_bytes()).await?;
    }
}

/// A folder of its own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("operations-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(text: &str) -> Config {
    text.parse().unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// One listener before one upstream, `api`, and these keys beside them.
fn with(origin: &Origin, keys: &str) -> Config {
    config(&format!(
        r#"{{ {keys} "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api" }} }} }},
             "upstreams": {{ "api": {{ "backends": ["{}"] }} }} }}"#,
        origin.address
    ))
}

const ADMIN: &str = r#""admin": { "listen": "127.0.0.1:0" },"#;

/// The status and the body.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, fields: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head[9..12].parse().unwrap(), body.to_owned())
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    exchange(TcpStream::connect(address).await.unwrap(), path, "").await
}

fn web(server: &Server) -> SocketAddr {
    server.addresses()[0].1
}

/// The value of the series whose line begins so, 0 without it.
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}

/// Requests that ended, once so many have.
async fn requests(server: &Server, expected: f64) -> String {
    let address = server.admin_address().unwrap();
    loop {
        let (status, metrics) = get(address, "/metrics").await;
        assert_eq!(status, 200);
        let series = r#"proxy_requests_total{listener="web",route="api",upstream="api",status="2xx"}"#;
        let seen = value(&metrics, series);
        assert!(seen <= expected, "{seen} > {expected}");
        if seen == expected {
            return metrics;
        }
    }
}

#[tokio::test]
async fn counts_and_the_interface_go_on_over_reloads() {
    let origin = Origin::start().await;
    let server = Server::start(&with(&origin, ADMIN)).unwrap();
    let (front, admin) = (web(&server), server.admin_address().unwrap());
    assert_eq!(get(admin, "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(admin, "/readyz").await, (200, "ready\n".to_owned()));
    get(front, "/").await;
    let metrics = requests(&server, 1.0).await;
    let backend =
        format!(r#"proxy_backend_attempts_total{{upstream="api",backend="{}",result="2xx"}}"#, origin.address);
    assert_eq!(value(&metrics, &backend), 1.0);
    assert_eq!(value(&metrics, r#"proxy_pool_connections_opened_total{upstream="api"}"#), 1.0);

    // Another proxy, and another cluster over the same pool.
    server.reload(with(&origin, &format!(r#"{ADMIN} "local_zone": "a","#))).await.unwrap();
    get(front, "/").await;
    let metrics = requests(&server, 2.0).await;
    assert_eq!(value(&metrics, &backend), 2.0);
    assert_eq!(value(&metrics, r#"proxy_pool_connections_opened_total{upstream="api"}"#), 1.0);
    assert_eq!(value(&metrics, r#"proxy_config_reloads_total{result="applied"}"#), 1.0);
    assert_eq!(server.admin_address(), Some(admin));

    server.reload_file("/nowhere").await.unwrap_err();
    assert_eq!(value(&get(admin, "/metrics").await.1, r#"proxy_config_reloads_total{result="refused"}"#), 1.0);

    // Without `admin` nothing is counted, and nobody listens.
    server.reload(with(&origin, "")).await.unwrap();
    assert!(server.metrics().is_none() && server.admin_address().is_none());
    get(front, "/").await;
    // With it again, what was counted is there still, and what follows is added.
    server.reload(with(&origin, ADMIN)).await.unwrap();
    get(front, "/").await;
    requests(&server, 3.0).await;
    server.drain().await;
}

#[tokio::test]
async fn series_of_routes_that_are_gone_go() {
    let origin = Origin::start().await;
    let routes = |target: &str| {
        config(&format!(
            r#"{{ {ADMIN} "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "routes": [
                {{ "match": {{ "path": "/b" }}, {target} }}, {{ "match": {{ "path": "/a" }}, "upstream": "a" }} ] }} }} }},
                "upstreams": {{ "a": {{ "backends": ["{0}"] }}, "b": {{ "backends": ["{0}"] }} }} }}"#,
            origin.address
        ))
    };
    let server = Server::start(&routes(r#""upstream": "b""#)).unwrap();
    let admin = server.admin_address().unwrap();
    let ask = async || {
        for path in ["/a", "/b", "/nowhere"] {
            get(web(&server), path).await;
        }
    };
    let series = async || {
        let all = get(admin, "/metrics").await.1;
        let lines = all.lines().filter_map(|line| line.strip_prefix(r#"proxy_requests_total{listener="web",route=""#));
        lines.filter_map(|line| line.split_once('"')).map(|(route, _)| route.to_owned()).collect::<BTreeSet<_>>()
    };
    ask().await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(series().await, names(&["a", "b", "none"]));
    server.reload(routes(r#""split": { "a": 1, "b": 0 }"#)).await.unwrap();
    assert_eq!(series().await, names(&["a", "none"]));
    ask().await;
    server.reload(routes(r#""split": { "a": 1, "b": 0 }, "filters": ["request_id"]"#)).await.unwrap();
    assert_eq!(series().await, names(&["a", "a+b", "none"]));
    server.drain().await;
}

#[tokio::test]
async fn readiness_ends_before_what_runs() {
    let origin = Origin::start().await;
    let server = Arc::new(Server::start(&with(&origin, ADMIN)).unwrap());
    let admin = server.admin_address().unwrap();
    let slow = tokio::spawn(get(web(&server), "/slow"));
    origin.asked.notified().await;
    let drained = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.drain().await }
    });
    while get(admin, "/readyz").await != (503, "draining\n".to_owned()) {
        assert!(!drained.is_finished());
    }
    assert_eq!(get(admin, "/healthz").await.0, 200);
    origin.go.notify_one();
    assert_eq!(slow.await.unwrap(), (200, "ok".to_owned()));
    drained.await.unwrap();
    while TcpStream::connect(admin).await.is_ok() {}
}

#[tokio::test]
async fn tokens_and_sockets_change_at_once() {
    let (origin, folder) = (Origin::start().await, Folder::new());
    let socket = folder.file("admin.sock");
    let admin =
        |token: &str| format!(r#""admin": {{ "listen": "0.0.0.0:0", "unix": {socket:?}, "token": "{token}" }},"#);
    let server = Server::start(&with(&origin, &admin("the first of the tokens"))).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], server.admin_address().unwrap().port()));
    let status = async |path: &str, token: &str| {
        let fields = format!("Authorization: Bearer {token}\r\n");
        exchange(TcpStream::connect(address).await.unwrap(), path, &fields).await.0
    };
    assert_eq!(status("/metrics", "the first of the tokens").await, 200);
    assert_eq!(status("/metrics", "the second of the tokens").await, 401);
    assert_eq!(get(address, "/metrics").await.0, 401);
    assert_eq!(get(address, "/readyz").await.0, 200);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(exchange(UnixStream::connect(&socket).await.unwrap(), "/metrics", "").await.0, 200);

    server.reload(with(&origin, &admin("the second of the tokens"))).await.unwrap();
    assert_eq!(status("/metrics", "the first of the tokens").await, 401);
    assert_eq!(status("/metrics", "the second of the tokens").await, 200);
    assert_eq!(exchange(UnixStream::connect(&socket).await.unwrap(), "/metrics", "").await.0, 200);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = format!(r#""admin": {{ "listen": "{}" }},"#, taken.local_addr().unwrap());
    let error = server.reload(with(&origin, &elsewhere)).await.unwrap_err();
    assert!(error.to_string().starts_with("admin.listen: cannot listen on 127.0.0.1:"), "{error}");
    assert_eq!(status("/metrics", "the second of the tokens").await, 200);
    server.reload(with(&origin, ADMIN)).await.unwrap();
    assert_eq!(get(server.admin_address().unwrap(), "/metrics").await.0, 200);
    while socket.exists() || TcpStream::connect(address).await.is_ok() {}
    server.drain().await;
}

#[tokio::test]
async fn the_access_log_outlives_reloads_and_is_opened_anew_when_told() {
    let (origin, folder) = (Origin::start().await, Folder::new());
    let (file, old) = (folder.file("access.log"), folder.file("access.log.1"));
    let log = format!(
        r#""access_log": {{ "format": {{ "template": "$method $target $status $reason" }}, "path": {file:?},
            "sampling": "0%", "conditions": {{ "status": [200], "except_paths": ["/healthz", "/static/*"] }} }},"#
    );
    let server = Server::start(&with(&origin, &log)).unwrap();
    assert!(server.metrics().is_none(), "a log needs none");
    for path in ["/1", "/healthz?x", "/static/x", "/healthz2", "/static/503"] {
        get(web(&server), path).await;
    }
    server.reload(with(&origin, &format!(r#"{log} "local_zone": "a","#))).await.unwrap();
    get(web(&server), "/503").await;
    let first = "GET /1 200 ok\nGET /healthz2 200 ok\nGET /503 503 ok\n";
    let read = async |path: &PathBuf, lines: &str| {
        while tokio::fs::read_to_string(path).await.unwrap_or_default() != lines {
            tokio::task::yield_now().await;
        }
    };
    read(&file, first).await;
    std::fs::rename(&file, &old).unwrap();
    server.reopen_logs();
    while !file.exists() {
        tokio::task::yield_now().await;
    }
    get(web(&server), "/2").await;
    // Another format goes to the same file.
    let other = format!(r#""access_log": {{ "format": "combined", "path": {file:?} }},"#);
    server.reload(with(&origin, &other)).await.unwrap();
    get(web(&server), "/3").await;
    server.drain().await;
    let last = std::fs::read_to_string(&file).unwrap();
    assert!(last.contains("\"GET /3 HTTP/1.1\" 200 "), "{last}");
    // The log before it ends in its own time.
    while !std::fs::read_to_string(&file).unwrap().contains("GET /2 200 ok\n") {
        tokio::task::yield_now().await;
    }
    assert_eq!(std::fs::read_to_string(&old).unwrap(), first);
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_is_refused() {
    let origin = Origin::start().await;
    let keys = r#""access_log": { "path": "/nowhere/access.log" },"#;
    let error = Server::start(&with(&origin, keys)).unwrap_err();
    assert!(error.to_string().starts_with("access_log.path: "), "{error}");
}

#[tokio::test]
async fn the_interface_shows_checks_and_reloads_the_configuration() {
    let (origin, folder) = (Origin::start().await, Folder::new());
    let file = folder.file("lb.json");
    let text = |keys: &str| {
        format!(
            r#"{{ {keys} "admin": {{ "listen": "127.0.0.1:0", "token": "nobody should read this" }},
                 "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api" }} }} }},
                 "upstreams": {{ "api": {{ "backends": ["{}"] }} }} }}"#,
            origin.address
        )
    };
    std::fs::write(&file, text("")).unwrap();
    let server = Server::start(&Config::load(&file).unwrap()).unwrap();
    let address = server.admin_address().unwrap();
    let ask = async |method: &str, path: &str, body: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} /api/v1/config{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\
             Content-Type: application/json\r\nAuthorization: Bearer nobody should read this\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head[9..12].to_owned(), body.to_owned())
    };
    let (status, config) = ask("GET", "", "").await;
    assert!(status == "200" && config.contains(r#""token":"…""#) && !config.contains("nobody"), "{config}");
    let (_, verdict) = ask("POST", "/validate", r#"{ "listeners": {} }"#).await;
    assert_eq!(verdict, "{\"errors\":[\"1:16: listeners: needs at least one entry\"],\"valid\":false}\n");
    let (_, verdict) = ask("POST", "/validate", &text("")).await;
    assert_eq!(verdict, "{\"errors\":[],\"valid\":true}\n");

    std::fs::write(&file, text(r#""local_zone": "a","#)).unwrap();
    let (status, changes) = ask("POST", "/reload", "").await;
    assert_eq!((status.as_str(), changes.as_str()), ("200", "{\"changes\":[\"changed local_zone\"]}\n"));
    std::fs::write(&file, "{").unwrap();
    let (status, problem) = ask("POST", "/reload", "").await;
    assert!(status == "409" && problem.contains("lb.json:1:2: "), "{problem}");
    let (_, history) = ask("GET", "/history", "").await;
    assert!(history.contains("changed local_zone") && history.contains("lb.json:1:2: "), "{history}");
    server.drain().await;
}

/// A server of TCP that sends everything back, and one of UDP.
async fn echoes() -> (SocketAddr, SocketAddr) {
    let (streams, datagrams) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let addresses = (streams.local_addr().unwrap(), datagrams.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = streams.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    tokio::spawn(async move {
        let mut room = [0; 64];
        while let Ok((count, client)) = datagrams.recv_from(&mut room).await {
            datagrams.send_to(&room[..count], client).await.unwrap();
        }
    });
    addresses
}

#[tokio::test]
async fn raw_connections_and_datagrams_are_counted_and_logged() {
    let ((stream, datagram), folder) = (echoes().await, Folder::new());
    let log = folder.file("access.log");
    let server = Server::start(&config(&format!(
        r#"{{ {ADMIN} "access_log": {{ "path": {log:?} }},
             "listeners": {{
                 "db": {{ "listen": ["127.0.0.1:0"], "tcp": {{ "upstream": "db" }} }},
                 "dns": {{ "listen": ["127.0.0.1:0"], "udp": {{ "upstream": "dns", "requests": 1, "responses": 1 }} }} }},
             "upstreams": {{ "db": {{ "backends": ["{stream}"] }}, "dns": {{ "backends": ["{datagram}"] }} }} }}"#
    )))
    .unwrap();
    let address = |name: &str| server.addresses().into_iter().find(|(listener, _)| listener == name).unwrap().1;
    let mut client = TcpStream::connect(address("db")).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    client.read_to_string(&mut String::new()).await.unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"question", address("dns")).await.unwrap();
    client.recv(&mut [0; 64]).await.unwrap();

    let admin = server.admin_address().unwrap();
    let metrics = loop {
        let metrics = get(admin, "/metrics").await.1;
        let ended = |labels: &str| value(&metrics, &format!("proxy_sessions_total{{{labels}}}")) == 1.0;
        if ended(r#"listener="db",upstream="db""#) && ended(r#"listener="dns",upstream="dns""#) {
            break metrics;
        }
        tokio::task::yield_now().await;
    };
    for (series, expected) in [
        (r#"proxy_session_received_bytes_total{listener="db",upstream="db"}"#, 5.0),
        (r#"proxy_session_sent_bytes_total{listener="db",upstream="db"}"#, 5.0),
        (r#"proxy_session_duration_seconds_count{listener="db",upstream="db"}"#, 1.0),
        (r#"proxy_session_connect_seconds_count{listener="db",upstream="db"}"#, 1.0),
        (r#"proxy_session_received_bytes_total{listener="dns",upstream="dns"}"#, 8.0),
        (r#"proxy_session_sent_bytes_total{listener="dns",upstream="dns"}"#, 8.0),
        (r#"proxy_connections_total{listener="db"}"#, 1.0),
        (r#"proxy_connections_total{listener="dns"}"#, 1.0),
    ] {
        assert_eq!(value(&metrics, series), expected, "{series} in {metrics}");
    }
    server.drain().await;
    let text = std::fs::read_to_string(&log).unwrap();
    for (listener, bytes) in [("db", 5), ("dns", 8)] {
        let mine = |line: &&str| line.contains(&format!(r#""listener":"{listener}""#));
        let line = text.lines().find(mine).unwrap_or_else(|| panic!("{listener} in {text}"));
        let said = format!(r#""received":{bytes},"sent":{bytes},"#);
        assert!(line.contains(&said) && line.contains(r#""reason":"ok","code":null"#), "{line}");
        assert!(line.contains(&format!(r#""upstream":"{listener}""#)) && line.contains(r#""method":null"#), "{line}");
    }
}

#[tokio::test]
async fn limits_say_what_they_refused_as_long_as_they_are_there() {
    let origin = Origin::start().await;
    let limited = |filters: &str| {
        config(&format!(
            r#"{{ {ADMIN} "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api", "filters": [{filters}] }} }} }},
                 "upstreams": {{ "api": {{ "backends": ["{}"] }} }} }}"#,
            origin.address
        ))
    };
    let limits = r#"{ "rate_limit": { "algorithm": "gcra", "rate": "1/h", "burst": 1, "key": "client_ip" } },
                    { "concurrency_limit": { "max": 5 } }"#;
    let server = Server::start(&limited(limits)).unwrap();
    let (web, admin) = (web(&server), server.admin_address().unwrap());
    assert_eq!([get(web, "/").await.0, get(web, "/").await.0, get(web, "/").await.0], [200, 429, 429]);
    let shown = async || get(admin, "/api/v1/limits").await.1;
    let text = shown().await;
    for part in [
        r#""name":"listeners.web.http.filters[0]""#,
        r#""kind":"rate_limit""#,
        r#""refused":2"#,
        r#""keys":1"#,
        r#""kind":"concurrency_limit""#,
        r#""most":5"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // The same limits, counters and all, and then none.
    server.reload(limited(&format!(r#"{limits}, "request_id""#))).await.unwrap();
    assert!(shown().await.contains(r#""refused":2"#));
    server.reload(limited("")).await.unwrap();
    // The connection that was answered last may still hold what it had.
    while shown().await.trim() != "[]" {
        tokio::task::yield_now().await;
    }
    server.drain().await;
}
