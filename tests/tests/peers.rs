//! Real origins, real load, the real `full_lb`: nginx and wrk. Skipped where they are missing, unless `PROXY_REQUIRE_PEERS` is set.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tests::{FullLb, PYTHON, free_address, have, have_module};

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

/// A load balancer over these origins.
fn serve(origins: &[Origin]) -> FullLb {
    let backends: Vec<_> = origins.iter().map(|origin| format!("\"{}\"", origin.address)).collect();
    let backends = backends.join(", ");
    FullLb::start(env!("CARGO_BIN_EXE_full_lb"), |address| {
        format!(
            r#"{{ "workers": 2,
                 "listeners": {{ "web": {{ "listen": ["{address}"], "http": {{ "upstream": "api" }} }} }},
                 "upstreams": {{ "api": {{ "backends": [{backends}] }} }} }}"#
        )
    })
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
    let server = serve(&origins);
    let address = server.address();
    wait_for(address, &["one", "two", "three"]);
    let load = wrk(address, 3);
    // The kill must fall into the load: that many more requests have been served by then.
    for _ in 0..20 {
        wait_for(address, &["one"]);
    }
    origins[1].kill();
    check_clean(load);
    wait_for(address, &["one", "three"]);
    server.stop();
}

/// nginx closes each connection after so many requests: the race with the next one must not show.
#[test]
fn an_origin_that_closes_often_costs_no_request() {
    if !have(&["nginx", "wrk", "curl"]) {
        return;
    }
    let origins = [Origin::start("one", 50)];
    let server = serve(&origins);
    let address = server.address();
    wait_for(address, &["one"]);
    check_clean(wrk(address, 2));
    server.stop();
}

/// What a program says on standard output.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn clients_of_http2_are_served_on_the_port_of_http1() {
    if !have(&["nginx", "curl", "h2load", "nghttp"]) {
        return;
    }
    let origins = [Origin::start("a", 1000)];
    let full_lb = serve(&origins);
    let url = format!("http://{}/", full_lb.address());
    let version = ["-s", "-o", "/dev/null", "-w", "%{http_version} %{http_code}"];
    assert_eq!(output("curl", &[&["--http2-prior-knowledge"], &version[..], &[&url]].concat()), "2 200");
    assert_eq!(output("curl", &[&["--http1.1"], &version[..], &[&url]].concat()), "1.1 200");
    let posted = output("curl", &["-s", "--http2-prior-knowledge", "-d", "hello", &url]);
    assert_eq!(posted, "a");
    let load = output("h2load", &["-n", "5000", "-c", "4", "-m", "16", &url]);
    assert!(load.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{load}");
    assert!(output("nghttp", &["-v", &url]).contains(":status: 200"));
}

/// Another implementation of JSON Schema takes ours for one, takes the files in the tree, and refuses a slip.
#[test]
fn the_json_schema_is_one_to_others() {
    const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft202012Validator as Validator
schema = json.load(sys.stdin)
Validator.check_schema(schema)
validator = Validator(schema)
for path in sys.argv[1:]:
    config = json.load(open(path))
    validator.validate(config)
    config["listenrs"] = {}
    assert not validator.is_valid(config), path
"#;
    if !have_module("jsonschema") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let configs = ["examples/lb.json", "proxy-config/tests/data/lb.example.json"].map(|path| root.join(path));
    let mut schema = Command::new(env!("CARGO_BIN_EXE_full_lb"));
    let mut schema = schema.arg("--print-schema").stdout(Stdio::piped()).spawn().expect("full_lb starts");
    let printed = schema.stdout.take().expect("it is piped");
    let output =
        Command::new(PYTHON).args(["-c", VALIDATE]).args(configs).stdin(printed).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(schema.wait().expect("full_lb ends").success());
}
