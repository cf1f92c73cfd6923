//! Real origins, real load: nginx and wrk. Skipped where they are missing, unless `PROXY_REQUIRE_PEERS` is set.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use proxy_config::{Config, Server};

/// Whether the programs are there; `false` skips the test.
fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| !exists(program)).collect();
    let required = std::env::var_os("PROXY_REQUIRE_PEERS").is_some();
    assert!(missing.is_empty() || !required, "not installed: {missing:?}");
    if !missing.is_empty() {
        eprintln!("skipped: {missing:?} not installed");
    }
    missing.is_empty()
}

fn exists(program: &str) -> bool {
    let found = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok()
}

/// One nginx process that answers everything; killed when it is dropped.
struct Origin {
    process: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Origin {
    fn start(name: &str, requests_per_connection: u32) -> Self {
        let address = free_address();
        let folder = std::env::temp_dir().join(format!("proxy-peers-{}-{}", std::process::id(), address.port()));
        std::fs::create_dir_all(&folder).expect("a folder of its own");
        std::fs::write(folder.join("nginx.conf"), configuration(&folder, address, name, requests_per_connection))
            .expect("a file of its own");
        let log = folder.join("error.log");
        let process = Command::new("nginx").arg("-e").arg(&log).arg("-c").arg(folder.join("nginx.conf")).spawn();
        Origin { process: process.expect("nginx starts"), folder, address }
    }

    /// As `kill -9` does. It has no worker process of its own to leave behind.
    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// An address nobody listens on. Another process may take it before nginx does, which is unlikely.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

fn configuration(folder: &Path, address: SocketAddr, name: &str, requests: u32) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log crit;
         events {{ worker_connections 1000; }}
         http {{
           access_log off; keepalive_requests {requests};
           client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
           uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
           server {{ listen {address}; location / {{ return 200 {name}; }} }}
         }}"
    )
}

/// A server over these origins on two workers, until the sender is dropped.
fn serve(origins: &[Origin]) -> (SocketAddr, tokio::sync::oneshot::Sender<()>, std::thread::JoinHandle<()>) {
    let backends: Vec<_> = origins.iter().map(|origin| format!("\"{}\"", origin.address)).collect();
    let text = format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api" }} }} }},
             "upstreams": {{ "api": {{ "backends": [{}] }} }} }}"#,
        backends.join(", ")
    );
    let config: Config = text.parse().expect("a valid configuration");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let server = Server::start(&config).expect("port 0 is free");
            tell.send(server.addresses()[0].1).expect("the test waits for it");
            server.run(async { drop(stopped.await) }).await;
        });
    });
    (told.recv().expect("the server is bound"), stop, thread)
}

/// Answers until all of these names have been heard.
fn wait_for(address: SocketAddr, names: &[&str]) {
    let mut heard = std::collections::HashSet::new();
    for _ in 0..500 {
        let output = Command::new("curl").args(["-s", &format!("http://{address}/")]).output().expect("curl runs");
        heard.insert(String::from_utf8_lossy(&output.stdout).into_owned());
        if names.iter().all(|name| heard.contains(*name)) {
            return;
        }
    }
    panic!("heard only {heard:?}");
}

fn wrk(address: SocketAddr, seconds: u32) -> Child {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", &format!("-d{seconds}s"), &format!("http://{address}/")]);
    command.stdout(Stdio::piped()).spawn().expect("wrk runs")
}

fn check_clean(wrk: Child) {
    let output = wrk.wait_with_output().expect("wrk ends by itself");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("requests in"), "{text}");
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
}

#[test]
fn a_killed_origin_costs_no_request() {
    if !have(&["nginx", "wrk", "curl"]) {
        return;
    }
    let mut origins = ["one", "two", "three"].map(|name| Origin::start(name, 1000));
    let (address, stop, thread) = serve(&origins);
    wait_for(address, &["one", "two", "three"]);
    let load = wrk(address, 3);
    // The kill must fall into the load: that many more requests have been served by then.
    for _ in 0..20 {
        wait_for(address, &["one"]);
    }
    origins[1].kill();
    check_clean(load);
    wait_for(address, &["one", "three"]);
    drop(stop);
    thread.join().expect("the server ends without a panic");
}

/// nginx closes each connection after so many requests: the race with the next one must not show.
#[test]
fn an_origin_that_closes_often_costs_no_request() {
    if !have(&["nginx", "wrk", "curl"]) {
        return;
    }
    let origins = [Origin::start("one", 50)];
    let (address, stop, thread) = serve(&origins);
    wait_for(address, &["one"]);
    check_clean(wrk(address, 2));
    drop(stop);
    thread.join().expect("the server ends within its drain time");
}
