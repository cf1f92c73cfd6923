//! By way of a parent: tinyproxy, Squid, and a proxy of our own for each protocol.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use proxy_core::{Listener, TcpListener, serve};
use proxy_forward::{ForwardUpstream, Parent, ParentProxy, Parents, Ports};
use tokio::net::TcpStream;

use crate::{Process, Stage, have};

/// A proxy before this parent, which reaches nothing by itself.
fn child(stage: &Stage, parent: Parent) -> String {
    let _inside = stage.runtime.enter();
    let builder = ForwardUpstream::builder().parents(Parents::default().otherwise(parent));
    let opened = ["127.0.0.0/8", "::1"].map(|range| range.parse().expect("a range"));
    let builder = opened.into_iter().fold(builder, proxy_forward::ForwardBuilder::allow_private);
    let proxy =
        builder.connect_ports(Ports::of([stage.https, 9])).build().into_proxy().build().expect("it has a route");
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = listener.local_addr().expect("an address");
    stage.runtime.spawn(serve(listener, proxy).into_future());
    format!("http://{address}")
}

fn ada(proxy: ParentProxy, password: &str) -> ParentProxy {
    proxy.credentials("ada", password).expect("credentials")
}

/// Pages come by the parent, with and without TLS; what it refuses is told; and its password goes no further. Asked for a
/// page with a wrong password, it has the client told `unknown`.
fn check(stage: &Stage, protocol: fn() -> ParentProxy, address: SocketAddr, unknown: &str) {
    let knows = child(stage, ada(protocol(), "secret").single(address.into()));
    let (plain, tls) = (format!("http://127.0.0.1:{}", stage.http), format!("https://localhost:{}", stage.https));
    for origin in [&plain, &tls, &plain, &tls] {
        assert_eq!(stage.curl(&["-x", &knows, &format!("{origin}/page")]), "the page\n", "{origin}");
        let told = stage.curl(&["-x", &knows, "-U", "eve:other", &format!("{origin}/headers")]);
        assert!(told.contains("Host: ") && !told.to_lowercase().contains("authorization"), "{told}");
    }
    let large = "x".repeat(200_000);
    assert_eq!(stage.curl(&["-x", &knows, "-d", &large[..100_000], &format!("{plain}/")]), large[..100_000]);
    let code = |proxy: &str, url: &str, variable: &str| {
        let curl = Command::new("curl").args(["-s", "-o", "/dev/null", "-x", proxy, "-w", variable, url]).output();
        String::from_utf8_lossy(&curl.expect("curl runs").stdout).into_owned()
    };
    // Nobody listens there; the parent is as good as before.
    assert_eq!(code(&knows, "https://127.0.0.1:9/", "%{http_connect}"), "502");
    assert_eq!(stage.curl(&["-x", &knows, &format!("{tls}/page")]), "the page\n");
    let stranger = child(stage, ada(protocol(), "wrong").single(address.into()));
    assert_eq!(code(&stranger, &format!("{plain}/page"), "%{http_code}"), unknown);
    assert_eq!(code(&stranger, &format!("{tls}/page"), "%{http_connect}"), "502");
}

/// Starts a parent that reads its settings, with `HOST` and `PORT` in place, from a file; on another port if that was taken.
fn start(stage: &Stage, program: &str, arguments: &[&str], settings: &str) -> (Process, SocketAddr) {
    let path = stage.folder.join(program);
    for _ in 0..5 {
        let address = tests::free_address();
        let settings = settings.replace("PORT", &address.port().to_string()).replace("HOST", &address.ip().to_string());
        fs::write(&path, settings).expect("a file of its own");
        let mut command = Command::new(program);
        command.args(arguments).arg(&path).current_dir(&stage.folder);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut process = Process(child.expect("it starts"));
        if listens(stage, &mut process, address) {
            return (process, address);
        }
    }
    panic!("{program} does not start: {}", log_of(&stage.folder));
}

/// Whether it takes connections before it ends, or half a minute has passed.
fn listens(stage: &Stage, process: &mut Process, address: SocketAddr) -> bool {
    let connected = async {
        while process.0.try_wait().expect("a child").is_none() {
            if TcpStream::connect(address).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    };
    stage.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), connected).await.unwrap_or(false) })
}

fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

#[test]
fn tinyproxy_is_a_parent() {
    if !have(&["curl", "tinyproxy"], &[]) {
        return;
    }
    let stage = Stage::start(false);
    let settings = format!(
        "Port PORT\nListen HOST\nLogFile \"{}\"\nBasicAuth ada secret\nConnectPort {}\nConnectPort 9\n",
        stage.folder.join("log").display(),
        stage.https
    );
    let (_process, address) = start(&stage, "tinyproxy", &["-d", "-c"], &settings);
    // What an origin might say as well: it is passed on.
    check(&stage, ParentProxy::http, address, "401");
}

#[test]
fn squid_is_a_parent() {
    if !have(&["curl", "squid"], &[]) {
        return;
    }
    let stage = Stage::start(false);
    let users = stage.folder.join("squid-users");
    let hash = stage.output(Command::new("openssl").args(["passwd", "-apr1", "secret"]));
    fs::write(&users, format!("ada:{hash}")).expect("a file of its own");
    open_to_all(&stage.folder);
    let (users, log) = (users.display().to_string(), stage.folder.join("log").display().to_string());
    let settings = format!(
        "http_port HOST:PORT\nauth_param basic program /usr/lib/squid/basic_ncsa_auth {users}\n\
         auth_param basic children 1\nacl known proxy_auth REQUIRED\nacl inside dst 127.0.0.0/8 ::1\n\
         http_access allow known inside\nhttp_access deny all\npid_filename none\ncache deny all\ncache_mem 1 MB\n\
         access_log none\ncache_log {log}\ncache_store_log none\nnetdb_filename none\npinger_enable off\n\
         max_filedescriptors 1024\nhosts_file /etc/hosts\nvia off\n"
    );
    let (_process, address) = start(&stage, "squid", &["-N", "-f"], &settings);
    check(&stage, ParentProxy::http, address, "502");
}

/// Started as root, Squid reads and writes as another user.
fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("our own folder");
}

#[test]
fn a_proxy_of_our_own_is_a_parent() {
    if !have(&["curl"], &[]) {
        return;
    }
    let stage = Stage::with_ports(true, |https| Ports::of([https, 9]));
    check(&stage, ParentProxy::http, stage.proxy, "502");
    let stage = Stage::with_ports(true, |_| Ports::all());
    check(&stage, ParentProxy::socks5, stage.socks, "502");
}
