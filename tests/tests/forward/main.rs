//! Forward proxies under real clients and before real parents: curl, wget, git and the clients of Python, before local origins with and without
//! TLS. Skipped where the programs are missing, unless `PROXY_REQUIRE_PEERS` is set.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proxy_core::testing::Recorder;
use proxy_core::{Listener, TcpListener, serve};
use proxy_forward::{BasicAuth, ForwardUpstream, PasswordFile, Ports, SocksListener};
use tokio::runtime::Runtime;

mod browser;
mod parents;

/// Debian's Python, whose modules are Debian packages.
const PYTHON: &str = "/usr/bin/python3";

/// `ada:secret`, at the least cost there is.
const USERS: &str = "ada:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";

/// Whether these programs are there, and these modules of Python; `false` skips the test.
fn have(programs: &[&str], modules: &[&str]) -> bool {
    let quiet = |command: &mut Command| {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.ok().map(|status| status.success())
    };
    let programs = programs.iter().chain([&PYTHON, &"openssl"]);
    let missing =
        programs.filter(|program| quiet(Command::new(program).arg("--help")).is_none()).map(|it| (*it).to_owned());
    let lacks = |module: &&&str| quiet(Command::new(PYTHON).args(["-c", &format!("import {module}")])) != Some(true);
    let missing: Vec<_> = missing.chain(modules.iter().filter(lacks).map(|it| format!("python3-{it}"))).collect();
    let required = std::env::var_os("PROXY_REQUIRE_PEERS").is_some();
    assert!(missing.is_empty() || !required, "not installed: {missing:?}");
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} not installed");
    }
    missing.is_empty()
}

/// Serves a folder, and says on which port; with a certificate over TLS.
const ORIGIN: &str = r#"
import functools, http.server, ssl, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        if self.path != "/headers":
            return super().do_GET()
        body = str(self.headers).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=sys.argv[1]))
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

/// A process that is ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that is served with and without TLS, and proxies before it.
struct Stage {
    folder: PathBuf,
    http: u16,
    https: u16,
    proxy: SocketAddr,
    socks: SocketAddr,
    recorder: Recorder,
    _origins: [Process; 2],
    runtime: Runtime,
}

fn origin(arguments: &[&Path]) -> (Process, u16) {
    let mut command = Command::new(PYTHON);
    command.args(["-c", ORIGIN]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("python starts");
    let mut line = String::new();
    let output = child.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("it says its port");
    (Process(child), line.trim().parse().expect("a port"))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Stage {
    /// With users, both proxies ask for a name and a password.
    fn start(authenticates: bool) -> Self {
        Stage::with_ports(authenticates, |https| Ports::of([https]))
    }

    /// The same with these ports open to tunnels.
    fn with_ports(authenticates: bool, ports: fn(u16) -> Ports) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("proxy-forward-{}-{number}", std::process::id()));
        let served = folder.join("served");
        std::fs::create_dir_all(&served).expect("a folder of its own");
        std::fs::write(served.join("page"), "the page\n").expect("a file of its own");
        std::fs::write(folder.join("users"), USERS).expect("a file of its own");
        let certificate = folder.join("certificate.pem");
        run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(&certificate)
            .arg("-out")
            .arg(folder.join("public.pem")));
        // One file with both, as the origin reads it.
        let both =
            [&certificate, &folder.join("public.pem")].map(|path| std::fs::read(path).expect("openssl wrote it"));
        std::fs::write(&certificate, both.concat()).expect("a file of its own");
        let (http_process, http) = origin(&[&served]);
        let (https_process, https) = origin(&[&served, &certificate]);
        let recorder = Recorder::new("r");
        let runtime = Runtime::new().expect("a runtime");
        let users = authenticates.then(|| folder.join("users"));
        let (proxy, socks) = runtime.block_on(proxies(&ports(https), users.as_deref(), &recorder));
        Stage { folder, http, https, proxy, socks, recorder, _origins: [http_process, https_process], runtime }
    }

    /// Runs a program without the proxies of the environment, and returns what it printed.
    #[track_caller]
    fn output(&self, command: &mut Command) -> String {
        for name in
            ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]
        {
            command.env_remove(name);
        }
        let output = command.current_dir(&self.folder).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command:?}: {printed} {said}");
        printed.into_owned()
    }

    /// Waits until so many requests and tunnels have ended, and no more.
    #[track_caller]
    fn expect(&self, count: usize) {
        assert_eq!(self.runtime.block_on(self.recorder.wait_for(count)).len(), count);
    }

    #[track_caller]
    fn curl(&self, arguments: &[&str]) -> String {
        self.output(Command::new("curl").args(["-s", "--max-time", "20", "--cacert", "public.pem"]).args(arguments))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A forward proxy and one of SOCKS, which may reach this machine.
async fn proxies(ports: &Ports, users: Option<&Path>, recorder: &Recorder) -> (SocketAddr, SocketAddr) {
    let upstream = || {
        let opened = ["127.0.0.0/8", "::1"].map(|range| range.parse().expect("a range"));
        let builder = opened.into_iter().fold(ForwardUpstream::builder(), proxy_forward::ForwardBuilder::allow_private);
        builder.connect_ports(ports.clone()).build()
    };
    let users = users.map(|path| Arc::new(PasswordFile::load(path).expect("a file of users")));
    let proxy = || {
        let builder = upstream().into_proxy().filter(recorder.clone());
        let builder = match &users {
            Some(users) => builder.filter(BasicAuth::shared(Arc::<PasswordFile>::clone(users))),
            None => builder,
        };
        builder.build().expect("it has a route")
    };
    let bind = || TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let listener = bind();
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener, proxy()).into_future());
    let socks = SocksListener::new(bind());
    let socks = match &users {
        Some(users) => socks.credentials(Arc::<PasswordFile>::clone(users)),
        None => socks,
    };
    let socks_address = socks.local_addr().expect("an address");
    tokio::spawn(serve(socks, proxy()).into_future());
    (address, socks_address)
}

#[test]
fn curl_goes_through() {
    if !have(&["curl"], &[]) {
        return;
    }
    let stage = Stage::start(false);
    let (plain, tls) =
        (format!("http://127.0.0.1:{}/page", stage.http), format!("https://localhost:{}/page", stage.https));
    let (proxy, socks) = (format!("http://{}", stage.proxy), stage.socks.to_string());
    let mut tunnels = 0;
    for (arguments, url) in [
        (vec!["-x", &proxy], &plain),
        (vec!["-x", &proxy], &tls),
        (vec!["-x", &proxy, "--proxytunnel"], &tls),
        (vec!["-x", &proxy, "--proxy1.0", &stage.proxy.to_string()], &tls),
        (vec!["--socks5", &socks], &tls),
        (vec!["--socks5-hostname", &socks], &tls),
        (vec!["--socks4a", &socks], &tls),
    ] {
        assert_eq!(stage.curl(&[&arguments[..], &[url]].concat()), "the page\n", "{arguments:?} {url}");
        tunnels += usize::from(url == &tls);
    }
    stage.expect(tunnels + 1);
    // A body, and two requests over one connection to the proxy.
    assert_eq!(stage.curl(&["-x", &proxy, "-d", "a body", &plain]), "a body");
    let twice = stage.curl(&["-x", &proxy, "-w", "%{num_connects} ", &plain, &plain]);
    assert_eq!(twice, "the page\n1 the page\n0 ");
    // A port that is not open, and a name for this machine that was not opened to.
    let code = |url: &str, variable: &str| {
        let curl = Command::new("curl").args(["-s", "-o", "/dev/null", "-x", &proxy, "-w", variable, url]).output();
        String::from_utf8_lossy(&curl.expect("curl runs").stdout).into_owned()
    };
    assert_eq!(code(&format!("https://localhost:{}/", stage.http), "%{http_connect}"), "403");
    assert_eq!(code("http://10.0.0.1/", "%{http_code}"), "403");
    assert_eq!(code("http://no-such-host.invalid/", "%{http_code}"), "502");
    let refused = Command::new("curl").args(["-s", "--socks5-hostname", &socks, "http://10.0.0.1/"]).status();
    assert_eq!(refused.expect("curl runs").code(), Some(97));
}

#[test]
fn curl_authenticates() {
    if !have(&["curl"], &[]) {
        return;
    }
    let stage = Stage::start(true);
    let (plain, tls) =
        (format!("http://127.0.0.1:{}/page", stage.http), format!("https://localhost:{}/page", stage.https));
    let (proxy, socks) = (format!("http://{}", stage.proxy), stage.socks.to_string());
    for (arguments, url) in [
        (vec!["-x", &proxy, "-U", "ada:secret"], &plain),
        (vec!["-x", &proxy, "-U", "ada:secret"], &tls),
        (vec!["-x", &proxy, "-U", "ada:secret", "--proxy-anyauth"], &tls),
        (vec!["--socks5", &socks, "-U", "ada:secret"], &tls),
        (vec!["--socks5-hostname", &socks, "-U", "ada:secret"], &tls),
    ] {
        assert_eq!(stage.curl(&[&arguments[..], &[url]].concat()), "the page\n", "{arguments:?} {url}");
    }
    let code = |arguments: &[&str], variable: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", variable]).args(arguments);
        String::from_utf8_lossy(&curl.output().expect("curl runs").stdout).into_owned()
    };
    assert_eq!(code(&["-x", &proxy, &plain], "%{http_code}"), "407");
    assert_eq!(code(&["-x", &proxy, "-U", "ada:wrong", &plain], "%{http_code}"), "407");
    assert_eq!(code(&["-x", &proxy, "-U", "eve:secret", &tls], "%{http_connect}"), "407");
    let wrong = Command::new("curl").args(["-s", "--socks5", &socks, "-U", "ada:wrong", &tls]).status();
    assert_eq!(wrong.expect("curl runs").code(), Some(97));
}

#[test]
fn wget_goes_through() {
    if !have(&["wget"], &[]) {
        return;
    }
    let stage = Stage::start(false);
    let proxies = [format!("http_proxy=http://{}", stage.proxy), format!("https_proxy=http://{}", stage.proxy)];
    for url in [format!("http://127.0.0.1:{}/page", stage.http), format!("https://localhost:{}/page", stage.https)] {
        let mut wget = Command::new("wget");
        wget.args(["-qO-", "--tries=1", "--ca-certificate=public.pem", "-e", "use_proxy=yes"]);
        wget.args(proxies.iter().flat_map(|proxy| ["-e", proxy])).arg(&url);
        assert_eq!(stage.output(&mut wget), "the page\n", "{url}");
    }
    stage.expect(2);
}

/// Prints a line for each client that got the page.
const CLIENTS: &str = r#"
import asyncio, ssl, sys, urllib.request
import aiohttp, httpx, requests
proxy, socks, plain, tls = sys.argv[1:]
context = ssl.create_default_context(cafile="public.pem")
def check(client, body):
    assert body == "the page\n", (client, body)
    print(client)
handlers = urllib.request.ProxyHandler({"http": proxy, "https": proxy}), urllib.request.HTTPSHandler(context=context)
opener = urllib.request.build_opener(*handlers)
with requests.Session() as session:
    for url in plain, tls, plain, tls:
        check("urllib", opener.open(url, timeout=20).read().decode())
        proxies = {"http": proxy, "https": proxy}
        check("requests", session.get(url, proxies=proxies, verify="public.pem", timeout=20).text)
for scheme in "socks5", "socks5h":
    proxies = {"https": f"{scheme}://{socks}"}
    check(scheme, requests.get(tls, proxies=proxies, verify="public.pem", timeout=20).text)
with httpx.Client(proxies=proxy, verify="public.pem", timeout=20) as client:
    for url in plain, tls, plain, tls:
        check("httpx", client.get(url).text)
async def with_aiohttp():
    async with aiohttp.ClientSession() as session:
        for url in plain, tls, plain, tls:
            async with session.get(url, proxy=proxy, ssl=context) as response:
                check("aiohttp", await response.text())
asyncio.run(with_aiohttp())
"#;

#[test]
fn clients_of_python_go_through() {
    if !have(&[], &["requests", "socks", "httpx", "aiohttp"]) {
        return;
    }
    let stage = Stage::start(false);
    let mut python = Command::new(PYTHON);
    python.args(["-W", "ignore", "-c", CLIENTS, &format!("http://{}", stage.proxy), &stage.socks.to_string()]);
    python.arg(format!("http://127.0.0.1:{}/page", stage.http)).arg(format!("https://localhost:{}/page", stage.https));
    let printed = stage.output(&mut python);
    for (client, count) in [("urllib", 4), ("requests", 4), ("socks5", 1), ("socks5h", 1), ("httpx", 4), ("aiohttp", 4)]
    {
        assert_eq!(printed.lines().filter(|line| *line == client).count(), count, "{client} in {printed}");
    }
}

#[test]
fn git_clones_over_https() {
    if !have(&["git"], &[]) {
        return;
    }
    let stage = Stage::start(false);
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=nobody", "-c", "user.email=nobody@example.com", "-c", "init.defaultBranch=main"]);
        stage.output(
            git.env("GIT_CONFIG_NOSYSTEM", "1")
                .env("HOME", &stage.folder)
                .env("GIT_SSL_CAINFO", "public.pem")
                .args(arguments),
        );
    };
    git(&["init", "-q", "work"]);
    git(&["-C", "work", "commit", "-q", "--allow-empty", "-m", "one"]);
    git(&["clone", "-q", "--bare", "work", "served/work.git"]);
    git(&["-C", "served/work.git", "update-server-info"]);
    let (proxy, url) =
        (format!("http.proxy=http://{}", stage.proxy), format!("https://localhost:{}/work.git", stage.https));
    git(&["-c", &proxy, "clone", "-q", &url, "cloned"]);
    git(&["-C", "cloned", "log", "--oneline", "main"]);
    stage.runtime.block_on(stage.recorder.outcome());
}
