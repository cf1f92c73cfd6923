//! Discovery by SRV records as configured, from a small name server in this process.

use proxy_config::{Config, Server};
use proxy_core::Backend;
use proxy_lb::Tiers;

#[path = "../../proxy-lb/tests/support/name_server.rs"]
mod name_server;

use name_server::{Known, NameServer};

const SERVICE: &str = "_http._tcp.api.test.";

#[tokio::test]
async fn backends_come_from_srv_records_and_follow_them() {
    let records = [(SERVICE, Known::Broken), ("a.test.", Known::A(60, vec![[127, 0, 0, 1]]))];
    let names = NameServer::start(records).await;
    let text = format!(
        r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api" }} }} }},
            "upstreams": {{ "api": {{ "backends": ["127.0.0.1:9000"],
                "discovery": {{ "srv": {{ "name": "{SERVICE}", "name_servers": ["{}"] }} }},
                "health_check": {{ "tcp": {{}}, "start": "down" }} }} }} }}"#,
        names.address
    );
    let config: Config = text.parse().unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.unsupported(), []);
    let server = Server::start(&config).expect("port 0 is free");
    let set = server.backends()[0].1.clone();
    let mut changes = set.changes();
    // Who was given serves until somebody is found.
    assert_eq!(set.backends()[0].id(), "127.0.0.1:9000");
    names.set(SERVICE, Known::Srv(1, vec![(10, 3, 9001, "a.test."), (20, 1, 9002, "a.test.")]));
    while set.backends()[0].id() == "127.0.0.1:9000" {
        changes.changed().await;
    }
    let text = |it: &Backend| format!("{} {:?} x{}", it.id(), it.label(Tiers::LABEL), it.weight());
    let found: Vec<_> = set.backends().iter().map(text).collect();
    assert_eq!(found, [r#"127.0.0.1:9001 Some("10") x3"#, r#"127.0.0.1:9002 Some("20") x1"#]);
    names.set(SERVICE, Known::Srv(1, vec![(10, 3, 9003, "a.test.")]));
    while set.backends()[0].id() != "127.0.0.1:9003" {
        changes.changed().await;
    }
}
