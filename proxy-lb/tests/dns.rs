//! Discovery by DNS records, from a small name server in this process.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy_core::{Backend, BackendSet, BackendState};
use proxy_lb::{Discover, Discovery, DnsRecords, Tiers};
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// What is known of a name: records of one type.
#[derive(Clone)]
enum Known {
    /// Lifetime in seconds, and addresses.
    A(u32, Vec<[u8; 4]>),
    /// Lifetime in seconds; priority, weight, port and target.
    Srv(u32, Vec<(u16, u16, u16, &'static str)>),
    /// SERVFAIL.
    Broken,
}

type Zone = HashMap<&'static str, Known>;

/// Answers from a zone that can be changed.
struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

impl NameServer {
    async fn start(zone: impl IntoIterator<Item = (&'static str, Known)>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(zone.into_iter().collect()));
        tokio::spawn(serve(socket, Arc::clone(&zone)));
        NameServer { address, zone }
    }

    fn set(&self, name: &'static str, known: Known) {
        self.zone.lock().unwrap().insert(name, known);
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut query = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut query).await {
        let answer = answer(&query[..length], &zone.lock().unwrap());
        socket.send_to(&answer, client).await.unwrap();
    }
}

/// RFC 1035 §4: the head, the question as it came, and what is known.
fn answer(query: &[u8], zone: &Zone) -> Vec<u8> {
    let mut at = 12;
    let mut name = String::new();
    while query[at] != 0 {
        let label = &query[at + 1..at + 1 + usize::from(query[at])];
        name += &(String::from_utf8_lossy(label).to_lowercase() + ".");
        at += 1 + label.len();
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let question = &query[12..at + 5];
    let known = zone.get(&*name);
    let (code, records) = match (known, kind) {
        (Some(Known::A(ttl, addresses)), 1) => (0, addresses.iter().map(|it| (*ttl, it.to_vec())).collect()),
        (Some(Known::Srv(ttl, services)), 33) => (0, services.iter().map(|it| (*ttl, service(*it))).collect()),
        (Some(Known::Broken), _) => (2, Vec::new()),
        (Some(_), _) => (0, Vec::new()),
        (None, _) => (3, Vec::new()),
    };
    let mut bytes = [&query[..2], &[0x85, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0], question].concat();
    for (ttl, data) in records {
        bytes.extend([0xc0, 12]); // the name in the question
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(ttl.to_be_bytes());
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
    }
    bytes
}

fn service((priority, weight, port, target): (u16, u16, u16, &str)) -> Vec<u8> {
    let mut data = [priority, weight, port].map(u16::to_be_bytes).concat();
    for label in target.split('.').filter(|label| !label.is_empty()) {
        data.push(label.len() as u8);
        data.extend(label.bytes());
    }
    data.push(0);
    data
}

fn texts(backends: &[Backend]) -> Vec<String> {
    let text = |it: &Backend| format!("{} {}x{}", it.id(), it.label(Tiers::LABEL).unwrap_or("-"), it.weight());
    backends.iter().map(text).collect()
}

const SERVICE: &str = "_http._tcp.api.test.";

fn zone() -> Vec<(&'static str, Known)> {
    vec![
        (SERVICE, Known::Srv(1, vec![(10, 3, 9001, "a.test."), (10, 0, 9002, "b.test."), (20, 1, 9003, "a.test.")])),
        ("a.test.", Known::A(60, vec![[127, 0, 0, 2], [127, 0, 0, 1]])),
        ("b.test.", Known::A(60, vec![[127, 0, 0, 3]])),
    ]
}

#[tokio::test]
async fn services_have_ports_weights_and_priorities() {
    let server = NameServer::start(zone()).await;
    let mut records = DnsRecords::srv(SERVICE).name_servers([server.address]);
    let expected = [
        "127.0.0.1:9001 10x3",
        "127.0.0.2:9001 10x3",
        "127.0.0.3:9002 10x1",
        "127.0.0.1:9003 20x1",
        "127.0.0.2:9003 20x1",
    ];
    assert_eq!(texts(&records.next().await.unwrap()), expected);
    // One target is gone: the others stay. It is seen as soon as the answer's time is over.
    let told = Instant::now();
    server.zone.lock().unwrap().remove("a.test.");
    assert_eq!(texts(&records.next().await.unwrap()), ["127.0.0.3:9002 10x1"]);
    assert!(told.elapsed() < Duration::from_secs(10), "the lifetime of a second is not heeded");
}

#[tokio::test]
async fn addresses_are_asked_for_again_when_their_time_is_over() {
    let server = NameServer::start([("api.test.", Known::A(1, vec![[127, 0, 0, 1]]))]).await;
    let mut records = DnsRecords::addresses("api.test.", 80).name_servers([server.address]);
    assert_eq!(texts(&records.next().await.unwrap()), ["127.0.0.1:80 0x1"]);
    let told = Instant::now();
    server.set("api.test.", Known::A(2, vec![[127, 0, 0, 2], [127, 0, 0, 1]]));
    assert_eq!(texts(&records.next().await.unwrap()), ["127.0.0.1:80 0x1", "127.0.0.2:80 0x1"]);
    // Not before: it was good for a second.
    assert!(told.elapsed() >= Duration::from_millis(900), "{:?}", told.elapsed());
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let server = NameServer::start([
        ("none.test.", Known::Srv(60, vec![(0, 0, 0, ".")])),
        ("broken.test.", Known::Broken),
        ("half.test.", Known::Srv(60, vec![(0, 0, 80, "a.test."), (0, 0, 80, "broken.test.")])),
        ("lost.test.", Known::Srv(60, vec![(0, 0, 80, "nowhere.test.")])),
        ("a.test.", Known::A(60, vec![[127, 0, 0, 1]])),
    ])
    .await;
    for (name, expected) in [
        ("none.test.", "none.test. has no server"),
        ("lost.test.", "lost.test. has no server"),
        ("broken.test.", "broken.test.: "),
        ("half.test.", "half.test.: "),
        ("absent.test.", "absent.test.: "),
    ] {
        let error = DnsRecords::srv(name).name_servers([server.address]).next().await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

/// A name server that fails changes nothing: the last good backends serve.
#[tokio::test]
async fn failures_keep_the_last_good_set() {
    let server = NameServer::start([("api.test.", Known::A(1, vec![Ipv4Addr::LOCALHOST.octets()]))]).await;
    let set = BackendSet::new([]);
    let records = DnsRecords::addresses("api.test.", 80).name_servers([server.address]);
    let discovering = tokio::spawn(Discovery::new(records).run(set.clone()));
    let mut changes = set.changes();
    while set.backends().is_empty() {
        changes.changed().await;
    }
    server.set("api.test.", Known::Broken);
    // Asked again after a second, and after that failure after another one.
    assert!(tokio::time::timeout(Duration::from_secs(3), changes.changed()).await.is_err());
    assert_eq!(set.backends()[0].state(), BackendState::Healthy);
    server.set("api.test.", Known::A(1, vec![[127, 0, 0, 9]]));
    while set.backends()[0].id() != "127.0.0.9:80" {
        changes.changed().await;
    }
    discovering.abort();
}
