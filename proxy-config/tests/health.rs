//! Health, breakers and discovery as configured, through real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use proxy_config::{Config, Server};
use proxy_core::{BackendSet, BackendState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// An origin that answers every request with this status, and every check with that one.
#[derive(Clone)]
struct Origin {
    address: std::net::SocketAddr,
    status: Arc<AtomicU16>,
    health: Arc<AtomicU16>,
}

impl Origin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (status, health) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(200)));
        let origin = Origin { address: listener.local_addr().unwrap(), status, health };
        let served = origin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().answer(stream));
            }
        });
        origin
    }

    async fn answer(self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        loop {
            head.push(stream.read_u8().await?);
            if head.ends_with(b"\r\n\r\n") {
                let status = if head.starts_with(b"GET /healthz ") { &self.health } else { &self.status };
                let status = status.load(Ordering::Relaxed);
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
                stream.write_all(answer.as_bytes()).await?;
                head.clear();
            }
        }
    }
}

struct Running {
    address: std::net::SocketAddr,
    set: BackendSet,
    serving: JoinHandle<()>,
}

impl Running {
    fn start(upstream: &str) -> Self {
        let text = format!(
            r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api" }} }} }},
                "upstreams": {{ "api": {{ {upstream} }} }} }}"#
        );
        let config: Config = text.parse().unwrap_or_else(|errors| panic!("{errors}"));
        let server = Server::start(&config).unwrap();
        let (_, set) = &server.backends()[0];
        let (set, address) = (set.clone(), server.addresses()[0].1);
        Running { address, set, serving: tokio::spawn(server.run(std::future::pending())) }
    }

    async fn get(&self) -> u16 {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer[9..12].parse().unwrap()
    }

    /// Waits for these states of the backends, in their order.
    async fn wait_for(&self, expected: &[BackendState]) {
        let mut changes = self.set.changes();
        let came = async {
            while self.set.statuses().iter().map(|(_, status)| status.state()).ne(expected.iter().copied()) {
                changes.changed().await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(60), came).await;
        came.unwrap_or_else(|_| panic!("{expected:?} expected: {:?}", self.set.statuses()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

use BackendState::{Healthy, Unhealthy};

#[tokio::test]
async fn checks_take_a_backend_out_and_bring_it_back() {
    let (a, b) = (Origin::start().await, Origin::start().await);
    let server = Running::start(&format!(
        r#""backends": ["{}", "{}"],
           "health_check": {{ "http": {{ "path": "/healthz", "status": 200, "body": "ok" }}, "interval": "20ms",
                              "fall": 2, "start": "down" }}"#,
        a.address, b.address
    ));
    server.wait_for(&[Healthy, Healthy]).await;
    b.health.store(503, Ordering::Relaxed);
    b.status.store(500, Ordering::Relaxed);
    server.wait_for(&[Healthy, Unhealthy]).await;
    assert_eq!(server.set.backends()[1].status().to_string(), "unhealthy (check: status 503)");
    for _ in 0..4 {
        assert_eq!(server.get().await, 200);
    }
    b.health.store(200, Ordering::Relaxed);
    server.wait_for(&[Healthy, Healthy]).await;
}

/// Nobody is left: all are used, whatever the checks say.
#[tokio::test]
async fn when_all_checks_fail_all_backends_are_used() {
    let a = Origin::start().await;
    a.health.store(404, Ordering::Relaxed);
    for (panic, expected) in [("", 200), (r#""panic_percent": 0,"#, 503)] {
        let server = Running::start(&format!(
            r#""backends": ["{}"], {panic}
               "health_check": {{ "http": {{ "path": "/healthz" }}, "interval": "10ms", "fall": 1 }}"#,
            a.address
        ));
        server.wait_for(&[Unhealthy]).await;
        assert_eq!(server.get().await, expected, "{panic}");
    }
}

#[tokio::test]
async fn failures_eject_a_backend() {
    let (a, b) = (Origin::start().await, Origin::start().await);
    b.status.store(500, Ordering::Relaxed);
    let server = Running::start(&format!(
        r#""backends": ["{}", "{}"], "outlier_detection": {{ "consecutive_failures": 3, "eject": "50ms" }}"#,
        a.address, b.address
    ));
    for _ in 0..6 {
        server.get().await;
    }
    server.wait_for(&[Healthy, Unhealthy]).await;
    server.wait_for(&[Healthy, Healthy]).await;
}

#[tokio::test]
async fn a_circuit_breaker_opens() {
    let a = Origin::start().await;
    a.status.store(503, Ordering::Relaxed);
    let server = Running::start(&format!(
        r#""backends": ["{}"], "panic_percent": 0, "circuit_breaker": {{ "failures": 2, "open": "1h", "max_open": "1h" }}"#,
        a.address
    ));
    assert_eq!((server.get().await, server.get().await), (503, 503));
    server.wait_for(&[Unhealthy]).await;
    assert_eq!(server.set.backends()[0].status().to_string(), "unhealthy (breaker: its circuit is open)");
    a.status.store(200, Ordering::Relaxed);
    assert_eq!(server.get().await, 503);
}

#[tokio::test]
async fn backends_come_from_a_file_and_bad_files_change_nothing() {
    let (a, b) = (Origin::start().await, Origin::start().await);
    let file = std::env::temp_dir().join(format!("backends-{}.json", std::process::id()));
    let write = |text: String| {
        let new = file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    write(format!(r#"["{}"]"#, a.address));
    let source = format!(r#""discovery": {{ "file": {{ "path": "{}", "interval": "5ms" }} }}"#, file.display());
    let server = Running::start(&source);
    server.wait_for(&[Healthy]).await;
    assert_eq!(server.get().await, 200);
    let kept = server.set.backends();
    for bad in ["[]", "[", r#"["a"]"#, r#"[{ "address": "a:1", "weight": 70000 }]"#, r#"["a:1", "a:1"]"#] {
        write(bad.to_owned());
        assert_eq!(server.get().await, 200, "{bad}");
    }
    write(format!(r#"["{}", {{ "address": "{}", "weight": 3 }}]"#, a.address, b.address));
    server.wait_for(&[Healthy, Healthy]).await;
    assert_eq!(server.set.backends()[0], kept[0], "who stays keeps its handle");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(server.get().await, 200);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_leaves_the_backends_that_were_given() {
    let a = Origin::start().await;
    let server = Running::start(&format!(
        r#""backends": ["{}"], "discovery": {{ "dns": {{ "name": "nowhere.invalid:80" }} }}"#,
        a.address
    ));
    assert_eq!((server.get().await, server.get().await), (200, 200));
    assert_eq!(server.set.backends().len(), 1);
    let server =
        Running::start(&format!(r#""discovery": {{ "dns": {{ "name": "localhost:{}" }} }}"#, a.address.port()));
    let mut changes = server.set.changes();
    while server.set.backends().is_empty() {
        changes.changed().await;
    }
    assert_eq!(server.get().await, 200);
}
