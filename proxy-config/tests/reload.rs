//! From one configuration to the next while requests run, through real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proxy_config::{Config, ReloadError, Server, ServerError};
use proxy_core::{BackendState, HealthSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// An origin that answers its name, on connections that it keeps open.
struct Origin {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Lets an answer to `/slow` go.
    go: Arc<Notify>,
}

impl Origin {
    async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (count, gate) = (Arc::clone(&connections), Arc::clone(&go));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(BufStream::new(stream), name, Arc::clone(&gate)));
            }
        });
        Origin { address, connections, go }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn head(stream: &mut BufStream<TcpStream>) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).to_lowercase())
}

async fn answer(mut stream: BufStream<TcpStream>, name: &str, go: Arc<Notify>) -> std::io::Result<()> {
    loop {
        if head(&mut stream).await?.starts_with("get /slow ") {
            go.notified().await;
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
    }
}

/// A client's connection.
struct Client(BufStream<TcpStream>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Client(BufStream::new(TcpStream::connect(address).await.expect("it listens")))
    }

    async fn ask(&mut self, path: &str) {
        self.0.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The status, and the body.
    async fn read(&mut self) -> (String, String) {
        let head = head(&mut self.0).await.expect("an answer");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        self.0.read_exact(&mut body).await.unwrap();
        (head[9..12].to_owned(), String::from_utf8(body).unwrap())
    }

    /// Who answers; the status if it is not 200.
    async fn get(&mut self, path: &str) -> String {
        self.ask(path).await;
        match self.read().await {
            (status, body) if status == "200" => body,
            (status, _) => status,
        }
    }

    async fn is_closed(&mut self) -> bool {
        let read = tokio::time::timeout(Duration::from_secs(10), self.0.read_u8()).await;
        read.expect("it is closed").is_err()
    }
}

fn config(text: &str) -> Config {
    text.parse().unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

/// One listener, `web`, whose `http` this is, and these upstreams.
fn web(http: &str, upstreams: &str) -> Config {
    config(&format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ {http} }} }} }}, "upstreams": {{ {upstreams} }} }}"#
    ))
}

/// The same before one upstream, `a`.
fn one(upstream: &str) -> Config {
    web(r#""upstream": "a""#, &format!(r#""a": {{ {upstream} }}"#))
}

fn start(config: &Config) -> (Server, SocketAddr) {
    let server = Server::start(config).unwrap();
    let address = server.addresses()[0].1;
    (server, address)
}

async fn reload(server: &Server, config: Config) -> String {
    server.reload(config).await.unwrap().to_string()
}

async fn refused(server: &Server, config: Config) -> ServerError {
    server.reload(config).await.expect_err("it cannot be served")
}

#[tokio::test]
async fn open_connections_see_routes_and_backends_at_their_next_request() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let upstreams = format!(r#""a": {{ "backends": ["{}"] }}, "b": {{ "backends": ["{}"] }}"#, a.address, b.address);
    let (server, address) = start(&web(r#""upstream": "a""#, &upstreams));
    let mut client = Client::connect(address).await;
    assert_eq!(client.get("/").await, "a");
    let diff = reload(&server, web(r#""upstream": "b""#, &upstreams)).await;
    assert_eq!(diff, "changed listeners.web.http.routes");
    assert_eq!(client.get("/").await, "b");
    assert_eq!(server.addresses(), [("web".to_owned(), address)]);

    let upstreams = format!(r#""b": {{ "backends": ["{}"] }}"#, a.address);
    let diff = reload(&server, web(r#""upstream": "b""#, &upstreams)).await;
    let [from, to] = [b.address, a.address].map(|address| format!(r#"upstreams.b.backends["{address}"]"#));
    assert_eq!(diff, format!("removed upstreams.a\nremoved {from}\nadded {to}"));
    assert_eq!(client.get("/").await, "a");
    assert_eq!(reload(&server, web(r#""upstream": "b""#, &upstreams)).await, "");
    server.drain().await;
}

#[tokio::test]
async fn what_did_not_change_keeps_its_backends_and_connections() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let both = format!(r#""backends": ["{}", {{ "address": "{}", "weight": 0 }}]"#, a.address, b.address);
    let (server, address) = start(&one(&format!(r#""backends": ["{}"]"#, a.address)));
    let mut client = Client::connect(address).await;
    assert_eq!(client.get("/").await, "a");
    let kept = server.backends()[0].1.backends();
    // Backends, then settings, then settings of the pool: the last one needs connections of its own.
    for (settings, connections) in [
        (both.clone(), 1),
        (format!(r#"{both}, "selector": "random", "retry": {{ "attempts": 2 }}"#), 1),
        (format!(r#"{both}, "sticky": {{ "cookie": {{ "name": "s", "secret": "0123456789abcdef" }} }}"#), 1),
        (format!(r#"{both}, "pool": {{ "max_idle": 7 }}"#), 2),
    ] {
        reload(&server, one(&settings)).await;
        assert_eq!(client.get("/").await, "a");
        let backends = server.backends()[0].1.backends();
        assert_eq!((&backends[0], a.connections()), (&kept[0], connections), "{settings}");
        assert_eq!((backends.len(), backends[1].weight()), (2, 0));
    }
    assert_eq!(b.connections(), 0);
    server.drain().await;
}

#[tokio::test]
async fn a_new_cluster_keeps_the_verdicts_of_those_who_go_on_to_judge() {
    let backends = r#""backends": ["127.0.0.1:1", "127.0.0.1:2"]"#;
    let checked = r#""health_check": { "tcp": {}, "interval": "1h" }"#;
    let (server, _) = start(&one(&format!("{backends}, {checked}")));
    let verdict = |source| proxy_core::Verdict::new(source, BackendState::Unhealthy, "a test says so");
    let (_, set) = &server.backends()[0];
    let [check, operator] = &set.backends()[..] else { panic!("not two backends") };
    set.report(check, verdict(HealthSource::Check));
    set.report(operator, verdict(HealthSource::Operator));
    reload(&server, one(&format!(r#"{backends}, {checked}, "selector": "random""#))).await;
    assert_eq!(check.state(), BackendState::Unhealthy);
    // Nobody checks any more: it would stay out for ever.
    reload(&server, one(backends)).await;
    let (_, set) = &server.backends()[0];
    let mut changes = set.changes();
    while check.state() != BackendState::Healthy {
        changes.changed().await;
    }
    assert_eq!(operator.state(), BackendState::Unhealthy);
    assert_eq!(set.with_candidates(&[], |candidates| candidates.iter().count()), 1);
    server.drain().await;
}

#[tokio::test]
async fn listeners_come_and_go() {
    let a = Origin::start("a").await;
    let listeners = |names: &[&str]| {
        let entry =
            |name: &&str| format!(r#""{name}": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "a" }} }}"#);
        let listeners: Vec<_> = names.iter().map(entry).collect();
        config(&format!(
            r#"{{ "listeners": {{ {} }}, "upstreams": {{ "a": {{ "backends": ["{}"] }} }} }}"#,
            listeners.join(", "),
            a.address
        ))
    };
    let (server, one) = start(&listeners(&["one"]));
    assert_eq!(reload(&server, listeners(&["one", "two"])).await, "added listeners.two");
    let two = server.addresses()[1].1;
    assert_eq!(server.addresses()[0].1, one);
    let (mut idle, mut busy) = (Client::connect(two).await, Client::connect(two).await);
    assert_eq!(idle.get("/").await, "a");
    busy.ask("/slow").await;
    // It is at the origin: now the listener goes.
    while server.backends()[0].1.backends()[0].in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(reload(&server, listeners(&["one"])).await, "removed listeners.two");
    assert!(idle.is_closed().await);
    assert!(TcpStream::connect(two).await.is_err());
    a.go.notify_one();
    assert_eq!(busy.read().await.1, "a");
    assert!(busy.is_closed().await);
    assert_eq!(Client::connect(one).await.get("/").await, "a");
    server.drain().await;
    assert!(TcpStream::connect(one).await.is_err());
}

#[tokio::test]
async fn an_address_goes_over_to_another_listener_without_being_closed() {
    let a = Origin::start("a").await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let named = |name: &str| {
        config(&format!(
            r#"{{ "listeners": {{ "{name}": {{ "listen": ["{free}"], "http": {{ "upstream": "a" }} }} }},
                "upstreams": {{ "a": {{ "backends": ["{}"] }} }} }}"#,
            a.address
        ))
    };
    let (server, address) = start(&named("one"));
    let mut client = Client::connect(address).await;
    assert_eq!(client.get("/").await, "a");
    assert_eq!(reload(&server, named("two")).await, "removed listeners.one\nadded listeners.two");
    assert_eq!(server.addresses(), [("two".to_owned(), address)]);
    assert!(client.is_closed().await);
    assert_eq!(Client::connect(address).await.get("/").await, "a");
    server.drain().await;
}

#[tokio::test]
async fn what_cannot_be_served_changes_nothing() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let text = |start: &str, origin: &Origin, more: &str| {
        config(&format!(
            r#"{{ {start} "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"{more}], "http": {{ "upstream": "a" }} }} }},
                "upstreams": {{ "a": {{ "backends": ["{}"] }} }} }}"#,
            origin.address
        ))
    };
    let before = text("", &a, "");
    let (server, address) = start(&before);
    let mut client = Client::connect(address).await;

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    let error = refused(&server, text("", &b, &format!(r#", "{}""#, taken.1))).await;
    assert_eq!(error.path(), "listeners.web.listen[1]");
    assert!(error.is_address_taken() && !error.needs_restart(), "{error}");

    let error = refused(&server, text(r#""workers": 3,"#, &b, "")).await;
    let message = "is fixed at the start; a change of it needs a restart or an upgrade";
    assert_eq!(error.to_string(), format!("workers: {message}"));
    assert!(error.needs_restart());

    let sharing = format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "reuse_port": true, "http": {{ "upstream": "a" }} }} }},
            "upstreams": {{ "a": {{ "backends": ["{}"] }} }} }}"#,
        b.address
    );
    let error = refused(&server, config(&sharing)).await;
    assert_eq!(error.to_string(), format!("listeners.web.reuse_port: {message}"));

    assert_eq!(client.get("/").await, "a");
    assert_eq!(*server.config().unwrap(), before);
    assert_eq!(server.addresses(), [("web".to_owned(), address)]);
    server.drain().await;
    assert!(server.config().is_none() && server.addresses().is_empty());
    let error = refused(&server, before).await;
    assert_eq!(error.to_string(), "listeners: the server is stopping, and takes no other configuration");
}

/// A configuration whose route `/a` has this rate for everyone.
fn limited(rate: &str, more: &str, origin: &Origin) -> Config {
    let limit = format!(r#"{{ "rate_limit": {{ "algorithm": "gcra", "key": "everything", "rate": "{rate}" }} }}"#);
    let route = format!(r#"{{ "match": {{ "path": "/a" }}, "upstream": "a", "filters": [{limit}] }}"#);
    let upstream = format!(r#""a": {{ "backends": ["{}"] }}"#, origin.address);
    web(&format!(r#""routes": [{route}, {{ "upstream": "a" }}]{more}"#), &upstream)
}

#[tokio::test]
async fn an_unchanged_limit_goes_on_counting() {
    let a = Origin::start("a").await;
    let (server, address) = start(&limited("1/h", "", &a));
    let mut client = Client::connect(address).await;
    assert_eq!([client.get("/a").await, client.get("/a").await, client.get("/b").await], ["a", "429", "a"]);
    // The listener is another, its limit is the same.
    let diff = reload(&server, limited("1/h", r#", "half_close": true"#, &a)).await;
    assert_eq!(diff, "changed listeners.web.http.half_close");
    assert_eq!(client.get("/a").await, "429");
    // Another limit starts anew, and so does one that was gone meanwhile.
    for rate in ["1/m", "1/h"] {
        reload(&server, limited(rate, "", &a)).await;
        assert_eq!([client.get("/a").await, client.get("/a").await], ["a", "429"], "{rate}");
    }
    server.drain().await;
}

#[tokio::test]
async fn a_file_that_is_wrong_says_why_and_changes_nothing() {
    let a = Origin::start("a").await;
    let (server, address) = start(&one(&format!(r#""backends": ["{}"]"#, a.address)));
    let file = std::env::temp_dir().join(format!("reload-{}.json", std::process::id()));
    let listener = r#""web": { "listen": ["127.0.0.1:0"], "http": { "upstream": "a" } }"#;
    for (text, expected) in [
        ("{", ":1:2: expected"),
        (r#"{ "listeners": {}, "upstrems": {} }"#, ":1:32: upstrems: unknown key; did you mean \"upstreams\"?"),
        (
            r#"{ "workers": 7, "listeners": { LISTENER }, "upstreams": { "a": { "backends": ["b:1"] } } }"#,
            "workers: is fixed",
        ),
    ] {
        std::fs::write(&file, text.replace("LISTENER", listener)).unwrap();
        let error = server.reload_file(&file).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(matches!(error, ReloadError::Server(_)), expected.contains("is fixed"));
    }
    std::fs::remove_file(&file).unwrap();
    let error = server.reload_file(&file).await.unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    assert_eq!(Client::connect(address).await.get("/").await, "a");
    server.drain().await;
}

/// A folder takes the place of backends, and the other way round; where it is missing, nothing changes.
#[tokio::test]
async fn backends_and_folders_take_each_other_s_place() {
    let folder = std::env::temp_dir().join(format!("proxy-config-reload-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("who.txt"), "a file").unwrap();
    let files = |root: &std::path::Path, more: &str| {
        one(&format!(r#""files": {{ "root": {:?}{more} }}"#, root.display().to_string()))
    };
    let a = Origin::start("a").await;
    let (server, address) = start(&one(&format!(r#""backends": ["{}"]"#, a.address)));
    let mut client = Client::connect(address).await;
    assert_eq!(client.get("/who.txt").await, "a");
    let changes = reload(&server, files(&folder, "")).await;
    assert_eq!(changes, format!("removed upstreams.a.backends[\"{}\"]\nchanged upstreams.a.files", a.address));
    assert_eq!(client.get("/who.txt").await, "a file");
    assert_eq!(reload(&server, files(&folder, "")).await, "");
    assert_eq!(reload(&server, files(&folder, r#", "strip_prefix": "/x""#)).await, "changed upstreams.a.files");
    assert_eq!(Client::connect(address).await.get("/who.txt").await, "404");
    assert_eq!(client.get("/x/who.txt").await, "a file");
    let missing = files(&folder.join("missing"), "");
    let error = refused(&server, missing.clone()).await.to_string();
    assert!(error.starts_with("upstreams.a.files: the folder ") && error.contains("No such file"), "{error}");
    assert_eq!(missing.check_files().len(), 1);
    assert_eq!(client.get("/x/who.txt").await, "a file");
    let _ = reload(&server, one(&format!(r#""backends": ["{}"]"#, a.address))).await;
    assert_eq!(client.get("/who.txt").await, "a");
    server.drain().await;
    std::fs::remove_dir_all(&folder).unwrap();
}

/// What a reload costs must not grow with more than the backends do: `cargo bench -p proxy-config --bench reload`
/// has the figures of an optimised build.
#[tokio::test]
async fn ten_thousand_backends_are_gone_over_to() {
    let config = |port: u16| -> Config {
        let backends: Vec<_> = (0..10_000)
            .map(|n| format!("\"10.0.{}.{}:{}\"", n / 250, n % 250 + 1, if n == 0 { port } else { 80 }))
            .collect();
        let text = format!(
            r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api" }} }} }},
                 "upstreams": {{ "api": {{ "selector": "least_connections", "backends": [{}] }} }} }}"#,
            backends.join(", ")
        );
        text.parse().unwrap()
    };
    let server = Server::start(&config(80)).unwrap();
    let before = server.backends()[0].1.backends();
    let begun = cpu_time();
    let diff = server.reload(config(81)).await.unwrap();
    let spent = cpu_time() - begun;
    let after = server.backends()[0].1.backends();
    assert_eq!(after.len(), 10_000, "{diff}");
    let known: std::collections::HashMap<_, _> = before.iter().map(|backend| (backend.id(), backend)).collect();
    let kept = after.iter().filter(|now| known.get(now.id()).is_some_and(|then| *then == *now)).count();
    assert_eq!(kept, 9_999, "who stays is the same backend");
    // Not optimised, and beside other tests: a tenth of what anything quadratic would take.
    println!("10,000 backends: {spent:?} of CPU");
    assert!(spent < Duration::from_secs(5), "{spent:?}");
}

/// What this process has used of the processors.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
