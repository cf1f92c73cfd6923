//! UDP through real sockets: who gets a client's datagrams, and when a session ends.

use std::net::SocketAddr;
use std::time::Duration;

use proxy_core::{
    Backend, BackendSet, BackendState, Cluster, ClusterBuilder, Context, ErrorKind, Filter, LiveUdpProxy, Observer,
    Outcome, Peer, Selector, UdpListener, UdpProxy, UdpSettings, serve_udp,
};
use proxy_lb::{DnsResponder, LeastConnections, RoundRobin, SameZone, SourceIpHash};
use tests::have;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(10);
const MS: Duration = Duration::from_millis(1);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("it takes no ten seconds")
}

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// Answers each datagram with its name before it, so many times.
async fn origin(name: &'static str, answers: usize) -> SocketAddr {
    let socket = socket().await;
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut room = vec![0; 65_536];
        while let Ok((count, from)) = socket.recv_from(&mut room).await {
            let answer = [name.as_bytes(), &room[..count]].concat();
            for _ in 0..answers {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    address
}

/// Told of the ends of sessions, and of those that had no place.
#[derive(Clone)]
struct Ends(mpsc::UnboundedSender<End>);

type End = (Option<ErrorKind>, u64, u64);

impl Filter for Ends {
    fn on_done(&self, outcome: &Outcome, _: &Context) {
        let _ = self.0.send((outcome.error, outcome.bytes_received, outcome.bytes_sent));
    }
}

impl Observer for Ends {
    fn on_connection_failed(&self, _: &Peer, kind: ErrorKind) {
        let _ = self.0.send((Some(kind), 0, 0));
    }
}

struct Front {
    address: SocketAddr,
    live: LiveUdpProxy,
    backends: BackendSet,
    ended: mpsc::UnboundedReceiver<End>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Front {
    fn over<S: Selector>(cluster: ClusterBuilder<S>, settings: UdpSettings) -> Self {
        let (send, ended) = mpsc::unbounded_channel();
        let ends = Ends(send);
        let cluster = cluster.build();
        let backends = cluster.backends().clone();
        let proxy = UdpProxy::over(cluster).settings(settings).filter(ends.clone()).observer(ends);
        let live = LiveUdpProxy::new(proxy);
        let listener = UdpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (address, (stop, stopped)) = (listener.local_addr(), oneshot::channel::<()>());
        let server = serve_udp(listener, live.clone()).with_graceful_shutdown(async { stopped.await.unwrap_or(()) });
        let server = tokio::spawn(server.drain_timeout(50 * MS).into_future());
        Front { address, live, backends, ended, stop, server }
    }

    async fn client(&self) -> UdpSocket {
        let client = socket().await;
        client.connect(self.address).await.unwrap();
        client
    }

    async fn ended(&mut self) -> End {
        soon(self.ended.recv()).await.expect("the server runs")
    }
}

fn over<S: Selector>(selector: S, backends: &[SocketAddr]) -> ClusterBuilder<S> {
    backends.iter().fold(Cluster::builder(selector), |builder, address| builder.with(Backend::new((*address).into())))
}

async fn answer(client: &UdpSocket) -> String {
    let mut room = vec![0; 65_536];
    let count = soon(client.recv(&mut room)).await.unwrap();
    String::from_utf8_lossy(&room[..count]).into_owned()
}

async fn ask(client: &UdpSocket, text: &str) -> String {
    client.send(text.as_bytes()).await.unwrap();
    answer(client).await
}

/// A client keeps its backend; the next one gets another; answers find their client.
#[tokio::test]
async fn clients_keep_their_backends() {
    let backends = [origin("a", 1).await, origin("b", 1).await];
    let front = Front::over(over(RoundRobin::new(), &backends), UdpSettings::default());
    let (one, two) = (front.client().await, front.client().await);
    let (first, second) = (ask(&one, "1").await, ask(&two, "2").await);
    assert_ne!(first[..1], second[..1]);
    for _ in 0..3 {
        assert_eq!(ask(&one, "x").await, format!("{}x", &first[..1]));
        assert_eq!(ask(&two, "y").await, format!("{}y", &second[..1]));
    }
}

/// The selectors are those of requests and of connections.
#[tokio::test]
async fn selectors_work_as_elsewhere() {
    let backends = [origin("a", 1).await, origin("b", 1).await];
    let front = Front::over(over(SourceIpHash::new(), &backends), UdpSettings::default());
    let first = ask(&front.client().await, "").await;
    for _ in 0..8 {
        assert_eq!(ask(&front.client().await, "").await, first, "one address, one backend");
    }
    let front = Front::over(over(LeastConnections::new(), &backends), UdpSettings::default());
    let mut names = Vec::new();
    for _ in 0..4 {
        names.push(ask(&front.client().await, "").await);
    }
    names.sort();
    assert_eq!(names, ["a", "a", "b", "b"], "sessions count as what is in flight");
}

#[tokio::test]
async fn each_datagram_may_be_balanced_by_itself() {
    let backends = [origin("a", 1).await, origin("b", 1).await];
    let settings = UdpSettings { requests: Some(1), responses: Some(1), ..UdpSettings::default() };
    let mut front = Front::over(over(RoundRobin::new(), &backends), settings);
    let client = front.client().await;
    let mut names = Vec::new();
    for _ in 0..4 {
        names.push(ask(&client, "").await);
        assert_eq!(front.ended().await, (None, 0, 1), "over with its answer");
    }
    assert_ne!(names[0], names[1]);
    assert_eq!((&names[0], &names[1]), (&names[2], &names[3]));
}

#[tokio::test]
async fn a_silent_session_ends() {
    let settings = UdpSettings { idle: 30 * MS, ..UdpSettings::default() };
    let mut front = Front::over(over(RoundRobin::new(), &[origin("a", 2).await]), settings);
    let client = front.client().await;
    assert_eq!(ask(&client, "hello").await, "ahello");
    assert_eq!(answer(&client).await, "ahello", "any number of answers");
    assert_eq!(front.ended().await, (None, 5, 12));
    assert_eq!(ask(&client, "again").await, "aagain");
}

/// Where answers are due, a backend that gives none has failed.
#[tokio::test]
async fn an_answer_that_does_not_come_is_a_failure() {
    let silent = socket().await;
    let settings = UdpSettings { idle: 30 * MS, responses: Some(1), ..UdpSettings::default() };
    let mut front = Front::over(over(RoundRobin::new(), &[silent.local_addr().unwrap()]), settings);
    front.client().await.send(b"hello").await.unwrap();
    assert_eq!(front.ended().await, (Some(ErrorKind::ResponseTimeout), 5, 0));
}

#[tokio::test]
async fn the_table_has_a_bound() {
    let backend = origin("a", 1).await;
    for per_client in [false, true] {
        let settings = match per_client {
            true => UdpSettings { max_sessions_per_client: Some(2), ..UdpSettings::default() },
            false => UdpSettings { max_sessions: 2, ..UdpSettings::default() },
        };
        let mut front = Front::over(over(RoundRobin::new(), &[backend]), settings);
        let clients = [front.client().await, front.client().await, front.client().await];
        assert_eq!(ask(&clients[0], "").await, "a");
        assert_eq!(ask(&clients[1], "").await, "a");
        clients[2].send(b"?").await.unwrap();
        assert_eq!(front.ended().await.0, Some(ErrorKind::SessionsFull));
        assert_eq!(ask(&clients[0], "still").await, "astill");
    }
}

/// Nobody listens there: the client's next datagrams go elsewhere, and so do those of others.
#[tokio::test]
async fn a_backend_that_refuses_is_left_alone() {
    let gone = socket().await.local_addr().unwrap();
    let well = origin("a", 1).await;
    let first = proxy_core::selector_fn(|candidates, _| candidates.at(0).cloned());
    let mut front = Front::over(over(first, &[gone, well]), UdpSettings::default());
    let client = front.client().await;
    client.send(b"lost").await.unwrap();
    assert_eq!(front.ended().await.0, Some(ErrorKind::ConnectRefused));
    assert_eq!(ask(&client, "found").await, "afound");
    assert_eq!(ask(&front.client().await, "too").await, "atoo");
}

#[tokio::test]
async fn a_backend_that_fails_loses_its_clients() {
    let backends = [origin("a", 1).await, origin("b", 1).await];
    let front = Front::over(over(RoundRobin::new(), &backends), UdpSettings::default());
    let client = front.client().await;
    let name = ask(&client, "").await;
    let (id, other) = if name == "a" { (backends[0], "b") } else { (backends[1], "a") };
    assert!(front.backends.set_state(&id.to_string(), BackendState::Draining));
    assert_eq!(ask(&client, "").await, name, "one that drains keeps who it has");
    assert!(front.backends.set_state(&id.to_string(), BackendState::Maintenance));
    assert_eq!(ask(&client, "").await, other);
}

#[tokio::test]
async fn a_successor_gets_new_clients() {
    let (a, b) = (origin("a", 1).await, origin("b", 1).await);
    let front = Front::over(over(RoundRobin::new(), &[a]), UdpSettings::default());
    let old = front.client().await;
    assert_eq!(ask(&old, "").await, "a");
    front.live.replace(UdpProxy::to(&b.to_string()).unwrap());
    assert_eq!(ask(&old, "").await, "a");
    assert_eq!(ask(&front.client().await, "").await, "b");
}

/// Who has a session goes on with it until the drain's deadline, and nobody begins one.
#[tokio::test]
async fn stopping_leaves_sessions_their_time() {
    let mut front = Front::over(over(RoundRobin::new(), &[origin("a", 1).await]), UdpSettings::default());
    let client = front.client().await;
    assert_eq!(ask(&client, "1").await, "a1");
    front.stop.send(()).unwrap();
    soon(front.server).await.unwrap();
    let ended = soon(front.ended.recv()).await.unwrap();
    assert_eq!(ended, (Some(ErrorKind::ShuttingDown), 1, 2));
}

/// A name is resolved while datagrams wait; long ones pass.
#[tokio::test]
async fn names_and_long_datagrams() {
    let backend = origin("a", 1).await;
    let named = Backend::new(format!("localhost:{}", backend.port()).parse().unwrap());
    let front = Front::over(Cluster::builder(RoundRobin::new()).with(named), UdpSettings::default());
    let client = front.client().await;
    let long = "x".repeat(60_000);
    assert_eq!(ask(&client, &long).await, format!("a{long}"));
}

/// A server of names and a client that are not ours: every question gets its answer, also a long one.
#[tokio::test]
async fn dig_asks_nsd() {
    if !have(&["nsd", "dig"]) {
        return;
    }
    let folder = std::env::temp_dir().join(format!("proxy-udp-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut servers = Vec::new();
    for name in ["one", "two"] {
        servers.push(Nsd::start(&folder, name).await);
    }
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let settings = UdpSettings { requests: Some(1), responses: Some(1), idle: SOON, ..UdpSettings::default() };
    let front = Front::over(over(RoundRobin::new(), &addresses), settings);
    let mut names = Vec::new();
    for _ in 0..4 {
        names.push(dig(front.address, "who.example.", &[]).await);
    }
    names.sort();
    assert_eq!(names, ["\"one\"", "\"one\"", "\"two\"", "\"two\""]);
    let long = dig(front.address, "long.example.", &["+bufsize=4096", "+ignore"]).await;
    assert!(long.len() > 1500, "{long}");
    drop(servers);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The name server of our own, asked by a client that is not: over both transports, for a client's network, and for
/// more than a datagram holds.
#[tokio::test]
async fn dig_asks_the_responder() {
    if !have(&["dig"]) {
        return;
    }
    let backend =
        |address: String, zone: &str| Backend::builder(address.parse().unwrap()).label(SameZone::LABEL, zone).build();
    let set = BackendSet::new([
        backend("192.0.2.1:80".into(), "a"),
        backend("192.0.2.2:80".into(), "b"),
        backend("[2001:db8::1]:80".into(), "a"),
    ]);
    let many = BackendSet::new((0..200).map(|at| backend(format!("198.51.100.{at}:80"), "a")));
    let responder = DnsResponder::builder("lb.example").unwrap().name("app.lb.example", set.clone()).unwrap();
    let responder = responder.name("many.lb.example", many).unwrap().answers(200);
    let responder =
        responder.network("10.1.0.0/16".parse().unwrap(), "a").network("10.2.0.0/16".parse().unwrap(), "b").build();
    let (udp, tcp) = both_sockets().await;
    let server = udp.local_addr().unwrap();
    let serving = tokio::spawn(responder.serve(udp, tcp));
    let ask = |line: &'static str| async move {
        let output = tokio::process::Command::new("dig")
            .args([&format!("@{}", server.ip()), "-p", &server.port().to_string()])
            .args(line.split(' '))
            .output();
        String::from_utf8(output.await.unwrap().stdout).unwrap()
    };
    let sorted = |answer: String| {
        let mut lines: Vec<_> = answer.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for transport in ["app.lb.example +short +notcp", "app.lb.example +short +tcp", "app.lb.example +short +noedns"] {
        assert_eq!(sorted(ask(transport).await), ["192.0.2.1", "192.0.2.2"], "{transport}");
    }
    assert_eq!(ask("app.lb.example AAAA +short").await, "2001:db8::1\n");
    assert_eq!(ask("app.lb.example +short +subnet=10.1.2.0/24").await, "192.0.2.1\n");
    let near = ask("app.lb.example +subnet=10.2.3.0/24").await;
    assert!(near.contains("192.0.2.2") && near.contains("CLIENT-SUBNET: 10.2.3.0/24/16"), "{near}");
    assert_eq!(sorted(ask("many.lb.example +short").await).len(), 200, "asked again over TCP");
    assert!(ask("many.lb.example +ignore").await.contains(" tc "));
    for (question, status) in [
        ("nobody.lb.example", "NXDOMAIN"),
        ("example.org", "REFUSED"),
        ("app.lb.example TXT", "NOERROR"),
        ("lb.example AXFR +tcp", "Transfer failed"),
    ] {
        assert!(ask(question).await.contains(status), "{question}");
    }
    assert!(ask("lb.example SOA +short").await.starts_with("ns.lb.example. hostmaster.lb.example. "));
    set.set_state("192.0.2.1:80", BackendState::Unhealthy);
    assert_eq!(ask("app.lb.example +short").await, "192.0.2.2\n");
    for id in ["192.0.2.2:80", "[2001:db8::1]:80"] {
        set.set_state(id, BackendState::Unhealthy);
    }
    assert!(ask("app.lb.example +tries=1").await.contains("SERVFAIL"));
    serving.abort();
}

/// One port for both transports; another program may have either.
async fn both_sockets() -> (UdpSocket, tokio::net::TcpListener) {
    for _ in 0..20 {
        let udp = socket().await;
        if let Ok(tcp) = tokio::net::TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for UDP and TCP");
}

async fn dig(server: SocketAddr, name: &str, options: &[&str]) -> String {
    let output = tokio::process::Command::new("dig")
        .args([&format!("@{}", server.ip()), "-p", &server.port().to_string(), name, "TXT", "+short", "+notcp"])
        .args(options)
        .output();
    let output = output.await.unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A small authoritative server, in the foreground.
struct Nsd {
    address: SocketAddr,
    child: std::process::Child,
}

impl Nsd {
    async fn start(folder: &std::path::Path, name: &str) -> Self {
        for _ in 0..5 {
            // The socket that found the port is closed by the end of this line.
            let address = socket().await.local_addr().unwrap();
            if let Some(server) = Self::start_at(address, folder, name).await {
                return server;
            }
        }
        panic!("nsd ends: {}", std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap());
    }

    /// `None` where it ends at once: it wants the port for TCP, too, where somebody may have it.
    async fn start_at(address: SocketAddr, folder: &std::path::Path, name: &str) -> Option<Self> {
        let long = format!("\"{}\" ", "x".repeat(200)).repeat(10);
        let zone = format!(
            "$TTL 60\n@ IN SOA ns.example. admin.example. 1 60 60 60 60\n@ IN NS ns.example.\n\
             ns IN A 127.0.0.1\nwho IN TXT \"{name}\"\nlong IN TXT {long}\n"
        );
        let file = |suffix: &str| folder.join(format!("{name}.{suffix}"));
        std::fs::write(file("zone"), zone).unwrap();
        let config = format!(
            "server:\n  ip-address: {}@{}\n  username: \"\"\n  chroot: \"\"\n  database: \"\"\n  zonesdir: \"{folder}\"\n  \
             pidfile: \"\"\n  xfrdfile: \"\"\n  zonelistfile: \"{zones}\"\n  rrl-ratelimit: 0\n  ipv4-edns-size: 4096\n\
             remote-control:\n  control-enable: no\n\
             zone:\n  name: \"example\"\n  zonefile: \"{name}.zone\"\n",
            address.ip(),
            address.port(),
            folder = folder.display(),
            zones = file("list").display(),
        );
        std::fs::write(file("conf"), config).unwrap();
        let log = std::fs::File::create(file("log")).unwrap();
        let child = std::process::Command::new("nsd")
            .args(["-d", "-c"])
            .arg(file("conf"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Nsd { address, child };
        // It answers as soon as it has read its zone; dig asks again and again until then.
        for _ in 0..20 {
            if dig(address, "who.example.", &["+tries=1", "+time=1"]).await == format!("\"{name}\"") {
                return Some(server);
            }
            if server.child.try_wait().unwrap().is_some() {
                return None;
            }
        }
        panic!("nsd does not answer: {}", std::fs::read_to_string(file("log")).unwrap());
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        // One that has ended has no number any more.
        if let Ok(None) = self.child.try_wait() {
            let pid = rustix::process::Pid::from_child(&self.child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = self.child.wait();
        }
    }
}
