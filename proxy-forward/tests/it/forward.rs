//! What passes, and how it arrives.

use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_forward::{Action, Anonymity, Policy, Ports, Rule};

use crate::stage::{Stage, connect, get};

#[tokio::test(start_paused = true)]
async fn an_absolute_request_reaches_its_origin_in_origin_form() {
    let stage = Stage::new(Script::ok());
    let mut client = stage.connect();
    client
        .send(
            "GET http://One.example/a?b HTTP/1.1\r\nHost: one.example\r\nProxy-Connection: keep-alive\r\n\
             Proxy-Authorization: Basic YTpi\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nAccept: */*\r\n\r\n",
        )
        .await;
    assert_eq!(client.read_response().await.status(), 200);
    assert_eq!(stage.origins.tried(), ["93.184.215.1:80"]);
    assert_eq!(
        stage.origins.received(0),
        "GET /a?b HTTP/1.1\r\nHost: one.example\r\nAccept: */*\r\nX-Forwarded-For: 10.0.0.9\r\nvia: 1.1 test\r\n\r\n"
    );
}

#[tokio::test(start_paused = true)]
async fn connections_are_kept_per_origin_on_both_sides() {
    let stage = Stage::new(Script::ok());
    let mut client = stage.connect();
    for url in [
        "http://one.example/1",
        "http://two.example/",
        "http://ONE.example./2",
        "http://one.example:8080/",
        "http://one.example/3",
    ] {
        client.send(get(url)).await;
        assert_eq!(client.read_response().await.status(), 200, "{url}");
    }
    assert_eq!(stage.origins.tried(), ["93.184.215.1:80", "[2606:4700::2]:80", "93.184.215.1:8080"]);
    assert_eq!(stage.origins.received(0).matches("GET /").count(), 3);
    assert_eq!(stage.names.asked(), 2);
}

/// An origin closed the kept connection: the request goes out once more, on a new one.
#[tokio::test(start_paused = true)]
async fn a_stale_connection_costs_no_request() {
    let once =
        Script::new().read_request().answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").read_request().close();
    let stage = Stage::with(ScriptedConnector::in_turn([once.clone(), once]), |builder| builder);
    let mut client = stage.connect();
    for _ in 0..2 {
        client.send(get("http://one.example/")).await;
        assert_eq!(client.read_response().await.status(), 200);
    }
    assert_eq!(stage.origins.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_carries_bytes_both_ways_on_a_connection_of_its_own() {
    let stage = Stage::with(ScriptedConnector::always(Script::new().echo()), |builder| {
        builder.http_ports(Ports::all()).connect_ports(Ports::of([80, 443]))
    });
    for _ in 0..2 {
        let mut client = stage.connect();
        client.send(connect("one.example:80")).await;
        let head = client.read_head().await;
        assert_eq!((head.status(), head.header("content-length"), head.header("connection")), (200, None, None));
        client.send("\x16\x03\x01 hello").await;
        assert_eq!(client.read(9).await, b"\x16\x03\x01 hello");
    }
    assert_eq!(stage.origins.connections(), 2);
}

/// A connection that HTTP was spoken on is no tunnel: whoever used it before may have left something behind.
#[tokio::test(start_paused = true)]
async fn a_tunnel_takes_no_kept_connection_and_leaves_none() {
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.connect_ports(Ports::all()));
    assert_eq!(stage.ask(get("http://one.example/")).await.status(), 200);
    assert_eq!(stage.status(connect("one.example:80")).await, 200);
    assert_eq!(stage.ask(get("http://one.example/")).await.status(), 200);
    assert_eq!(stage.origins.connections(), 2);
    assert_eq!(stage.origins.received(0).matches("GET /").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn bytes_after_connect_wait_for_the_200() {
    let refused = Stage::with(ScriptedConnector::always(Script::refuse()), |builder| builder);
    let early = format!("{}GET /secret", connect("one.example:443"));
    assert_eq!(refused.ask(&early).await.status(), 502);

    let stage = Stage::with(ScriptedConnector::always(Script::new().echo()), |builder| builder);
    let mut client = stage.connect();
    client.send(&early).await;
    assert_eq!(client.read_head().await.status(), 200);
    assert_eq!(client.read(11).await, b"GET /secret");
}

#[tokio::test(start_paused = true)]
async fn families_race() {
    let origins = ScriptedConnector::default()
        .backend_always("[2606:4700::2]:443", Script::hang())
        .backend_always("93.184.215.2:443", Script::new().echo());
    let stage = Stage::with(origins, |builder| builder);
    let started = tokio::time::Instant::now();
    let mut client = stage.connect();
    client.send(connect("two.example:443")).await;
    assert_eq!(client.read_head().await.status(), 200);
    assert_eq!(started.elapsed(), Duration::from_millis(250));
    assert_eq!(stage.origins.tried(), ["[2606:4700::2]:443", "93.184.215.2:443"]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_says_why() {
    let stage = Stage::with(
        ScriptedConnector::default()
            .backend_always("93.184.215.1:443", Script::hang())
            .backend_always("93.184.215.1:80", Script::new().read_request().close()),
        |builder| builder,
    );
    let check = async |request: String, status: u16, proxy_status: &str, text: &str| {
        let answer = stage.ask(&request).await;
        assert_eq!((answer.status(), answer.header("proxy-status")), (status, Some(proxy_status)), "{request}");
        assert!(answer.text().contains(text), "{}", answer.text());
    };
    check(get("http://missing.example/"), 502, "proxy; error=dns_error", "the name has no address").await;
    check(connect("one.example:443"), 504, "proxy; error=connection_timeout", "took too long").await;
    check(connect("two.example:443"), 502, "proxy; error=connection_refused", "could not be connected to").await;
    check(get("http://one.example/"), 502, "proxy; error=connection_terminated", "closed the connection").await;
}

#[tokio::test(start_paused = true)]
async fn origins_learn_what_they_may() {
    let check = async |anonymity, expected: &[&str]| {
        let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.anonymity(anonymity));
        stage.ask("GET http://one.example/ HTTP/1.1\r\nHost: one.example\r\nVia: 1.1 other\r\n\r\n").await;
        let received = stage.origins.received(0);
        let fields: Vec<_> = received.trim_end().lines().skip(2).collect();
        assert_eq!(fields, expected, "{anonymity:?}");
    };
    check(Anonymity::Transparent, &["Via: 1.1 other", "X-Forwarded-For: 10.0.0.9", "via: 1.1 test"]).await;
    check(Anonymity::Anonymous, &["Via: 1.1 other", "via: 1.1 test"]).await;
    check(Anonymity::Elite, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn rules_about_addresses_choose_among_them() {
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| {
        let no_v6 = Rule::deny("no IPv6").address("::/0".parse().unwrap());
        builder.policy(Policy::new(Action::Allow).rule(no_v6))
    });
    assert_eq!(stage.ask(get("http://two.example/")).await.status(), 200);
    assert_eq!(stage.origins.tried(), ["93.184.215.2:80"]);
    let answer = stage.ask(get("http://[2606:4700::2]/")).await;
    assert_eq!(answer.status(), 403);
    assert!(answer.text().contains("the rule &quot;no IPv6&quot;"), "{}", answer.text());
}

/// The origin of a client that may go elsewhere is another: neither gets the other's connection.
#[tokio::test(start_paused = true)]
async fn connections_are_shared_by_those_who_may_go_to_the_same_addresses() {
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| {
        let no_v6 = Rule::deny("HEAD over IPv4").method(http::Method::HEAD).address("::/0".parse().unwrap());
        builder.policy(Policy::new(Action::Allow).rule(no_v6))
    });
    assert_eq!(stage.ask(get("http://two.example/")).await.status(), 200);
    let mut client = stage.connect();
    client.send("HEAD http://two.example/ HTTP/1.1\r\nHost: two.example\r\n\r\n").await;
    assert_eq!(client.read_head().await.status(), 200);
    assert_eq!(stage.origins.tried(), ["[2606:4700::2]:80", "93.184.215.2:80"]);
}

#[tokio::test(start_paused = true)]
async fn origins_are_bounded_and_the_least_used_lose_their_connections() {
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| builder.max_origins(40));
    for number in 0..200 {
        let url = format!("http://one.example:{}/", 8000 + number);
        assert_eq!(stage.ask(get(&url)).await.status(), 200);
    }
    // All but 40 have to connect again.
    for number in 0..200 {
        let url = format!("http://one.example:{}/", 8000 + number);
        assert_eq!(stage.ask(get(&url)).await.status(), 200);
    }
    assert!((360..400).contains(&stage.origins.connections()), "{}", stage.origins.connections());
}
