//! TLS through real sockets, with clients and servers that are not ours: curl and openssl.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use proxy_core::tls::{Certificate, Certificates, ClientAuth, ClientTls, ServerTls, TlsVersion};
use proxy_core::{
    Cluster, Context, ErrorKind, Listener, Proxy, Request, Response, Result, Route, TcpListener, Upstream, selector_fn,
    serve,
};
use proxy_ratelimit::{Gcra, Key, Limiter, Missing, RateLimit};
use tests::{Authority, have};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::oneshot;

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

    /// What curl makes of it when it asks for this host.
    async fn curl(&self, authority: &str, host: &str, options: &[&str]) -> Output {
        let port = self.address.port();
        let resolve = format!("{host}:{port}:{}", self.address.ip());
        let url = format!("https://{host}:{port}/");
        let mut command = tokio::process::Command::new("curl");
        command.args(["-sS", "-i", "--max-time", "10", "--cacert", authority, "--resolve", &resolve]);
        command.args(options).arg(url).output().await.expect("curl runs")
    }

    /// What `openssl s_client` prints when it connects and leaves.
    async fn openssl(&self, options: &[&str]) -> String {
        let mut command = tokio::process::Command::new("openssl");
        command.args(["s_client", "-connect", &self.address.to_string()]).args(options).stdin(Stdio::null());
        let output = command.output().await.expect("openssl runs");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }
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
    let both = Server::start(ServerTls::builder(names.clone()).build().unwrap(), Echo);
    let new = Server::start(ServerTls::builder(names).oldest(TlsVersion::Tls13).build().unwrap(), Echo);
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let first = both.openssl(&[version, "-servername", "a.test", "-alpn", "http/1.1"]).await;
        assert!(first.contains(&format!("New, {name}")) && first.contains("ALPN protocol: http/1.1"), "{first}");
    }
    for version in ["-tls1", "-tls1_1"] {
        let refused = both.openssl(&[version, "-servername", "a.test"]).await;
        assert!(refused.contains("Cipher is (NONE)"), "{refused}");
    }
    assert!(new.openssl(&["-tls1_2"]).await.contains("Cipher is (NONE)"));

    let session = folder.0.join("session").display().to_string();
    let kept = both.openssl(&["-tls1_2", "-sess_out", &session]).await;
    assert!(kept.contains("New, TLSv1.2"), "{kept}");
    let again = both.openssl(&["-tls1_2", "-sess_in", &session]).await;
    assert!(again.contains("Reused, TLSv1.2"), "{again}");
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
