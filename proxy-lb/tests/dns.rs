//! Discovery by DNS records, from a small name server in this process.

use std::net::Ipv4Addr;
use std::time::Duration;

use proxy_core::{Backend, BackendSet, BackendState};
use proxy_lb::{Discover, Discovery, DnsRecords, Tiers};
use tokio::time::Instant;

#[path = "support/name_server.rs"]
mod name_server;

use name_server::{Known, NameServer};

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
