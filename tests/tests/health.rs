//! Origins in processes of their own that are killed, stopped and started again under load: no GET may fail.

use std::net::SocketAddr;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy_config::{Config, Server};
use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{
    Backend, BackendSet, BackendState, Cluster, HealthSource, Observer, Pool, PoolEvent, Target, Verdict, selector_fn,
};
use rustix::process::{Pid, Signal, kill_process};
use tests::{GET, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const CLIENTS: usize = 16;

/// An origin; killed when it is dropped.
struct Origin {
    name: String,
    address: SocketAddr,
    process: Child,
}

impl Origin {
    fn start(name: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        Origin { name: name.to_owned(), address, process: Origin::spawn(name, address) }
    }

    fn spawn(name: &str, address: SocketAddr) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_origin"));
        command.args([name, &address.to_string()]).spawn().expect("the origin starts")
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn restart(&mut self) {
        self.process = Origin::spawn(&self.name, self.address);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it is our own process");
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Clients that ask one after the other, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(server: SocketAddr) -> Self {
        let (stop, answers, failures) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::default());
        let client = |_| tokio::spawn(client(server, Arc::clone(&stop), Arc::clone(&answers), Arc::clone(&failures)));
        let clients = (0..CLIENTS).map(client).collect();
        Load { stop, answers, failures, clients }
    }

    async fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("a client does not panic");
        }
        let failures = self.failures.lock().expect("no holder panicked").clone();
        (self.answers.load(Ordering::Relaxed), failures)
    }
}

async fn client(
    server: SocketAddr,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
) {
    let mut stream = None;
    while !stop.load(Ordering::Relaxed) {
        match ask(&mut stream, server).await {
            Ok(status) if status == "HTTP/1.1 200 OK" => drop(answers.fetch_add(1, Ordering::Relaxed)),
            Ok(status) => failures.lock().expect("no holder panicked").push(status),
            Err(error) => {
                stream = None;
                failures.lock().expect("no holder panicked").push(error.to_string());
            }
        }
        // A pace that leaves the machine to others.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One GET on a kept connection; the status line.
async fn ask(kept: &mut Option<BufStream<TcpStream>>, server: SocketAddr) -> std::io::Result<String> {
    let stream = match kept {
        Some(stream) => stream,
        None => kept.insert(BufStream::new(TcpStream::connect(server).await?)),
    };
    stream.write_all(GET.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok(head.lines().next().unwrap_or_default().to_owned())
}

fn config(origins: &[Origin]) -> Config {
    let backends: Vec<_> = origins.iter().map(|origin| format!("\"{}\"", origin.address)).collect();
    let text = format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api" }} }} }},
            "upstreams": {{ "api": {{
                "backends": [{}],
                "health_check": {{ "http": {{ "path": "/", "body": "o" }}, "interval": "200ms", "timeout": "500ms",
                                   "rise": 2, "fall": 2, "start": "down" }},
                "outlier_detection": {{ "eject": "500ms", "max_eject": "500ms" }},
                "slow_start": "1s",
                "retry": {{ "attempts": 4, "budget_percent": 100 }},
                "timeouts": {{ "connect": "1s", "response": "1s" }}
            }} }} }}"#,
        backends.join(", ")
    );
    text.parse().expect("a valid configuration")
}

/// Waits until the backend at this position is as wanted.
async fn wait(set: &BackendSet, position: usize, what: &str, wanted: impl Fn(&Backend) -> bool) {
    let backend = set.backends()[position].clone();
    let mut changes = set.changes();
    let came = async {
        while !wanted(&backend) {
            changes.changed().await;
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(60), came).await;
    came.unwrap_or_else(|_| panic!("{what}: {:?}", set.statuses()));
}

/// The share of a backend of weight 1 that does not warm up.
const WHOLE: u32 = 1 << 16;

fn is_well(backend: &Backend) -> bool {
    backend.state() == BackendState::Healthy
}

/// It is out, comes back with less than its share, then has it all.
async fn comes_back(set: &BackendSet, position: usize) {
    wait(set, position, "it should be well", is_well).await;
    let backend = set.backends()[position].clone();
    assert!(backend.share() < WHOLE, "its share grows slowly: {}", backend.share());
    wait(set, position, "its share should be whole", |backend| is_well(backend) && backend.share() == WHOLE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_that_die_or_hang_cost_no_get() {
    let mut origins = ["one", "two", "four", "foo", "zero"].map(Origin::start);
    let server = Server::start(&config(&origins)).expect("port 0 is free");
    let (set, address) = (server.backends()[0].1.clone(), server.addresses()[0].1);
    let serving = tokio::spawn(server.run(std::future::pending()));
    for position in 0..origins.len() {
        wait(&set, position, "it should be found well", |backend| is_well(backend) && backend.share() == WHOLE).await;
    }
    let load = Load::start(address);
    for (position, origin) in origins.iter_mut().enumerate() {
        origin.kill();
        wait(&set, position, "it was killed", |backend| !is_well(backend)).await;
        origin.restart();
        comes_back(&set, position).await;
    }
    for (position, origin) in origins.iter().enumerate() {
        origin.signal(Signal::STOP);
        wait(&set, position, "it was stopped", |backend| !is_well(backend)).await;
        origin.signal(Signal::CONT);
        comes_back(&set, position).await;
    }
    let (answers, failures) = load.stop().await;
    serving.abort();
    assert!(answers > 1000, "{answers} answers");
    assert!(failures.is_empty(), "{} of {answers} failed: {:?}", failures.len(), &failures[..failures.len().min(9)]);
}

/// Health as observers see it, and connections that close.
#[derive(Default)]
struct Watch(Mutex<Vec<String>>);

impl Observer for Watch {
    fn on_health(&self, backend: &Backend, state: BackendState) {
        assert_eq!(backend.state(), state);
        self.0.lock().expect("no holder panicked").push(format!("{} {}", backend.id(), backend.status()));
    }

    fn on_pool(&self, _: &Backend, _: PoolEvent) {}
}

#[tokio::test(start_paused = true)]
async fn observers_hear_of_health_and_pools_of_who_left() {
    let origin = ScriptedConnector::always(Script::ok());
    let (watch, pool) = (Arc::<Watch>::default(), origin.pool());
    let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
        .backend("a:1".parse().expect("an address"))
        .backend("b:1".parse().expect("an address"))
        .observer(Arc::<Watch>::clone(&watch))
        .build_with(pool.clone());
    let set = cluster.backends().clone();
    let stage = Stage::to(origin, cluster, |builder| builder);
    stage.connect_and_send(GET).await.read_response().await;
    let a = set.backends()[0].clone();
    assert_eq!(pool.idle(&Target::new(a.clone())), 1);

    set.report(&a, Verdict::new(HealthSource::Check, BackendState::Unhealthy, "status 500"));
    set.set_state("a:1", BackendState::Maintenance);
    set.set_state("a:1", BackendState::Healthy);
    set.report(&a, Verdict::new(HealthSource::Check, BackendState::Healthy, "it answers"));
    let heard = watch.0.lock().expect("no holder panicked").clone();
    let unhealthy = "a:1 unhealthy (check: status 500)";
    assert_eq!(
        heard,
        [unhealthy, "a:1 maintenance (operator: by request)", unhealthy, "a:1 healthy (check: it answers)"]
    );
    assert_eq!(pool.idle(&Target::new(a.clone())), 1, "who stays keeps its connections");
    set.remove("a:1");
    assert_eq!(pool.idle(&Target::new(a)), 0);
}

/// A draining backend finishes what it has, and gets nothing new.
#[tokio::test(start_paused = true)]
async fn a_draining_backend_finishes_what_it_has() {
    let slow = Script::new().read_request().wait(Duration::from_secs(9)).answer(tests::ok("late"));
    let origin = ScriptedConnector::default().backend_always("a:1", slow).backend_always("b:1", Script::ok());
    let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
        .backend("a:1".parse().expect("an address"))
        .backend("b:1".parse().expect("an address"))
        .build_with(origin.pool());
    let set = cluster.backends().clone();
    let stage = Stage::to(origin, cluster, |builder| builder);
    let mut running = stage.connect_and_send(GET).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    set.set_state("a:1", BackendState::Draining);
    assert_eq!(stage.connect_and_send(GET).await.read_response().await.text(), "ok");
    assert_eq!(running.read_response().await.text(), "late");
    assert_eq!(stage.origin().tried(), ["a:1", "b:1"]);
}
