//! From a configuration to answered requests, through real sockets.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use proxy_config::{Config, Server, ServerError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// An origin that answers `name` and the head it was sent.
async fn origin(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, name));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let told = String::from_utf8_lossy(&head).to_lowercase();
    if told.contains("\r\nupgrade: ") {
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await?;
        return stream.read_u8().await.map(|_| ());
    }
    if told.contains("\r\ncontent-length: 4\r\n") {
        stream.read_exact(&mut [0; 4]).await?;
    }
    let body = format!("{name}\n{told}");
    let fields = "Connection: close\r\nServer: origin";
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await
}

/// A server that runs until it is stopped.
struct Running {
    addresses: Vec<(String, SocketAddr)>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Running {
    fn start(config: &str) -> Self {
        Running::serve(bind(config).unwrap())
    }

    fn serve(server: Server) -> Self {
        let addresses = server.addresses();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.run(async { drop(stopped.await) }));
        Running { addresses, stop, serving }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        let mut addresses = self.addresses.iter();
        addresses.find(|(name, _)| name == listener).expect("a listener of this name").1
    }

    async fn get(&self, listener: &str, path: &str, fields: &str) -> String {
        let mut stream = TcpStream::connect(self.address(listener)).await.unwrap();
        let host = if fields.contains("Host:") { "" } else { "Host: localhost\r\n" };
        let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{host}{fields}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Who answered.
    async fn name(&self, listener: &str, path: &str, fields: &str) -> String {
        let answer = self.get(listener, path, fields).await;
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        body.lines().next().unwrap_or(&answer).to_owned()
    }

    async fn stop(self) {
        drop(self.stop);
        self.serving.await.unwrap();
    }
}

fn bind(config: &str) -> Result<Server, ServerError> {
    let config: Config = config.parse().unwrap_or_else(|errors| panic!("{errors}"));
    Server::start(&config)
}

#[tokio::test]
async fn requests_go_where_their_route_says() {
    let (a, b, c) = (origin("a").await, origin("b").await, origin("c").await);
    let server = Running::start(&format!(
        r#"{{
            "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "routes": [
                {{ "match": {{ "host": "*.example.com", "path_prefix": "/v1/" }}, "upstream": "b" }},
                {{ "match": {{ "path": "/exact", "method": ["PUT", "GET"] }}, "upstream": "b" }},
                {{ "match": {{ "path_regex": "/users/[0-9]+" }}, "upstream": "b" }},
                {{ "match": {{ "headers": {{ "X-Canary": "1" }} }}, "upstream": "b" }},
                {{ "match": {{ "headers": {{ "X-Canary": "1" }} }}, "upstream": "c" }},
                {{ "match": {{ "query": {{ "to": "c d" }} }}, "upstream": "c" }},
                {{ "match": {{ "cookies": {{ "beta": "yes" }} }}, "split": {{ "b": 3, "c": 1 }} }},
                {{ "upstream": "a" }}
            ] }} }} }},
            "upstreams": {{
                "a": {{ "backends": ["{a}"] }}, "b": {{ "backends": ["{b}"] }}, "c": {{ "backends": ["{c}"] }}
            }}
        }}"#
    ));
    for (path, fields, expected) in [
        ("/", "", "a"),
        ("/v1/x", "Host: api.example.com\r\n", "b"),
        ("/v1/x", "Host: example.com\r\n", "a"),
        ("/exact", "", "b"),
        ("/exact/", "", "a"),
        ("/users/42", "", "b"),
        ("/users/me", "", "a"),
        ("/", "x-canary: 1\r\n", "b"), // two routes take it: the first in the file wins
        ("/?to=c+d", "", "c"),
    ] {
        assert_eq!(server.name("web", path, fields).await, expected, "{path} {fields}");
    }
    let mut shares = Vec::new();
    for _ in 0..8 {
        shares.push(server.name("web", "/", "Cookie: beta=yes\r\n").await);
    }
    assert_eq!(shares.iter().filter(|name| *name == "b").count(), 6, "{shares:?}");
    server.stop().await;
}

#[tokio::test]
async fn listeners_share_upstreams_and_weights_hold() {
    let (a, b) = (origin("a").await, origin("b").await);
    let server = Running::start(&format!(
        r#"{{
            "workers": 2,
            "listeners": {{
                "one": {{ "listen": ["127.0.0.1:0"], "reuse_port": true, "http": {{ "upstream": "api" }} }},
                "two": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api" }} }}
            }},
            "upstreams": {{ "api": {{ "backends": [
                {{ "address": "{a}", "weight": 2 }}, "{b}",
                {{ "address": "127.0.0.1:1", "backup": true }}, {{ "address": "127.0.0.1:2", "weight": 0 }}
            ] }} }}
        }}"#
    ));
    assert_eq!(server.addresses.len(), 2, "sockets of one address count once: {:?}", server.addresses);
    let mut names = String::new();
    for listener in ["one", "two", "one", "two", "one", "two"] {
        names += &server.name(listener, "/", "").await;
    }
    assert_eq!(names, "abaaba");
    server.stop().await;
}

/// Three origins behind upstreams that choose in every way there is.
#[tokio::test]
async fn every_selector_serves() {
    let (a, b, c) = (origin("a").await, origin("b").await, origin("c").await);
    let selectors = [
        ("round_robin", r#""round_robin""#),
        ("random", r#""random""#),
        ("least", r#""least_connections""#),
        ("two", r#""power_of_two""#),
        ("ewma", r#"{ "peak_ewma": { "decay": "1s" } }"#),
        ("source", r#""source_ip_hash""#),
        ("ring", r#"{ "consistent_hash": { "key": { "header": "x-key" }, "balance_factor": 150 } }"#),
        ("ketama", r#"{ "ketama": { "key": { "query": "q" } } }"#),
        ("maglev", r#"{ "maglev": { "key": { "cookie": "session" } } }"#),
        ("rendezvous", r#"{ "rendezvous": { "key": "path" } }"#),
    ];
    let routes =
        selectors.map(|(name, _)| format!(r#"{{ "match": {{ "path_prefix": "/{name}/" }}, "upstream": "{name}" }}"#));
    let upstreams = selectors.map(|(name, selector)| {
        format!(r#""{name}": {{ "selector": {selector}, "backends": ["{a}", "{b}", "{c}"] }}"#)
    });
    let server = Running::start(&format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "routes": [{}] }} }} }}, "upstreams": {{ {} }} }}"#,
        routes.join(", "),
        upstreams.join(", ")
    ));
    for (name, _) in selectors {
        let key = "x-key: 1\r\nCookie: session=1\r\n";
        let mut seen = BTreeSet::new();
        for _ in 0..30 {
            seen.insert(server.name("web", &format!("/{name}/?q=1"), key).await);
        }
        let hashes = ["source", "ring", "ketama", "maglev", "rendezvous"].contains(&name);
        assert_eq!(seen.len(), if hashes { 1 } else { 3 }, "{name}: {seen:?}");
    }
    server.stop().await;
}

/// Nobody listens where the first two tiers are, and no health check says so.
#[tokio::test]
async fn tiers_and_zones_take_over_from_each_other() {
    let (near, far, backup) = (origin("near").await, origin("far").await, origin("backup").await);
    let upstream = |backends: &str| {
        Running::start(&format!(
            r#"{{ "local_zone": "here",
                "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "a" }} }} }},
                "upstreams": {{ "a": {{ "backends": [{backends}] }} }} }}"#
        ))
    };
    let near = format!(r#"{{ "address": "{near}", "zone": "here" }}"#);
    let far = format!(r#"{{ "address": "{far}", "zone": "there" }}"#);
    let backup = format!(r#"{{ "address": "{backup}", "zone": "here", "backup": true }}"#);
    let dead = r#"{ "address": "127.0.0.1:1", "zone": "here" }, { "address": "127.0.0.1:2", "priority": 1 }"#;
    for (backends, expected) in [
        (format!("{far}, {near}, {backup}"), "near"),
        (format!("{far}, {backup}"), "far"),
        (format!("{dead}, {far}, {backup}"), "far"),
        (format!("{backup}, {dead}"), "backup"),
    ] {
        let server = upstream(&backends);
        for _ in 0..3 {
            assert_eq!(server.name("web", "/", "").await, expected, "{backends}");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn clients_stick() {
    let (a, b) = (origin("a").await, origin("b").await);
    let server = Running::start(&format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "a" }} }} }},
            "upstreams": {{ "a": {{ "backends": ["{a}", "{b}"],
                "sticky": {{ "cookie": {{ "name": "lb", "secret": "0123456789abcdef", "max_age": "1h" }} }} }} }} }}"#
    ));
    let answer = server.get("web", "/", "").await;
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie").to_owned();
    assert!(cookie.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    for _ in 0..4 {
        let answer = server.get("web", "/", &format!("Cookie: {pair}\r\n")).await;
        assert!(answer.contains("\r\n\r\na\n") && !answer.contains("set-cookie"), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn filters_and_forwarding_fields_are_as_configured() {
    let a = origin("a").await;
    let server = Running::start(&format!(
        r#"{{
            "listeners": {{
                "plain": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "a" }} }},
                "edited": {{ "listen": ["127.0.0.1:0"], "http": {{
                    "filters": [
                        {{ "request_id": {{ "header": "X-Trace" }} }},
                        {{ "trace_context": {{ "sampling": "0%" }} }},
                        {{ "headers": {{
                            "request": {{ "set": {{ "Host": "inner" }}, "add": {{ "x-a": "1" }}, "remove": ["x-b"] }},
                            "response": {{ "remove": ["Server"] }}
                        }} }}
                    ],
                    "routes": [ {{ "upstream": "a", "filters": [{{ "headers": {{ "response": {{ "set": {{ "x-r": "1" }} }} }} }}] }} ],
                    "trusted_proxies": ["127.0.0.0/8"],
                    "forwarded": {{ "x_forwarded": false, "forwarded": true, "via": false }},
                    "limits": {{ "max_target_bytes": 20 }}
                }} }}
            }},
            "upstreams": {{ "a": {{ "backends": ["{a}"] }} }}
        }}"#
    ));
    let plain = server.get("plain", "/", "x-forwarded-for: 10.0.0.1\r\n").await.to_lowercase();
    for line in ["x-forwarded-for: 127.0.0.1\r\n", "via: 1.1 ", "host: localhost\r\n", "server: origin\r\n"] {
        assert!(plain.contains(line), "{line:?} in {plain}");
    }
    let edited = server.get("edited", "/", "x-b: 2\r\nx-real-ip: 10.0.0.1\r\n").await.to_lowercase();
    for line in ["host: inner\r\n", "x-a: 1\r\n", "x-r: 1\r\n", "forwarded: for=127.0.0.1", "x-real-ip: 10.0.0.1\r\n"] {
        assert!(edited.contains(line), "{line:?} in {edited}");
    }
    assert_eq!(edited.matches("x-trace: ").count(), 2, "to the origin and to the client: {edited}");
    let parent = |text: &str| text.lines().find_map(|line| line.strip_prefix("traceparent: ").map(str::to_owned));
    assert!(parent(&edited).is_some_and(|parent| parent.len() == 55 && parent.ends_with("-02")), "{edited}");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-";
    let continued = server.get("edited", "/", &format!("traceparent: {trace}00f067aa0ba902b7-01\r\n")).await;
    let told = parent(&continued).expect("it is continued");
    assert!(told.starts_with(trace) && told.ends_with("-01") && !told.contains("00f067aa0ba902b7"), "{continued}");
    assert!(!plain.contains("x-forwarded-host:") && parent(&plain).is_none(), "{plain}");
    for part in ["x-b:", "via:", "x-forwarded-for:", "server:"] {
        assert!(!edited.contains(part), "{part:?} in {edited}");
    }
    let long = server.get("edited", &format!("/{}", "x".repeat(20)), "").await;
    assert!(long.starts_with("HTTP/1.1 414 "), "{long}");
    server.stop().await;
}

/// Each knob does what its name says.
#[tokio::test]
async fn limits_and_deadlines_of_clients_are_as_configured() {
    let a = origin("a").await;
    let listener = |knobs: &str| format!(r#"{{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "a", {knobs} }} }}"#);
    let server = Running::start(&format!(
        r#"{{ "listeners": {{ "requests": {}, "body": {}, "rate": {}, "tunnel": {} }},
              "upstreams": {{ "a": {{ "backends": ["{a}"] }} }} }}"#,
        listener(r#""limits": { "max_requests_per_connection": 2 }"#),
        listener(r#""limits": { "max_body_bytes": 3 }"#),
        listener(r#""timeouts": { "body_idle": "20ms", "min_body_rate": "1KiB" }"#),
        listener(r#""timeouts": { "tunnel_idle": "20ms" }"#),
    ));
    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n";
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let upgrade = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let table = [
        ("requests", get.repeat(3), "HTTP/1.1 200 OK", 2),
        ("body", format!("{post}body"), "HTTP/1.1 413 Payload Too Large", 1),
        ("rate", format!("{post}b"), "HTTP/1.1 408 Request Timeout", 1),
        ("tunnel", upgrade.to_owned(), "HTTP/1.1 101 Switching Protocols", 1),
    ];
    for (listener, request, line, times) in table {
        let mut stream = TcpStream::connect(server.address(listener)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).await.unwrap();
        assert_eq!(answers.matches(line).count(), times, "{listener}: {answers}");
    }
    server.stop().await;
}

/// A backend that refuses connections costs no request while another one is there.
#[tokio::test]
async fn requests_survive_a_dead_backend() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let a = origin("a").await;
    let server = Running::start(&format!(
        r#"{{
            "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "routes": [
                {{ "match": {{ "path": "/once" }}, "upstream": "once" }}, {{ "upstream": "retried" }} ] }} }} }},
            "upstreams": {{
                "once": {{ "backends": ["{dead}"], "retry": {{ "attempts": 1 }} }},
                "retried": {{ "backends": ["{dead}", "{a}"], "retry": {{ "attempts": 2 }} }}
            }}
        }}"#
    ));
    for _ in 0..6 {
        assert_eq!(server.name("web", "/", "").await, "a");
    }
    let once = server.get("web", "/once", "").await;
    assert!(once.starts_with("HTTP/1.1 502 "), "{once}");
    server.stop().await;
}

/// With one connection per backend the second request waits as long as it was told.
#[tokio::test]
async fn waiting_for_a_connection_ends() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = silent.local_addr().unwrap();
    let server = Running::start(&format!(
        r#"{{
            "shutdown": {{ "drain": "0s" }},
            "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "a" }} }} }},
            "upstreams": {{ "a": {{ "backends": ["{backend}"], "retry": {{ "attempts": 1 }},
                "pool": {{ "max_open_per_backend": 1, "pending_timeout": "20ms" }} }} }}
        }}"#
    ));
    let mut first = TcpStream::connect(server.address("web")).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let _held = silent.accept().await.unwrap();
    let second = server.get("web", "/", "").await;
    assert!(second.starts_with("HTTP/1.1 504 "), "{second}");
    server.stop().await;
}

#[tokio::test]
async fn parts_of_other_builds_are_left_out() {
    let a = origin("a").await;
    let server = Running::start(&format!(
        r#"{{
            "admin": {{ "listen": "127.0.0.1:0" }},
            "listeners": {{
                "web": {{ "listen": ["127.0.0.1:0"], "http": {{
                    "upstream": "a" }} }}
            }},
            "upstreams": {{ "a": {{ "selector": "least_connections", "backends": ["{a}"] }} }}
        }}"#
    ));
    let names: BTreeSet<_> = server.addresses.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["web"]));
    for _ in 0..3 {
        assert_eq!(server.name("web", "/", "").await, "a");
    }
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_a_limit_are_closed_at_accept() {
    let a = origin("a").await;
    let server = Running::start(&format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{
                "filters": [{{ "connection_limit": {{ "rate_per_client": "2/h" }} }}], "upstream": "a" }} }} }},
            "upstreams": {{ "a": {{ "backends": ["{a}"] }} }} }}"#
    ));
    assert_eq!(server.name("web", "/", "").await, "a");
    assert_eq!(server.name("web", "/", "").await, "a");
    let mut refused = TcpStream::connect(server.address("web")).await.unwrap();
    assert_eq!(refused.read(&mut [0; 1]).await.unwrap_or(0), 0);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_served_says_where() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind(&format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0", "{address}"], "http": {{ "upstream": "a" }} }} }},
            "upstreams": {{ "a": {{ "backends": ["127.0.0.1:1"] }} }} }}"#
    ))
    .unwrap_err();
    let message = format!("listeners.web.listen[1]: cannot listen on {address}: Address already in use");
    assert!(error.to_string().starts_with(&message), "{error}");
    assert!(error.is_address_taken());
    assert_eq!((error.path(), error.address()), ("listeners.web.listen[1]", Some(address)));

    let text = r#"{ "listeners": { "a": { "listen": ["127.0.0.1:0"], "udp": { "upstream": "a" } } },
        "upstreams": { "a": { "backends": ["127.0.0.1:1"] } } }"#;
    let mut emptied: Config = text.parse().unwrap();
    emptied.listeners.clear();
    let error = Server::start(&emptied).unwrap_err();
    assert_eq!(error.to_string(), "listeners: none of them can be served by this build");
    assert!(!error.is_address_taken());

    let upstream =
        |tls: &str| format!(r#""upstreams": {{ "a": {{ "backends": ["127.0.0.1:1"], "tls": {{ {tls} }} }} }}"#);
    let listener = |tls: &str| {
        format!(r#""listeners": {{ "a": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "a" }} {tls} }} }}"#)
    };
    let certificates = r#", "tls": { "certificates": [{ "cert": "no.pem", "key": "no.key" }] }"#;
    for (config, path, message) in [
        (
            format!("{{ {}, {} }}", listener(certificates), upstream(r#""insecure": true"#)),
            "listeners.a.tls.certificates[0].cert",
            "no.pem: No such file or directory (os error 2)",
        ),
        (
            format!("{{ {}, {} }}", listener(""), upstream(r#""ca": "no.pem""#)),
            "upstreams.a.tls.ca",
            "no.pem: No such file or directory (os error 2)",
        ),
    ] {
        let error = bind(&config).unwrap_err();
        assert_eq!(error.to_string(), format!("{path}: {message}"));
        let checked: Config = config.parse().unwrap();
        let errors: Vec<_> = checked.check_files().iter().map(ToString::to_string).collect();
        assert_eq!(errors, [error.to_string()]);
    }
}

/// Balancers before it send requests until they have seen that it is not ready.
#[tokio::test]
async fn it_serves_on_for_the_delay() {
    let origin = origin("one").await;
    let Running { addresses, stop, serving } = Running::start(&format!(
        r#"{{ "shutdown": {{ "delay": "1h" }},
              "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api" }} }} }},
              "upstreams": {{ "api": {{ "backends": ["{origin}"] }} }} }}"#
    ));
    drop(stop);
    let server = Running { addresses, stop: oneshot::channel().0, serving };
    assert_eq!(server.name("web", "/", "").await, "one");
    assert!(!server.serving.is_finished());
    server.serving.abort();
}
