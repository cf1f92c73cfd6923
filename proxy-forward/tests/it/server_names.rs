//! Tunnels that begin with a TLS handshake, and what it is for.

use std::time::Duration;

use proxy_core::testing::{Recorder, Script, ScriptedConnector, TestClient};
use proxy_core::{ErrorKind, Outcome};
use proxy_forward::{Action, Policy, Ports, Rule, ServerNames};

use crate::stage::{Stage, connect};

/// A ClientHello for this server.
fn hello(name: Option<&str>) -> Vec<u8> {
    let with_length = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let extensions = name.map_or(vec![], |name| {
        let list = with_length(&[&[0][..], &with_length(name.as_bytes())].concat());
        [&[0, 0][..], &with_length(&list)].concat()
    });
    let start = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat();
    let body = [start, with_length(&extensions)].concat();
    let message = [&[1, 0][..], &with_length(&body)].concat();
    [&[22, 3, 1][..], &with_length(&message)].concat()
}

struct Tunnels {
    stage: Stage,
    recorder: Recorder,
}

impl Tunnels {
    fn new(server_names: ServerNames, script: Script) -> Self {
        let recorder = Recorder::new("r");
        let filter = recorder.clone();
        let stage = Stage::around(
            ScriptedConnector::always(script),
            |builder| {
                let ads = Rule::deny("ads").host("ads.example").unwrap();
                let builder = builder.policy(Policy::new(Action::Allow).rule(ads));
                builder.server_names(server_names).connect_ports(Ports::all())
            },
            move |upstream| upstream.into_proxy().filter(filter).build().unwrap(),
        );
        Tunnels { stage, recorder }
    }

    async fn open(&self, authority: &str) -> TestClient {
        let mut client = self.stage.connect();
        client.send(connect(authority)).await;
        assert_eq!(client.read_head().await.status(), 200);
        client
    }

    async fn outcome(&self) -> Outcome {
        self.recorder.outcome().await
    }
}

/// What is sent comes back, and nothing was lost or turned around.
async fn passes(server_names: ServerNames, authority: &str, sent: &[u8]) {
    let tunnels = Tunnels::new(server_names, Script::new().echo());
    let mut client = tunnels.open(authority).await;
    let (first, second) = sent.split_at(sent.len() / 2);
    for part in [first, second, b"more"] {
        client.send(part).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.read(sent.len() + 4).await, [sent, b"more"].concat(), "{authority}");
    drop(client);
    let outcome = tunnels.outcome().await;
    assert_eq!(outcome.bytes_received, sent.len() as u64 + 4, "{authority}");
}

/// It is closed for this reason, and nothing reached the origin; the client gets `told`.
async fn refused(authority: &str, sent: &[u8], kind: ErrorKind, told: &[u8]) {
    let tunnels = Tunnels::new(ServerNames::Required, Script::new().echo());
    let mut client = tunnels.open(authority).await;
    client.send(sent).await;
    assert_eq!(client.read_to_end().await, told, "{authority}");
    let outcome = tunnels.outcome().await;
    assert_eq!((outcome.error, outcome.bytes_received), (Some(kind), 0), "{authority}");
    assert_eq!(tunnels.stage.origins.received(0), "", "{authority}");
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_for_the_server_it_is_for_goes_on() {
    for server_names in [ServerNames::Required, ServerNames::Logged, ServerNames::Ignored] {
        passes(server_names, "one.example:443", &hello(Some("One.example"))).await;
        passes(server_names, "9.9.9.9:443", &hello(None)).await;
        passes(server_names, "9.9.9.9:443", &hello(Some("one.example"))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_it_is_only_logged_everything_goes_on() {
    for server_names in [ServerNames::Logged, ServerNames::Ignored] {
        passes(server_names, "one.example:443", &hello(Some("two.example"))).await;
        passes(server_names, "one.example:22", b"SSH-2.0-client\r\n").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_for_another_server_is_closed() {
    let alert = &[21, 3, 1, 0, 2, 2, 112][..];
    for name in [Some("two.example"), Some("a.one.example"), None] {
        refused("one.example:443", &hello(name), ErrorKind::ServerNameMismatch, alert).await;
    }
    // An address does not lead round a rule.
    refused("9.9.9.9:443", &hello(Some("ads.example")), ErrorKind::ServerNameMismatch, alert).await;
    refused("one.example:443", b"SSH-2.0-client\r\n", ErrorKind::NotTls, b"").await;
    refused("one.example:443", &[22, 3, 1, 0, 0], ErrorKind::BadClientHello, b"").await;
    refused("one.example:443", &[&[22, 3, 1, 0xff, 0xff][..], &[0; 64]].concat(), ErrorKind::BadClientHello, b"").await;
}

#[tokio::test(start_paused = true)]
async fn half_a_hello_is_waited_for_and_no_longer_than_that() {
    let tunnels = Tunnels::new(ServerNames::Required, Script::new().echo());
    let mut client = tunnels.open("one.example:443").await;
    let started = tokio::time::Instant::now();
    client.send(&hello(Some("one.example"))[..20]).await;
    assert_eq!(client.read_to_end().await, b"");
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert_eq!(tunnels.outcome().await.error, Some(ErrorKind::ClientHelloTimeout));
}

/// Servers that speak first are not kept waiting for a hello that never comes.
#[tokio::test(start_paused = true)]
async fn a_server_that_speaks_first_speaks_no_tls() {
    let script = || Script::new().answer("220 hello\r\n").echo();
    let tunnels = Tunnels::new(ServerNames::Logged, script());
    let mut client = tunnels.open("one.example:25").await;
    let started = tokio::time::Instant::now();
    assert_eq!(client.read(11).await, b"220 hello\r\n");
    client.send("EHLO").await;
    assert_eq!(client.read(4).await, b"EHLO");
    assert_eq!(started.elapsed(), Duration::ZERO);

    let tunnels = Tunnels::new(ServerNames::Required, script());
    let mut client = tunnels.open("one.example:25").await;
    assert_eq!(client.read_to_end().await, b"");
    assert_eq!(tunnels.outcome().await.error, Some(ErrorKind::NotTls));
}

/// Bytes that came with CONNECT are looked at as well.
#[tokio::test(start_paused = true)]
async fn an_early_hello_is_a_hello() {
    let tunnels = Tunnels::new(ServerNames::Required, Script::new().echo());
    for (name, expected) in [("one.example", true), ("two.example", false)] {
        let (mut client, hello) = (tunnels.stage.connect(), hello(Some(name)));
        client.send([connect("one.example:443").as_bytes(), &hello].concat()).await;
        assert_eq!(client.read_head().await.status(), 200);
        let got = client.read(7).await;
        assert_eq!(got == hello[..7], expected, "{name}");
    }
}
