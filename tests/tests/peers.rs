//! Real origins, real load, real monitoring, the real `full_lb`: nginx, wrk, Prometheus. Skipped where they are missing, unless `PROXY_REQUIRE_PEERS` is set.

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
        Origin::listening("", name, requests_per_connection)
    }

    /// With further words behind `listen`.
    fn listening(words: &str, name: &str, requests_per_connection: u32) -> Self {
        let address = free_address();
        let folder = std::env::temp_dir().join(format!("proxy-peers-{}-{}", std::process::id(), address));
        std::fs::create_dir_all(&folder).expect("a folder of its own");
        std::fs::write(
            folder.join("nginx.conf"),
            configuration(&folder, &format!("{address} {words}"), name, requests_per_connection),
        )
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

fn configuration(folder: &Path, listen: &str, name: &str, requests: u32) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log crit;
         events {{ worker_connections 1000; }}
         http {{
           access_log off; keepalive_requests {requests};
           client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
           uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
           server {{ listen {listen}; location / {{ return 200 {name}; }} }}
         }}"
    )
}

/// A load balancer over these origins.
fn serve(origins: &[Origin]) -> FullLb {
    serve_over(origins, "")
}

/// The same with further keys of the upstream.
fn serve_over(origins: &[Origin], keys: &str) -> FullLb {
    let backends: Vec<_> = origins.iter().map(|origin| format!("\"{}\"", origin.address)).collect();
    let backends = backends.join(", ");
    FullLb::start(env!("CARGO_BIN_EXE_full_lb"), |address| {
        format!(
            r#"{{ "workers": 2,
                 "listeners": {{ "web": {{ "listen": ["{address}"], "http": {{ "upstream": "api" }} }} }},
                 "upstreams": {{ "api": {{ "backends": [{backends}] {keys} }} }} }}"#
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

/// A load balancer with metrics and an access log; where it shows them, and the log.
fn serve_observed(origin: SocketAddr) -> (FullLb, SocketAddr, PathBuf) {
    let admin = free_address();
    let log = std::env::temp_dir().join(format!("proxy-peers-{}-{}.log", std::process::id(), admin));
    let server = FullLb::start(env!("CARGO_BIN_EXE_full_lb"), |address| {
        format!(
            r#"{{ "workers": 2,
                 "admin": {{ "listen": "{admin}" }},
                 "access_log": {{ "path": {log:?} }},
                 "listeners": {{ "web": {{ "listen": ["{address}"], "http": {{ "upstream": "api" }} }} }},
                 "upstreams": {{ "api": {{ "backends": ["{origin}"] }} }} }}"#
        )
    });
    (server, admin, log)
}

fn curl(url: &str) -> String {
    let output = Command::new("curl").args(["-sg", "--max-time", "30", url]).output().expect("curl runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How many requests wrk sent, those among them whose answer it did not wait for in the end. It asks its script for one
/// more, to look at it.
fn wrk_sent(address: SocketAddr) -> u64 {
    let script = std::env::temp_dir().join(format!("proxy-peers-{}-{}.lua", std::process::id(), address));
    let lua = "local all = {}
        function setup(thread) table.insert(all, thread) end
        function init() sent = 0 end
        function request() sent = sent + 1 return wrk.format() end
        function done() local sum = 0 for _, thread in ipairs(all) do sum = sum + thread:get('sent') end print('sent ' .. sum - 1) end";
    std::fs::write(&script, lua).expect("a file of its own");
    let mut command = Command::new("wrk");
    command.args(["-t2", "-c32", "-d2s", "-s"]).arg(&script).arg(format!("http://{address}/"));
    let output = command.output().expect("wrk runs");
    let _ = std::fs::remove_file(&script);
    let text = String::from_utf8_lossy(&output.stdout);
    let sent = text.lines().find_map(|line| line.strip_prefix("sent ")?.parse().ok());
    sent.unwrap_or_else(|| panic!("{text}"))
}

/// The sum of the series of this metric.
fn sum(metrics: &str, name: &str) -> u64 {
    let series = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    series.map(|line| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<u64>().ok()).expect("a count")).sum()
}

/// The metrics once everything has ended that was sent.
fn settled(admin: SocketAddr, sent: u64) -> String {
    for _ in 0..1000 {
        let metrics = curl(&format!("http://{admin}/metrics"));
        if sum(&metrics, "proxy_requests_total") >= sent && sum(&metrics, "proxy_requests_in_flight") == 0 {
            return metrics;
        }
    }
    panic!("{sent} sent, and this is what was seen:\n{}", curl(&format!("http://{admin}/metrics")));
}

#[test]
fn every_request_that_wrk_sends_is_counted_and_logged_once() {
    if !have(&["nginx", "wrk", "curl"]) {
        return;
    }
    let origins = [Origin::start("one", 1_000_000)];
    let (server, admin, log) = serve_observed(origins[0].address);
    wait_for(server.address(), &["one"]);
    let before = sum(&settled(admin, 1), "proxy_requests_total");
    let sent = wrk_sent(server.address()) + before;
    let metrics = settled(admin, sent);
    assert_eq!(sum(&metrics, "proxy_requests_total"), sent);
    assert_eq!(sum(&metrics, "proxy_request_duration_seconds_count"), sent);
    assert_eq!(sum(&metrics, "proxy_backend_attempts_total"), sent);
    // What is under way when it stops goes into the log's last batch.
    server.stop();
    let lines = std::fs::read_to_string(&log).expect("a log");
    std::fs::remove_file(&log).expect("a log");
    assert_eq!(lines.lines().count() as u64, sent);
    assert!(lines.lines().all(|line| line.starts_with("{\"time\":\"") && line.ends_with('}')));
}

/// A Prometheus that scrapes this address every 200 ms; killed when it is dropped.
struct Prometheus {
    process: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Prometheus {
    fn scraping(admin: SocketAddr) -> Self {
        let address = free_address();
        let folder = std::env::temp_dir().join(format!("proxy-prometheus-{}-{}", std::process::id(), address));
        std::fs::create_dir_all(&folder).expect("a folder of its own");
        let config = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\n\
             scrape_configs: [{{ job_name: proxy, static_configs: [{{ targets: ['{admin}'] }}] }}]\n"
        );
        std::fs::write(folder.join("prometheus.yml"), config).expect("a file of its own");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={address}")).stderr(Stdio::null());
        Prometheus { process: command.spawn().expect("it starts"), folder, address }
    }

    /// Asks until the answer is this one number.
    fn wait_for(&self, query: &str, expected: u64) {
        let url = format!("http://{}/api/v1/query?query={query}", self.address);
        let value = format!(",\"{expected}\"]");
        let mut answer = String::new();
        for _ in 0..2000 {
            answer = curl(&url);
            if answer.contains("\"status\":\"success\"") && answer.contains(&value) {
                return;
            }
        }
        panic!("{query} is not {expected}: {answer}");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn prometheus_scrapes_what_was_sent() {
    if !have(&["nginx", "wrk", "curl", "prometheus", "promtool"]) {
        return;
    }
    let origins = [Origin::start("one", 1_000_000)];
    let (server, admin, log) = serve_observed(origins[0].address);
    wait_for(server.address(), &["one"]);
    let before = sum(&settled(admin, 1), "proxy_requests_total");
    let sent = wrk_sent(server.address()) + before;
    let metrics = settled(admin, sent);
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool runs");
    std::io::Write::write_all(&mut promtool.stdin.take().expect("it reads"), metrics.as_bytes()).expect("it reads");
    let said = promtool.wait_with_output().expect("it ends");
    assert!(said.status.success() && said.stderr.is_empty() && said.stdout.is_empty(), "{said:?}");

    let prometheus = Prometheus::scraping(admin);
    prometheus.wait_for("sum(proxy_requests_total)", sent);
    prometheus.wait_for("sum(proxy_request_duration_seconds_bucket{le=\"%2BInf\"})", sent);
    prometheus.wait_for("sum(proxy_backend_up)", 1);
    prometheus.wait_for("count(proxy_build_info)", 1);
    drop(prometheus);
    server.stop();
    let _ = std::fs::remove_file(&log);
}

fn monitoring(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/monitoring").join(file)
}

fn promtool(arguments: &[&str], file: &Path) {
    let output = Command::new("promtool").args(arguments).arg(file).output().expect("promtool runs");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{arguments:?} {}: {said:?}", file.display());
}

/// The expressions of a Grafana dashboard.
fn expressions(value: &serde_json::Value) -> Vec<String> {
    let members = value.as_object().into_iter().flatten();
    let own =
        members.clone().filter_map(|(key, value)| (key == "expr").then(|| value.as_str().map(str::to_owned)).flatten());
    let below = members.map(|(_, value)| value).chain(value.as_array().into_iter().flatten());
    own.chain(below.flat_map(expressions)).collect()
}

#[test]
fn alerts_and_grafana_ask_for_what_there_is() {
    let catalogue = include_str!("../../proxy-metrics/METRICS.md");
    let (alerts, grafana) = (monitoring("alerts.yml"), monitoring("grafana.json"));
    let grafana: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(grafana).expect("it is there")).expect("it is JSON");
    let asked = expressions(&grafana);
    assert!(asked.len() > 20, "{asked:?}");
    let all = format!("{}\n{}", std::fs::read_to_string(&alerts).expect("it is there"), asked.join("\n"));
    let words = all.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for name in words.filter(|word| word.starts_with("proxy_") || word.starts_with("process_")) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(catalogue.contains(&format!("`{base}`")), "{name} is no metric");
    }
    if !have(&["promtool"]) {
        return;
    }
    promtool(&["check", "rules"], &alerts);
    promtool(&["test", "rules"], &monitoring("alerts.test.yml"));
    promtool(&["check", "config"], &monitoring("prometheus.yml"));
    // As rules, so that promtool reads them.
    let rules: Vec<_> = asked.iter().enumerate().map(|(index, expression)| {
        serde_json::json!({ "record": format!("panel:{index}"), "expr": expression.replace("$__rate_interval", "5m") })
    }).collect();
    let file = std::env::temp_dir().join(format!("proxy-grafana-{}.yml", std::process::id()));
    let groups = serde_json::json!({ "groups": [{ "name": "grafana", "rules": rules }] });
    std::fs::write(&file, groups.to_string()).expect("a file of its own");
    promtool(&["check", "rules"], &file);
    std::fs::remove_file(&file).expect("a file of its own");
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
    // The origin answers before it has the body: curl takes a reset for a failure, however good the answer.
    let body = "x".repeat(100_000);
    for _ in 0..20 {
        assert_eq!(output("curl", &["-s", "--http2-prior-knowledge", "-d", &body, &url]), "a");
    }
    let load = output("h2load", &["-n", "5000", "-c", "4", "-m", "16", &url]);
    assert!(load.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{load}");
    assert!(output("nghttp", &["-v", &url]).contains(":status: 200"));
}

/// An origin of another make, which ends its connections by GOAWAY after every hundred requests: none fails.
#[test]
fn nginx_is_a_backend_of_http2() {
    if !have(&["nginx", "curl", "h2load"]) {
        return;
    }
    let origins = [Origin::listening("http2", "a", 100)];
    let full_lb = serve_over(&origins, r#", "http2": "always""#);
    let url = format!("http://{}/", full_lb.address());
    assert_eq!(output("curl", &["-s", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", &url]), "a");
    for version in [&["-m", "16"][..], &["--h1"]] {
        let load = output("h2load", &[&["-n", "5000", "-c", "8"], version, &[&url]].concat());
        assert!(load.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{load}");
    }
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
