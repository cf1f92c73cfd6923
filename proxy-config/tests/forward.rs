//! Forward proxies from a configuration, through real sockets.

use std::net::SocketAddr;
use std::path::PathBuf;

use proxy_config::{Config, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An origin that answers each connection with the head it was sent.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", head.len());
                stream.write_all(&[answer.as_bytes(), &head].concat()).await
            });
        }
    });
    address
}

fn start(listeners: &str) -> Server {
    let config: Config =
        format!(r#"{{ "listeners": {{ {listeners} }} }}"#).parse().unwrap_or_else(|errors| panic!("{errors}"));
    Server::start(&config).unwrap()
}

fn address(server: &Server, name: &str) -> SocketAddr {
    server.addresses().into_iter().find(|(it, _)| it == name).unwrap().1
}

/// What comes back until the proxy closes.
async fn ask(proxy: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(bytes.as_ref()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(host: impl std::fmt::Display, fields: &str) -> String {
    format!("GET http://{host}/a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n")
}

#[track_caller]
fn check(answer: &str, status: u16, part: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(part), "{answer}");
}

#[tokio::test]
async fn what_is_opened_is_reached_and_nothing_else() {
    let origin = origin().await;
    let server = start(
        r#""closed": { "listen": ["127.0.0.1:0"], "forward": {} },
           "open": { "listen": ["127.0.0.1:0"], "forward": {
               "allow_private": ["127.0.0.0/8"], "deny": ["denied.example"], "anonymity": "anonymous", "via": "us",
               "remove_headers": ["X-Secret"], "filters": ["request_id"], "limits": { "max_headers": 5 } } }"#,
    );
    let (closed, open) = (address(&server, "closed"), address(&server, "open"));
    check(&ask(closed, get(origin, "")).await, 403, "loopback");
    let answer = ask(open, get(origin, "X-Secret: 1\r\n")).await;
    check(&answer, 200, "GET /a HTTP/1.1\r\n");
    let told = answer.to_lowercase();
    assert!(told.contains("via: 1.1 us\r\n") && told.contains("x-request-id: "), "{answer}");
    assert!(!told.contains("x-secret") && !told.contains("x-forwarded-for"), "{answer}");
    check(&ask(open, get("denied.example", "")).await, 403, "the rule &quot;deny&quot;");
    check(&ask(open, get(origin, "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n")).await, 431, "");
    // Every listener of the server is closed, also to the other one.
    for listener in [closed, open] {
        check(&ask(open, get(listener, "")).await, 403, "own listener");
    }
    check(&ask(open, format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n")).await, 403, "port");
    server.drain().await;
}

#[tokio::test]
async fn rules_are_those_of_the_file() {
    let origin = origin().await;
    let list = file("list", "listed.example\n");
    let server = start(&format!(
        r#""allowed": {{ "listen": ["127.0.0.1:0"], "forward": {{
               "allow_private": true, "allow": ["127.0.0.1"], "connect_ports": [443, "1-65535"], "deny_files": [{list:?}] }} }},
           "ruled": {{ "listen": ["127.0.0.1:0"], "forward": {{
               "allow_private": true, "default": "deny",
               "rules": [
                   {{ "name": "no posts", "action": "deny", "methods": ["POST"], "clients": ["127.0.0.0/8"] }},
                   {{ "name": "here", "action": "allow", "addresses": ["127.0.0.1"], "ports": ["1024-65535"],
                      "times": ["00:00-24:00"], "host_regex": ["[0-9.]+"] }} ] }} }}"#
    ));
    let (allowed, ruled) = (address(&server, "allowed"), address(&server, "ruled"));
    check(&ask(allowed, get(origin, "")).await, 200, "GET /a");
    check(&ask(allowed, get("127.0.0.2:8080", "")).await, 403, "allowed by no rule");
    check(&ask(allowed, get("a.listed.example", "")).await, 403, "the rule &quot;deny_files&quot;");
    check(&ask(allowed, get("169.254.169.254", "")).await, 403, "allowed by no rule");
    check(&ask(ruled, get(origin, "")).await, 200, "GET /a");
    check(&ask(ruled, get(origin, "").replace("GET", "POST")).await, 403, "the rule &quot;no posts&quot;");
    check(&ask(ruled, get("127.0.0.2:8080", "")).await, 403, "allowed by no rule");
    let tunnel = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\nGET /in HTTP/1.1\r\n\r\n");
    check(&ask(allowed, tunnel).await, 200, "GET /in HTTP/1.1\r\n");
    server.drain().await;
    std::fs::remove_file(list).unwrap();
}

/// `ada:secret`, at the least cost there is.
const USERS: &str = "ada:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";
const ADA: &str = "Proxy-Authorization: Basic YWRhOnNlY3JldA==\r\n";

fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("proxy-config-forward-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn users_are_asked_for_in_either_protocol() {
    let origin = origin().await;
    let users = file("users", USERS);
    let server = start(&format!(
        r#""web": {{ "listen": ["127.0.0.1:0"], "forward": {{
               "allow_private": ["127.0.0.1"], "users": {users:?}, "realm": "here",
               "rules": [{{ "name": "eve", "action": "deny", "users": ["eve"] }}] }} }},
           "socks": {{ "listen": ["127.0.0.1:0"], "socks": {{
               "allow_private": ["127.0.0.1"], "connect_ports": ["1024-65535"], "users": {users:?}, "also_http": true }} }}"#
    ));
    let (web, socks) = (address(&server, "web"), address(&server, "socks"));
    for listener in [web, socks] {
        check(&ask(listener, get(origin, "")).await, 407, "Basic realm=");
        let answer = ask(listener, get(origin, ADA)).await;
        check(&answer, 200, "GET /a");
        assert!(!answer.to_lowercase().contains("proxy-authorization"), "{answer}");
    }
    let mut bytes = b"\x05\x01\x02\x01\x03ada\x06secret\x05\x01\x00\x01\x7f\x00\x00\x01".to_vec();
    bytes.extend(origin.port().to_be_bytes());
    bytes.extend(b"GET /in HTTP/1.1\r\n\r\n");
    let answer = ask(socks, &bytes).await;
    assert!(answer.starts_with("\x05\x02\x01\x00\x05\x00\x00\x01\0\0\0\0\0\0HTTP/1.1 200 OK"), "{answer:?}");
    assert_eq!(ask(socks, b"\x05\x01\x00").await.as_bytes(), [5, 0xef, 0xbf, 0xbd], "0xff, which is no text");
    server.drain().await;
    std::fs::remove_file(users).unwrap();
}

#[tokio::test]
async fn a_reload_changes_what_may_be_reached() {
    let origin = origin().await;
    let config = |forward: &str| -> Config {
        format!(
            r#"{{ "listeners": {{
                "web": {{ "listen": ["127.0.0.1:0"], "forward": {{ {forward} }} }},
                "socks": {{ "listen": ["127.0.0.1:0"], "socks": {{ {forward}, "also_http": true }} }} }} }}"#
        )
        .parse()
        .unwrap()
    };
    let server = Server::start(&config(r#""allow_private": false"#)).unwrap();
    let listeners = [address(&server, "web"), address(&server, "socks")];
    for listener in listeners {
        check(&ask(listener, get(origin, "")).await, 403, "loopback");
    }
    let diff = server.reload(config(r#""allow_private": ["127.0.0.1"]"#)).await.unwrap();
    assert_eq!(diff.to_string(), "changed listeners.socks.socks\nchanged listeners.web.forward");
    for listener in listeners {
        check(&ask(listener, get(origin, "")).await, 200, "GET /a");
    }
    assert_eq!(listeners, [address(&server, "web"), address(&server, "socks")]);
    server.drain().await;
}

/// Through two servers: one that reaches the origin and asks for a password, and one that reaches only that.
#[tokio::test]
async fn a_parent_leads_where_the_proxy_itself_does_not() {
    let origin = origin().await;
    let users = file("parents", USERS);
    let far = start(&format!(
        r#""web": {{ "listen": ["127.0.0.1:0"], "forward": {{
               "allow_private": ["127.0.0.1"], "connect_ports": ["1024-65535"], "users": {users:?}, "via": "far" }} }},
           "socks": {{ "listen": ["127.0.0.1:0"], "socks": {{
               "allow_private": ["127.0.0.1"], "connect_ports": ["1024-65535"], "users": {users:?} }} }}"#
    ));
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let config = |password: &str| -> Config {
        let listeners: String = ["web", "socks"]
            .map(|name| {
                format!(
                    r#""{name}": {{ "listen": ["127.0.0.1:0"], "forward": {{
                           "allow_private": ["127.0.0.1"], "connect_ports": ["1024-65535"], "via": "near",
                           "parents": [{{ "hosts": ["127.0.0.2"], "direct": true }}, {{ "upstream": "{name}" }}] }} }}"#
                )
            })
            .join(",");
        let (web, socks) = (address(&far, "web"), address(&far, "socks"));
        format!(
            r#"{{ "listeners": {{ {listeners} }}, "upstreams": {{
                "web": {{ "backends": ["{nobody}", "{web}"], "proxy": {{ "http": {{ "user": "ada", "password": "{password}" }} }} }},
                "socks": {{ "backends": ["{nobody}", "{socks}"],
                    "proxy": {{ "socks5": {{ "user": "ada", "password": "{password}", "answer_timeout": "5s" }} }} }} }} }}"#
        )
        .parse()
        .unwrap_or_else(|errors| panic!("{errors}"))
    };
    let near = Server::start(&config("secret")).unwrap();
    for (name, via) in [("web", "via: 1.1 near, 1.1 far"), ("socks", "via: 1.1 near")] {
        let proxy = address(&near, name);
        // Whichever of the backends comes first: the one that nobody listens at costs no request.
        for _ in 0..2 {
            let answer = ask(proxy, get(origin, ADA)).await;
            check(&answer, 200, "GET /a HTTP/1.1\r\n");
            let told = answer.to_lowercase();
            let vias: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("via: ")).collect();
            assert_eq!(format!("via: {}", vias.join(", ")), via, "{answer}");
            assert!(!told.contains("authorization") && !told.contains("ada"), "{answer}");
            let tunnel = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\nGET /in HTTP/1.1\r\n\r\n");
            check(&ask(proxy, tunnel).await, 200, "GET /in HTTP/1.1\r\n");
        }
        check(&ask(proxy, get(proxy, "")).await, 403, "own listener");
        check(
            &ask(proxy, format!("CONNECT 127.0.0.2:{0} HTTP/1.1\r\nHost: 127.0.0.2:{0}\r\n\r\n", origin.port())).await,
            403,
            "loopback",
        );
    }
    let changes = near.reload(config("wrong")).await.unwrap().to_string();
    assert_eq!(changes, "changed upstreams.socks.proxy\nchanged upstreams.web.proxy");
    for name in ["web", "socks"] {
        check(&ask(address(&near, name), get(origin, "")).await, 502, "does not know our name and password");
    }
    near.drain().await;
    far.drain().await;
    std::fs::remove_file(users).unwrap();
}

#[tokio::test]
async fn browsers_find_the_proxy_and_tunnels_are_what_they_say() {
    let origin = origin().await;
    let users = file("browsers", USERS);
    let listener = |name: &str, server_names: &str, pac: &str| {
        format!(
            r#""{name}": {{ "listen": ["127.0.0.1:0"], "forward": {{
                   "allow_private": ["127.0.0.1"], "connect_ports": ["1024-65535"], "users": {users:?},
                   "server_names": "{server_names}", "pac": {pac} }} }}"#
        )
    };
    let listeners = [
        listener("strict", "require", "{}"),
        listener("named", "log", r#"{ "proxy": "Proxy.example:8080" }"#),
        listener("off", "off", "{}"),
    ];
    let server = start(&listeners.join(","));
    let pac = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: proxy.local:3128\r\nConnection: close\r\n\r\n");
    let tunnel = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n{ADA}\r\nGET /in HTTP/1.1\r\n\r\n");
    for (name, at, passes) in [
        ("strict", "PROXY proxy.local:3128", false),
        ("named", "PROXY proxy.example:8080", true),
        ("off", "PROXY proxy.local:3128", true),
    ] {
        let proxy = address(&server, name);
        check(&ask(proxy, pac("/proxy.pac")).await, 200, &format!("var proxy = \"{at}\";"));
        check(&ask(proxy, pac("/")).await, 407, "");
        let answer = ask(proxy, &tunnel).await;
        check(&answer, 200, "");
        assert_eq!(answer.contains("GET /in"), passes, "{name}: {answer}");
    }
    server.drain().await;
    std::fs::remove_file(users).unwrap();
}

#[tokio::test]
async fn a_file_that_is_not_there_says_so() {
    for (settings, part) in [
        (r#""users": "/nowhere/users""#, "listeners.web.forward.users: /nowhere/users: "),
        (r#""deny_files": ["/nowhere/list"]"#, "listeners.web.forward.deny_files: /nowhere/list: "),
    ] {
        let config =
            format!(r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "forward": {{ {settings} }} }} }} }}"#);
        let error = Server::start(&config.parse().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with(part), "{error}");
    }
}
