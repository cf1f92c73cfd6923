//! TLS through real sockets, with clients and servers that are not ours: curl and openssl.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proxy_core::tls::{Certificate, Certificates, ClientAuth, ClientTls, ServerTls, TlsVersion};
use proxy_core::{
    Cluster, Context, ErrorKind, Listener, Observer, Peer, Proxy, Request, Response, Result, Route, TcpListener,
    Upstream, selector_fn, serve,
};
use proxy_ratelimit::{Gcra, Key, Limiter, Missing, RateLimit};
use rcgen::{SerialNumber, date_time_ymd};
use tests::{Authority, FullLb, free_address, have};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};

/// Says how it was asked.
struct Echo;

#[async_trait::async_trait]
impl Upstream for Echo {
    async fn send(&self, request: Request, context: &mut Context) -> Result<Response> {
        let tls = context.peer().tls.clone().unwrap_or_default();
        let client = tls.client.as_ref().map(|client| client.dns_names.join(","));
        let proto = request.head().headers().get_str("x-forwarded-proto").unwrap_or("none").to_owned();
        let text = format!("{} {} {} {}", context.scheme(), proto, tls.version, client.unwrap_or_default());
        Ok(Response::text(http::StatusCode::OK, text))
    }
}

/// Tells of each handshake whether it resumed a session; `None` where it failed.
struct Shaken(mpsc::UnboundedSender<Option<bool>>);

impl Observer for Shaken {
    fn on_handshake(&self, peer: &Peer, _: Duration) {
        let _ = self.0.send(peer.tls.as_ref().map(|tls| tls.resumed));
    }
}

/// Files that clients are given; gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("proxy-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder of its own");
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file of its own");
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A TLS server before [`Echo`], until it is dropped.
struct Server {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Server {
    fn start(tls: ServerTls, upstream: impl Upstream) -> Self {
        Server::of(tls, Proxy::over(upstream))
    }

    fn of(tls: ServerTls, proxy: Proxy) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let server = serve(listener, proxy).tls(tls);
        tokio::spawn(server.with_graceful_shutdown(async { drop(stopped.await) }).into_future());
        Server { address, _stop: stop }
    }

    async fn curl(&self, authority: &str, host: &str, options: &[&str]) -> Output {
        curl(self.address, authority, host, options).await
    }

    async fn openssl(&self, options: &[&str]) -> String {
        openssl(self.address, options).await
    }
}

/// What curl makes of a server when it asks for this host.
async fn curl(address: SocketAddr, authority: &str, host: &str, options: &[&str]) -> Output {
    let port = address.port();
    let resolve = format!("{host}:{port}:{}", address.ip());
    let url = format!("https://{host}:{port}/");
    let mut command = tokio::process::Command::new("curl");
    command.args(["-sS", "-i", "--max-time", "10", "--cacert", authority, "--resolve", &resolve]);
    command.args(options).arg(url).output().await.expect("curl runs")
}

/// What `openssl s_client` prints when it connects and leaves.
async fn openssl(address: SocketAddr, options: &[&str]) -> String {
    let mut command = tokio::process::Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string()]).args(options).stdin(Stdio::null());
    let output = command.output().await.expect("openssl runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn certificate((chain, key): &(String, String)) -> Certificate {
    Certificate::from_pem(chain.as_bytes(), key.as_bytes()).expect("a certificate that was just made")
}

fn certificates(authority: &Authority, names: &[&[&str]]) -> Certificates {
    Certificates::new(names.iter().map(|names| certificate(&authority.issue(names)))).expect("some")
}

#[tokio::test]
async fn curl_is_served_by_name_and_told_of_the_end() {
    if !have(&["curl"]) {
        return;
    }
    let (authority, folder) = (Authority::new("authority"), Folder::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let tls = ServerTls::builder(certificates(&authority, &[&["a.test"], &["b.test", "*.b.test"]])).build().unwrap();
    let server = Server::start(tls, Echo);
    for host in ["a.test", "b.test", "x.b.test"] {
        let answer = server.curl(&ca, host, &[]).await;
        assert!(answer.status.success() && text(&answer).ends_with("https https TLSv1.3 "), "{host}: {answer:?}");
    }
    assert!(!server.curl(&ca, "c.test", &[]).await.status.success(), "no certificate is for it");
    // An answer that ends with the connection ends with a close_notify: else curl says that it was cut.
    let last = server.curl(&ca, "a.test", &["--http1.0"]).await;
    assert!(last.status.success() && last.stderr.is_empty(), "{last:?}");
    // A connection for one host is not good for another, unless the certificate is.
    for (host, status) in [("b.test", "421"), ("a.test", "200")] {
        let answer = server.curl(&ca, "a.test", &["-H", &format!("Host: {host}")]).await;
        assert!(text(&answer).starts_with(&format!("HTTP/2 {status}")), "{host}: {}", text(&answer));
    }
    let answer = server.curl(&ca, "b.test", &["-H", "Host: y.b.test"]).await;
    assert!(text(&answer).starts_with("HTTP/2 200"), "{}", text(&answer));
    let answer = server.curl(&ca, "b.test", &["--http1.1"]).await;
    assert!(text(&answer).starts_with("HTTP/1.1 200"), "{}", text(&answer));
}

#[tokio::test]
async fn openssl_gets_the_versions_and_resumes_in_both() {
    if !have(&["openssl"]) {
        return;
    }
    let (authority, folder) = (Authority::new("authority"), Folder::new());
    let names = certificates(&authority, &[&["a.test"]]);
    let (shaken, mut told) = mpsc::unbounded_channel();
    let proxy = Proxy::builder().observer(Shaken(shaken)).upstream("echo", Echo).route(Route::to("echo")).build();
    let both = Server::of(ServerTls::builder(names.clone()).build().unwrap(), proxy.unwrap());
    let new = Server::start(ServerTls::builder(names).oldest(TlsVersion::Tls13).build().unwrap(), Echo);
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let first = both.openssl(&[version, "-servername", "a.test", "-alpn", "http/1.1"]).await;
        assert!(first.contains(&format!("New, {name}")) && first.contains("ALPN protocol: http/1.1"), "{first}");
        assert_eq!(told.recv().await, Some(Some(false)));
    }
    for version in ["-tls1", "-tls1_1"] {
        let refused = both.openssl(&[version, "-servername", "a.test"]).await;
        assert!(refused.contains("Cipher is (NONE)"), "{refused}");
        assert_eq!(told.recv().await, Some(None));
    }
    assert!(new.openssl(&["-tls1_2"]).await.contains("Cipher is (NONE)"));

    let session = folder.0.join("session").display().to_string();
    let kept = both.openssl(&["-tls1_2", "-sess_out", &session]).await;
    assert!(kept.contains("New, TLSv1.2"), "{kept}");
    let again = both.openssl(&["-tls1_2", "-sess_in", &session]).await;
    assert!(again.contains("Reused, TLSv1.2"), "{again}");
    assert_eq!((told.recv().await, told.recv().await), (Some(Some(false)), Some(Some(true))));
}

#[tokio::test]
async fn clients_are_known_by_their_certificates() {
    if !have(&["curl"]) {
        return;
    }
    let (authority, clients, folder) = (Authority::new("authority"), Authority::new("clients"), Folder::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let auth = ClientAuth::required(clients.pem().as_bytes()).unwrap();
    let names = certificates(&authority, &[&["a.test"]]);
    let server = Server::start(ServerTls::builder(names).client_auth(auth).build().unwrap(), Echo);
    let with = |issuer: &Authority, name: &str| {
        let (chain, key) = issuer.issue(&["ada.test"]);
        (folder.write(&format!("{name}.pem"), &chain), folder.write(&format!("{name}.key"), &key))
    };
    let (ada, key) = with(&clients, "ada");
    let answer = server.curl(&ca, "a.test", &["--cert", &ada, "--key", &key]).await;
    assert!(text(&answer).ends_with("https https TLSv1.3 ada.test"), "{answer:?}");
    let (eve, key) = with(&authority, "eve");
    assert!(!server.curl(&ca, "a.test", &["--cert", &eve, "--key", &key]).await.status.success());
    assert!(!server.curl(&ca, "a.test", &[]).await.status.success());
}

/// A limit for each client as its certificate names it: another certificate of the same client is no fresh start.
#[tokio::test]
async fn limits_know_clients_by_their_certificates() {
    if !have(&["curl"]) {
        return;
    }
    let (authority, clients, folder) = (Authority::new("authority"), Authority::new("clients"), Folder::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let auth = ClientAuth::required(clients.pem().as_bytes()).unwrap();
    let tls = ServerTls::builder(certificates(&authority, &[&["a.test"]])).client_auth(auth).build().unwrap();
    let limit = RateLimit::new(Limiter::new(Gcra::new("1/h".parse().unwrap())), Key::tls_client());
    let limit = limit.missing_key(Missing::Deny);
    let builder = Proxy::builder().filter(limit).upstream("echo", Echo).route(Route::to("echo"));
    let server = Server::of(tls, builder.build().unwrap());
    for (number, (client, status)) in [("ada.test", "200"), ("ada.test", "429"), ("bob.test", "200")].iter().enumerate()
    {
        let (chain, key) = clients.issue(&[client]);
        let (chain, key) =
            (folder.write(&format!("{number}.pem"), &chain), folder.write(&format!("{number}.key"), &key));
        let answer = server.curl(&ca, "a.test", &["--cert", &chain, "--key", &key, "-w", " %{http_code}"]).await;
        assert!(text(&answer).ends_with(status), "{client}: {answer:?}");
    }
}

#[tokio::test]
async fn a_certificate_is_replaced_under_a_connection_that_stays() {
    if !have(&["openssl"]) {
        return;
    }
    let authority = Authority::new("authority");
    let names = certificates(&authority, &[&["old.test"]]);
    let server = Server::start(ServerTls::builder(names.clone()).build().unwrap(), Echo);
    let mut command = tokio::process::Command::new("openssl");
    command.args(["s_client", "-quiet", "-no_ign_eof", "-servername", "old.test", "-connect"]);
    command.arg(server.address.to_string()).stderr(Stdio::null()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut open = command.kill_on_drop(true).spawn().expect("openssl runs");
    let (mut sent, mut heard) = (open.stdin.take().expect("piped"), BufReader::new(open.stdout.take().expect("piped")));
    for round in 0..2 {
        sent.write_all(b"GET / HTTP/1.1\r\nHost: old.test\r\n\r\n").await.expect("the connection is open");
        let mut line = String::new();
        heard.read_line(&mut line).await.expect("an answer");
        assert_eq!(line, "HTTP/1.1 200 OK\r\n", "round {round}");
        while line != "\r\n" {
            line.clear();
            heard.read_line(&mut line).await.expect("the rest of the head");
        }
        let mut body = [0; "https https TLSv1.3 ".len()];
        tokio::io::AsyncReadExt::read_exact(&mut heard, &mut body).await.expect("the body");
        names.replace([certificate(&authority.issue(&["new.test"]))]).unwrap();
    }
    let shown = server.openssl(&["-servername", "new.test"]).await;
    assert!(shown.contains("CN = new.test"), "{shown}");
}

fn cluster(address: SocketAddr, tls: ClientTls) -> impl Upstream {
    let selector = selector_fn(|candidates, _| candidates.at(0).cloned());
    Cluster::builder(selector).backend(address.to_string().parse().expect("an address")).tls(tls).build()
}

/// One request over a fresh connection to a plain proxy over this upstream.
async fn get(upstream: impl Upstream) -> String {
    let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let server = tokio::spawn(serve(listener, Proxy::over(upstream)).into_future());
    let mut client = tokio::net::TcpStream::connect(address).await.expect("the server listens");
    client.write_all(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await.expect("the server reads");
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut client, &mut answer).await.expect("text");
    server.abort();
    answer
}

#[tokio::test]
async fn backends_are_verified_and_know_the_proxy() {
    let (authority, other) = (Authority::new("authority"), Authority::new("other"));
    let auth = ClientAuth::required(other.pem().as_bytes()).unwrap();
    let names = certificates(&authority, &[&["a.test"]]);
    let backend = Server::start(ServerTls::builder(names).client_auth(auth).build().unwrap(), Echo);
    let shown = certificate(&other.issue(&["proxy.test"]));
    let client = |authority: &Authority, name: &str| {
        let client = ClientTls::builder().authorities(authority.pem().as_bytes()).unwrap();
        client.server_name(name).unwrap().certificate(shown.clone()).build().unwrap()
    };
    let answer = get(cluster(backend.address, client(&authority, "a.test"))).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(" proxy.test"), "{answer}");
    for wrong in [client(&authority, "b.test"), client(&other, "a.test")] {
        let answer = get(cluster(backend.address, wrong)).await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("connect_tls"), "{answer}");
    }
}

/// Says what it was asked in, and over which connection.
struct Spoken;

#[async_trait::async_trait]
impl Upstream for Spoken {
    async fn send(&self, _: Request, context: &mut Context) -> Result<Response> {
        let version = context.request().map(proxy_core::RequestHead::version);
        let port = context.peer().address.map(|address| address.port());
        Ok(Response::text(http::StatusCode::OK, format!("{version:?} {port:?}")))
    }
}

/// RFC 9113 §3.2: what is spoken is what ALPN agrees on.
#[tokio::test]
async fn alpn_says_what_backends_are_spoken_to_in() {
    let authority = Authority::new("authority");
    let client = ClientTls::builder().authorities(authority.pem().as_bytes()).unwrap().server_name("a.test").unwrap();
    let client = client.build().unwrap();
    let server = |protocols: &'static [&'static str]| {
        let names = certificates(&authority, &[&["a.test"]]);
        Server::start(ServerTls::builder(names).alpn(protocols.iter().copied()).build().unwrap(), Spoken)
    };
    let check = async |backend: &Server, http2, said: &str| {
        let selector = selector_fn(|candidates, _| candidates.at(0).cloned());
        let address = backend.address.to_string().parse().expect("an address");
        let cluster = Cluster::builder(selector).backend(address).tls(client.clone()).http2(http2).build();
        let cluster = std::sync::Arc::new(cluster);
        let answers = [get(std::sync::Arc::clone(&cluster)).await, get(cluster).await];
        assert!(answers.iter().all(|answer| answer.contains(said)), "{http2:?}: {answers:?}");
        answers.map(|answer| answer.rsplit(' ').next().unwrap_or_default().to_owned())
    };
    let (both, old, none) = (server(&["h2", "http/1.1"]), server(&["http/1.1"]), server(&[]));
    use proxy_core::UpstreamHttp2::{Always, Auto, Never};
    for (backend, http2, said) in [
        (&both, Auto, "HTTP/2.0"),
        (&both, Always, "HTTP/2.0"),
        (&both, Never, "HTTP/1.1"),
        (&old, Auto, "HTTP/1.1"),
        (&none, Auto, "HTTP/1.1"),
    ] {
        let [first, second] = check(backend, http2, said).await;
        assert_eq!(first, second, "one connection for both");
    }
    check(&old, Always, "connect_tls").await;
    check(&none, Always, "connect_http2").await;
}

#[tokio::test]
async fn a_raw_connection_is_as_secure_as_a_request() {
    let (authority, other) = (Authority::new("authority"), Authority::new("other"));
    let names = certificates(&authority, &[&["a.test"]]);
    let backend = Server::start(ServerTls::builder(names).build().unwrap(), Echo);
    let connect = async |trusted: &Authority| {
        let client = ClientTls::builder().authorities(trusted.pem().as_bytes()).unwrap();
        let cluster = cluster(backend.address, client.server_name("a.test").unwrap().build().unwrap());
        let connected = cluster.connect(None, &mut Context::internal()).await;
        connected.map(drop).map_err(|error| error.kind())
    };
    assert_eq!(connect(&authority).await, Ok(()));
    assert_eq!(connect(&other).await, Err(ErrorKind::ConnectTls));
}

#[tokio::test]
async fn openssl_is_a_backend() {
    if !have(&["openssl"]) {
        return;
    }
    let (authority, folder) = (Authority::new("authority"), Folder::new());
    let (chain, key) = authority.issue(&["a.test"]);
    let (chain, key) = (folder.write("chain.pem", &chain), folder.write("key.pem", &key));
    let address = tests::free_address();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-www", "-accept", &address.to_string(), "-cert", &chain, "-key", &key]);
    let mut backend = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("openssl runs");
    let client = ClientTls::builder().authorities(authority.pem().as_bytes()).unwrap().server_name("a.test").unwrap();
    let client = client.build().unwrap();
    let started = tokio::time::Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "openssl does not listen");
        tokio::task::yield_now().await;
    }
    let answer = get(cluster(address, client)).await;
    let _ = backend.kill();
    let _ = backend.wait();
    assert!(answer.contains("s_server"), "{answer}");
}

// What follows is `full_lb` with a configuration.

impl Folder {
    /// A certificate and its key, as a configuration names them.
    fn pair(&self, name: &str, (chain, key): &(String, String)) -> String {
        let (chain, key) = (self.write(&format!("{name}.pem"), chain), self.write(&format!("{name}.key"), key));
        format!(r#"{{ "cert": {chain:?}, "key": {key:?} }}"#)
    }

    /// Puts a file into the place of another, as tools that renew certificates do it.
    fn rename(&self, name: &str, text: &str) {
        let new = self.write("new", text);
        std::fs::rename(new, self.0.join(name)).expect("a file of its own");
    }
}

fn full_lb(config: impl FnOnce(SocketAddr) -> String) -> FullLb {
    FullLb::start(env!("CARGO_BIN_EXE_full_lb"), config)
}

/// Looks until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < std::time::Duration::from_secs(60), "{what}");
    }
}

#[tokio::test]
async fn a_file_says_how_tls_is_spoken() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let (authority, folder) = (Authority::new("authority"), Folder::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let pair = folder.pair("a", &authority.issue(&["a.test"]));
    let secrets = folder.0.join("secrets");
    let origin = examples::origin("origin", http::StatusCode::OK).expect("a free port");
    let plain = free_address();
    let lb = full_lb(|address| {
        format!(
            r#"{{ "listeners": {{
                "secure": {{ "listen": ["{address}"], "http": {{ "filters": ["hsts"], "upstream": "o" }}, "tls": {{
                    "certificates": [{pair}], "alpn": ["h2", "http/1.1"], "min_version": "1.3", "unknown_name": "refuse",
                    "handshake_timeout": "5s", "max_handshakes": 10, "tickets": false, "key_log": {secrets:?} }} }},
                "plain": {{ "listen": ["{plain}"], "http": {{ "upstream": "o",
                    "filters": [{{ "https_redirect": {{ "port": {}, "status": 301 }} }}] }} }} }},
              "upstreams": {{ "o": {{ "backends": ["{origin}"] }} }} }}"#,
            address.port()
        )
    });
    let answer = text(&curl(lb.address(), &ca, "a.test", &[]).await).to_lowercase();
    assert!(answer.starts_with("http/2 200") && answer.contains("x-forwarded-proto: https"), "{answer}");
    assert!(answer.contains("\r\nstrict-transport-security: max-age=31536000\r\n"), "{answer}");
    let shown = openssl(lb.address(), &["-servername", "a.test", "-alpn", "h2,http/1.1"]).await;
    assert!(shown.contains("ALPN protocol: h2"), "{shown}");
    assert!(!shown.contains("Post-Handshake New Session Ticket"), "{shown}");
    assert!(openssl(lb.address(), &["-servername", "a.test", "-tls1_2"]).await.contains("Cipher is (NONE)"));
    assert!(openssl(lb.address(), &["-servername", "b.test"]).await.contains("Cipher is (NONE)"));
    let secrets = std::fs::read_to_string(secrets).expect("secrets were written");
    assert!(
        secrets.starts_with("SERVER_HANDSHAKE_TRAFFIC_SECRET ") || secrets.contains("_TRAFFIC_SECRET"),
        "{secrets}"
    );

    let url = format!("http://a.test:{}/x?y", plain.port());
    let resolve = format!("a.test:{}:{}", plain.port(), plain.ip());
    let mut command = tokio::process::Command::new("curl");
    let answer = command.args(["-sSi", "--resolve", &resolve, &url]).output().await.expect("curl runs");
    let location = format!("\r\nlocation: https://a.test:{}/x?y\r\n", lb.address().port());
    let answer = text(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 301") && answer.contains(&location), "{answer}");
    assert!(!answer.contains("strict-transport-security"), "{answer}");
    lb.stop();
}

#[tokio::test]
async fn a_file_says_whose_certificates_are_taken_and_backends_are_told() {
    if !have(&["curl"]) {
        return;
    }
    let (authority, clients, folder) = (Authority::new("authority"), Authority::new("clients"), Folder::new());
    let (ca, client_ca) = (folder.write("ca.pem", &authority.pem()), folder.write("clients.pem", &clients.pem()));
    let crl = folder.write("crl.pem", &clients.revoke(42));
    let pair = folder.pair("a", &authority.issue(&["a.test"]));
    let origin = examples::origin("origin", http::StatusCode::OK).expect("a free port");
    let other = free_address();
    let lb = full_lb(|address| {
        format!(
            r#"{{ "listeners": {{
                "strict": {{ "listen": ["{address}"], "http": {{ "upstream": "o" }}, "tls": {{ "certificates": [{pair}],
                    "client_auth": {{ "ca": {client_ca:?}, "crl": {crl:?}, "forward": true }} }} }},
                "optional": {{ "listen": ["{other}"], "http": {{ "upstream": "o" }}, "tls": {{ "certificates": [{pair}],
                    "client_auth": {{ "ca": {client_ca:?}, "required": false }} }} }} }},
              "upstreams": {{ "o": {{ "backends": ["{origin}"] }} }} }}"#
        )
    });
    let client = |name: &str, serial: u64| {
        let issued = clients.issue_with(&[name], |params| params.serial_number = Some(SerialNumber::from(serial)));
        folder.pair(name, &issued);
        [folder.0.join(format!("{name}.pem")), folder.0.join(format!("{name}.key"))]
            .map(|path| path.display().to_string())
    };
    let forged = ["-H", "Client-Cert: :AA==:", "-H", "X_Client-Cert-Names: eve"];
    let ask = async |address, shown: Option<&[String; 2]>| {
        let shown = shown.map(|[cert, key]| ["--cert", cert, "--key", key]);
        let options: Vec<_> = forged.into_iter().chain(shown.into_iter().flatten()).collect();
        text(&curl(address, &ca, "a.test", &options).await).to_lowercase()
    };
    let (ada, bob) = (client("ada.test", 41), client("bob.test", 42));
    for address in [lb.address(), other] {
        let answer = ask(address, Some(&ada)).await;
        assert!(answer.contains("x-client-cert-names: ada.test\n") && answer.contains("client-cert: :mii"), "{answer}");
        assert!(!answer.contains(":aa==:") && !answer.contains("eve"), "{answer}");
    }
    // Without a handshake there is nothing but what curl says about it.
    assert!(ask(lb.address(), Some(&bob)).await.starts_with("curl: "), "revoked");
    assert!(ask(lb.address(), None).await.starts_with("curl: "), "nothing is shown");
    let answer = ask(other, None).await;
    assert!(answer.starts_with("http/2 200") && !answer.contains("client-cert") && !answer.contains("eve"), "{answer}");
    lb.stop();
}

#[tokio::test]
async fn renewed_files_are_served_and_reloads_keep_sessions() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let (authority, folder) = (Authority::new("authority"), Folder::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let pair = folder.pair("a", &authority.issue(&["a.test", "old.test"]));
    let origin = examples::origin("origin", http::StatusCode::OK).expect("a free port");
    let config = |address: SocketAddr, number: u32| {
        format!(
            r#"{{ "listeners": {{ "secure": {{ "listen": ["{address}"],
                "tls": {{ "certificates": [{pair}], "max_handshakes": {number} }}, "http": {{ "upstream": "o",
                    "filters": [{{ "headers": {{ "response": {{ "set": {{ "x-number": "{number}" }} }} }} }}] }} }} }},
              "upstreams": {{ "o": {{ "backends": ["{origin}"] }} }} }}"#
        )
    };
    let lb = full_lb(|address| config(address, 100));
    let session = folder.0.join("session").display().to_string();
    let first = openssl(lb.address(), &["-tls1_2", "-sess_out", &session]).await;
    assert!(first.contains("New, TLSv1.2"), "{first}");

    // By themselves: nobody tells it to reload.
    let (chain, key) = authority.issue(&["a.test", "new.test"]);
    folder.rename("a.key", &key);
    folder.rename("a.pem", &chain);
    until("the new certificate is not served", async || {
        openssl(lb.address(), &["-servername", "a.test"]).await.contains("CN = a.test new.test")
    })
    .await;
    // What is no good is not: all stays as it is, through a reload, too.
    folder.rename("a.key", "no key");
    lb.rewrite(&config(lb.address(), 200));
    lb.hang_up();
    let shown = openssl(lb.address(), &["-servername", "a.test"]).await;
    assert!(shown.contains("CN = a.test new.test"), "{shown}");
    folder.rename("a.key", &key);
    lb.rewrite(&config(lb.address(), 300));
    until("it is not reloaded", async || {
        text(&curl(lb.address(), &ca, "a.test", &[]).await).to_lowercase().contains("x-number: 300")
    })
    .await;
    let again = openssl(lb.address(), &["-tls1_2", "-sess_in", &session]).await;
    assert!(again.contains("Reused, TLSv1.2"), "{again}");
    lb.stop();
}

#[tokio::test]
async fn a_file_says_how_backends_are_spoken_to_and_checks_speak_so_too() {
    if !have(&["curl"]) {
        return;
    }
    let (authority, other, folder) = (Authority::new("authority"), Authority::new("other"), Folder::new());
    let (ca, wrong) = (folder.write("ca.pem", &authority.pem()), folder.write("other.pem", &other.pem()));
    let shown = folder.pair("proxy", &authority.issue(&["proxy.test"]));
    let auth = ClientAuth::required(authority.pem().as_bytes()).unwrap();
    let names = certificates(&authority, &[&["a.test"]]);
    let served = Server::start(ServerTls::builder(names).client_auth(auth).build().unwrap(), Echo);
    let backend = served.address;
    let ports = [free_address(), free_address(), free_address()];
    let lb = full_lb(|address| {
        let listener = |address: SocketAddr, name: &str| {
            format!(r#""{name}": {{ "listen": ["{address}"], "http": {{ "upstream": "{name}" }} }}"#)
        };
        let upstream = |name: &str, tls: &str, check: &str| {
            // Until a check has succeeded, it is down.
            let check = format!(r#""health_check": {{ {check}, "interval": "50ms", "fall": 1, "start": "down" }}"#);
            format!(r#""{name}": {{ "backends": ["{backend}"], "tls": {{ {tls} }}, "panic_percent": 0, {check} }}"#)
        };
        let http = r#""http": { "path": "/", "host": "a.test" }"#;
        let good = format!(r#""server_name": "a.test", "ca": {ca:?}, "certificate": {shown}"#);
        let listeners = [
            listener(address, "good"),
            listener(ports[0], "tcp"),
            listener(ports[1], "unknown"),
            listener(ports[2], "insecure"),
        ];
        let upstreams = [
            upstream("good", &good, http),
            upstream("tcp", &good, r#""tcp": {}"#),
            upstream("unknown", &format!(r#""server_name": "a.test", "ca": {wrong:?}, "certificate": {shown}"#), http),
            upstream("insecure", &format!(r#""insecure": true, "certificate": {shown}"#), r#""tcp": {}"#),
        ];
        format!(r#"{{ "listeners": {{ {} }}, "upstreams": {{ {} }} }}"#, listeners.join(","), upstreams.join(","))
    });
    let ask = async |address: SocketAddr| {
        let mut command = tokio::process::Command::new("curl");
        let command = command.args(["-sSi", "-H", "Host: a.test", &format!("http://{address}/")]);
        text(&command.output().await.expect("curl runs"))
    };
    for address in [lb.address(), ports[0], ports[2]] {
        until("a good backend is down", async || ask(address).await.ends_with("https https TLSv1.3 proxy.test")).await;
    }
    assert!(ask(ports[1]).await.starts_with("HTTP/1.1 503"), "{}", ask(ports[1]).await);
    lb.stop();
}

#[tokio::test]
async fn check_says_which_file_is_wrong_and_why() {
    let (authority, other, folder) = (Authority::new("authority"), Authority::new("other"), Folder::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let (good, stranger) = (authority.issue(&["a.test"]), authority.issue(&["b.test"]));
    let expired = authority.issue_with(&["a.test"], |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    });
    let disordered = (good.0.clone() + &other.pem(), good.1.clone());
    let pairs = [
        folder.pair("good", &(good.0.clone() + &authority.pem(), good.1.clone())),
        folder.pair("mixed", &(good.0.clone(), stranger.1)),
        folder.pair("expired", &expired),
        folder.pair("order", &disordered),
        folder.pair("empty", &(String::new(), good.1.clone())),
        folder.pair("nokey", &(good.0, "x".to_owned())),
        r#"{ "cert": "/nowhere/c.pem", "key": "/nowhere/k.pem" }"#.to_owned(),
    ];
    let config = format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "o" }}, "tls": {{
                "certificates": [{}], "client_auth": {{ "ca": {ca:?}, "crl": [{ca:?}] }} }} }} }},
            "upstreams": {{ "o": {{ "backends": ["127.0.0.1:1"], "tls": {{ "ca": "/nowhere/ca.pem" }} }} }} }}"#,
        pairs.join(", ")
    );
    let file = folder.write("lb.json", &config);
    let output = Command::new(env!("CARGO_BIN_EXE_full_lb")).args([&file, "--check"]).output().expect("it runs");
    let folder = folder.0.display();
    let expected = [
        ("certificates[1].key", format!("{folder}/mixed.key: the private key belongs to another certificate")),
        ("certificates[2].cert", format!("{folder}/expired.pem: the certificate has expired")),
        (
            "certificates[3].cert",
            format!("{folder}/order.pem: the certificate was not issued by certificate 2 of the chain"),
        ),
        (
            "certificates[4].cert",
            format!("{folder}/empty.pem: no certificate: a section `BEGIN CERTIFICATE` is expected"),
        ),
        (
            "certificates[5].key",
            format!("{folder}/nokey.key: no private key: an unencrypted section `BEGIN PRIVATE KEY` is expected"),
        ),
        ("certificates[6].cert", "/nowhere/c.pem: No such file or directory (os error 2)".to_owned()),
        ("client_auth.crl", format!("{folder}/ca.pem: no revocation list: a section `BEGIN X509 CRL` is expected")),
    ];
    let mut lines: Vec<_> = expected.map(|(key, text)| format!("{file}: listeners.web.tls.{key}: {text}")).to_vec();
    lines.push(format!("{file}: upstreams.o.tls.ca: /nowhere/ca.pem: No such file or directory (os error 2)"));
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().collect::<Vec<_>>(), lines);
    assert_eq!(output.status.code(), Some(2));
}
