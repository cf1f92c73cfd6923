//! Lines for requests, through whole proxies in memory.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector, TestProxy};
use proxy_core::{Proxy, RequestId, Route, TraceContext, filter_fn};
use proxy_metrics::{AccessLog, AccessLogBuilder, LogFormat, LogTarget, Metrics};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no holder panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kept {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("no holder panicked");
        String::from_utf8(bytes.clone()).expect("lines are text").lines().map(str::to_owned).collect()
    }
}

fn logged_by(log: &AccessLog) -> TestProxy {
    logged_at(log, &ScriptedConnector::always(Script::ok()))
}

fn logged_at(log: &AccessLog, origins: &ScriptedConnector) -> TestProxy {
    let proxy =
        Proxy::builder().observer(log.clone()).filter(RequestId::new().with_seed(1)).filter(TraceContext::new());
    let proxy = proxy.upstream("api", origins.cluster()).route(Route::to("api").named("all"));
    TestProxy::new(proxy.build().expect("the route names the upstream"))
}

async fn exchange(proxy: &TestProxy, request: &str) -> u16 {
    let mut client = proxy.connect();
    client.send(request).await;
    client.read_response().await.status()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// The lines of these requests.
async fn lines(format: LogFormat, requests: &[&str]) -> Vec<String> {
    let kept = Kept::default();
    let log = AccessLog::builder(format).open(LogTarget::writer(kept.clone())).expect("a thread");
    for request in requests {
        exchange(&logged_by(&log), request).await;
    }
    assert!(log.flush(PATIENCE));
    kept.lines()
}

#[tokio::test(start_paused = true)]
async fn json_says_it_all() {
    let request = "POST /a%20b?c=\"d\" HTTP/1.1\r\nHost: Api.example\r\nTraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nUser-Agent: a\tb\\\r\nReferer: \u{e9}\r\nContent-Length: 2\r\n\r\nhi";
    let lines = lines(LogFormat::json(), &[request]).await;
    let line: Value = serde_json::from_str(&lines[0]).expect("it is JSON");
    let expected = json!({
        "client": "192.0.2.1", "method": "POST", "target": "/a%20b?c=\"d\"", "protocol": "HTTP/1.1", "status": 200,
        "route": "all", "upstream": "api", "attempts": 1, "received": 2, "reason": "ok", "code": null,
        "user_agent": "a\tb\\", "referer": "\u{e9}", "listener": null, "queue": 0.0, "connect": 0.0, "first_byte": 0.0,
        "total": 0.0, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&line[name], value, "{name} in {line}");
    }
    assert_eq!(line["host"].as_str().map(str::to_lowercase).as_deref(), Some("api.example"));
    assert_eq!(line["id"].as_str().map(str::len), Some(32), "{line}");
    assert!(line["sent"].as_u64() > Some(20) && line["backend"].is_string(), "{line}");
    let time = line["time"].as_str().expect("a time");
    assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{time}");
}

#[tokio::test(start_paused = true)]
async fn text_formats() {
    let request = "GET /a?b HTTP/1.1\r\nHost: h\r\nUser-Agent: x \"y\"\r\nX-Tenant: t\r\n\r\n";
    let template =
        LogFormat::template("$client $method ${target} $$ ${header:x-tenant} ${header:x-none} $reason $code");
    let by_template = lines(template.expect("a template"), &[request, "GET / HTTP/1.1\r\n\r\n"]).await;
    assert_eq!(by_template, ["192.0.2.1 GET /a?b $ t - ok -", "192.0.2.1 - - $ - - client/head host_missing",]);
    let combined = lines(LogFormat::combined(), &[request]).await;
    let line = &combined[0];
    assert!(line.starts_with("192.0.2.1 - - [") && line.contains(" +0000] \"GET /a?b HTTP/1.1\" 200 "), "{line}");
    assert!(line.ends_with(" \"-\" \"x \\x22y\\x22\""), "{line}");
    let common = lines(LogFormat::common(), &[request]).await;
    assert!(common[0].contains("\"GET /a?b HTTP/1.1\" 200 ") && !common[0].contains('x'), "{common:?}");
}

#[tokio::test(start_paused = true)]
async fn errors_and_slow_requests_are_logged_whatever_the_sample() {
    let kept = Kept::default();
    let builder = AccessLog::builder(LogFormat::template("$status").expect("a template"));
    let log = builder.sample(0.0).slow(Duration::from_secs(2)).open(LogTarget::writer(kept.clone())).expect("a thread");
    let answer = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    let origins = ScriptedConnector::in_turn([
        Script::new().read_request().answer(answer("200 OK")).close(),
        Script::new().read_request().answer(answer("404 Not Found")).close(),
        Script::new().read_request().answer(answer("503 Busy")).close(),
        Script::new().read_request().wait(Duration::from_secs(3)).answer(answer("201 Created")).close(),
    ]);
    let proxy = logged_at(&log, &origins);
    for expected in [200, 404, 503, 201] {
        assert_eq!(exchange(&proxy, GET).await, expected);
    }
    assert!(log.flush(PATIENCE));
    assert_eq!(kept.lines(), ["503", "201"]);
}

#[tokio::test(start_paused = true)]
async fn a_sample_is_a_share() {
    let kept = Kept::default();
    let builder = AccessLog::builder(LogFormat::template("x").expect("a template")).sample(0.25).seed(7);
    let log = builder.open(LogTarget::writer(kept.clone())).expect("a thread");
    let proxy = logged_by(&log);
    let mut client = proxy.connect();
    for _ in 0..400 {
        client.send(GET).await;
        assert_eq!(client.read_response().await.status(), 200);
    }
    assert!(log.flush(PATIENCE));
    let lines = kept.lines().len();
    assert!((70..130).contains(&lines), "{lines} of 400");
}

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("proxy-metrics-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).expect("the file is there")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_moved_away_is_opened_anew() {
    let folder = Folder::new("reopen");
    let path = folder.0.join("access.log");
    let format = LogFormat::template("$target").expect("a template");
    let log = AccessLog::builder(format).open(LogTarget::File(path.clone())).expect("a file");
    let proxy = logged_by(&log);
    exchange(&proxy, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(log.flush(PATIENCE));
    std::fs::rename(&path, folder.0.join("access.log.1")).expect("it is moved");
    exchange(&proxy, "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    log.reopen();
    assert!(log.flush(PATIENCE));
    exchange(&proxy, "GET /3 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(log.flush(PATIENCE));
    assert_eq!((folder.read("access.log.1"), folder.read("access.log")), ("/1\n/2\n".into(), "/3\n".into()));
    assert!(AccessLog::builder(LogFormat::json()).open(LogTarget::File(folder.0.join("no/such"))).is_err());
}

/// The device that is always full: every request is served, every line counted as lost.
#[tokio::test(start_paused = true)]
async fn a_full_disk_costs_lines_and_no_request() {
    let metrics = Metrics::new();
    let builder = AccessLog::builder(LogFormat::json()).metrics(&metrics);
    let log = builder.open(LogTarget::File("/dev/full".into())).expect("a device");
    let proxy = logged_by(&log);
    for _ in 0..20 {
        assert_eq!(exchange(&proxy, GET).await, 200);
    }
    assert!(log.flush(PATIENCE));
    assert_eq!((log.lines(), log.dropped()), (20, 20));
    assert!(metrics.render().contains("\nproxy_access_log_dropped_total 20\n"));
    // Counters never fall, also when a log ends.
    drop(proxy);
    drop(log);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(metrics.render().contains("\nproxy_access_log_dropped_total 20\n"));
}

/// Takes nothing until it is told to.
#[derive(Clone, Default)]
struct Stuck(Kept, Arc<(Mutex<bool>, Condvar)>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (open, changed) = &*self.1;
        let waiting = changed.wait_while(open.lock().expect("no holder panicked"), |open| !*open);
        drop(waiting.expect("no holder panicked"));
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_costs_lines_and_no_request() {
    let stuck = Stuck::default();
    let small = |builder: AccessLogBuilder| builder.buffer(100).flush_every(Duration::ZERO);
    let log = small(AccessLog::builder(LogFormat::template("123456789").expect("a template")));
    let log = log.open(LogTarget::writer(stuck.clone())).expect("a thread");
    let proxy = logged_by(&log);
    let mut client = proxy.connect();
    for _ in 0..50 {
        client.send(GET).await;
        assert_eq!(client.read_response().await.status(), 200);
    }
    assert!(!log.flush(Duration::ZERO), "it is stuck");
    // Ten lines fit, and at most as many again are with the writer.
    let dropped = log.dropped();
    assert!(log.lines() == 50 && (30..=40).contains(&dropped), "{dropped} lost");
    *stuck.1.0.lock().expect("no holder panicked") = true;
    stuck.1.1.notify_all();
    assert!(log.flush(PATIENCE));
    assert_eq!((stuck.0.lines().len() as u64, log.dropped()), (50 - dropped, dropped));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_gets_a_message_a_line_and_may_come_later() {
    let folder = Folder::new("syslog");
    let path = folder.0.join("log");
    let log = AccessLog::builder(LogFormat::template("$status $target").expect("a template"));
    let log = log.open(LogTarget::Syslog(path.clone())).expect("a thread");
    let proxy = logged_by(&log);
    exchange(&proxy, GET).await;
    assert!(log.flush(PATIENCE));
    assert_eq!((log.lines(), log.dropped()), (1, 1));
    let daemon = UnixDatagram::bind(&path).expect("a socket");
    daemon.set_read_timeout(Some(PATIENCE)).expect("an option");
    exchange(&proxy, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut buffer = [0; 1024];
    let length = daemon.recv(&mut buffer).expect("a message");
    let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(message.starts_with("<190>1 20") && message.ends_with(" access - 200 /x"), "{message}");
}

/// Many threads, one log: no line is mixed with another, and none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lines_stay_whole() {
    let kept = Kept::default();
    let format = LogFormat::template("<$target>").expect("a template");
    let log = AccessLog::builder(format).open(LogTarget::writer(kept.clone())).expect("a thread");
    let proxy = logged_by(&log);
    let clients = (0..8).map(|client| {
        let proxy = proxy.clone();
        tokio::spawn(async move {
            let mut connection = proxy.connect();
            for number in 0..50 {
                connection.send(&format!("GET /{client}/{number} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
                assert_eq!(connection.read_response().await.status(), 200);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("the client is content");
    }
    // The last line may be made a moment after its response was read.
    drop(proxy);
    while log.lines() < 400 {
        tokio::task::yield_now().await;
    }
    assert!(log.flush(PATIENCE));
    let mut lines = kept.lines();
    lines.sort();
    lines.dedup();
    assert!(lines.len() == 400 && lines.iter().all(|line| line.starts_with("</") && line.ends_with('>')), "{lines:?}");
}

/// As a filter it sees what its place in the proxy sees.
#[tokio::test(start_paused = true)]
async fn a_route_can_have_a_log_of_its_own() {
    let kept = Kept::default();
    let log = AccessLog::builder(LogFormat::template("$target").expect("a template"));
    let log = log.open(LogTarget::writer(kept.clone())).expect("a thread");
    let upstream = || ScriptedConnector::always(Script::ok()).cluster();
    let admin = Route::to("api").path_prefix("/admin").expect("a path").filter(log.clone());
    let nothing = filter_fn(|_, _| Ok(proxy_core::Flow::Continue));
    let proxy = Proxy::builder().filter(nothing).upstream("api", upstream()).route(admin).route(Route::to("api"));
    let proxy = TestProxy::new(proxy.build().expect("the routes name the upstream"));
    for target in ["/", "/admin/x", "/y"] {
        exchange(&proxy, &format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
    }
    assert!(log.flush(PATIENCE));
    assert_eq!(kept.lines(), ["/admin/x"]);
}
