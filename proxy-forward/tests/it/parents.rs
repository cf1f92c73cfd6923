//! By way of other proxies.

use std::sync::Arc;
use std::time::Duration;

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_core::{Cluster, ErrorKind, SharedPool, selector_fn};
use proxy_forward::{Action, ForwardBuilder, Parent, ParentProxy, Parents, Policy, Ports, Rule};

use crate::stage::{Stage, connect, get};

const OPEN: &str = "HTTP/1.1 200 Connection established\r\n\r\n";
const SOCKS_OPEN: &[u8] = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38";

/// `a:1` and `b:1`, in this order, which play their parts in `connector`.
fn parent(proxy: ParentProxy, connector: &ScriptedConnector) -> Parent {
    let builder = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()));
    let builder = builder.backend("a:1".parse().unwrap()).backend("b:1".parse().unwrap());
    let pool = proxy.pool(SharedPool::builder()).connector(Arc::new(proxy.connector(connector.clone()))).build();
    let cluster = proxy.cluster(builder).build_with(pool);
    Parent::new(proxy, cluster)
}

fn ada(proxy: ParentProxy) -> ParentProxy {
    proxy.credentials("ada", "secret").unwrap()
}

/// Everything goes by the parents; who dials an origin is refused.
fn stage(proxy: ParentProxy, connector: &ScriptedConnector, more: fn(ForwardBuilder) -> ForwardBuilder) -> Stage {
    let parents = Parents::default().otherwise(parent(proxy, connector));
    Stage::with(ScriptedConnector::always(Script::refuse()), |builder| more(builder.parents(parents)))
}

fn answering(answer: &'static str) -> Script {
    Script::new().read_head().answer(answer)
}

fn plain(builder: ForwardBuilder) -> ForwardBuilder {
    builder
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_is_asked_of_the_parent() {
    let connector = ScriptedConnector::always(answering(OPEN).echo());
    let stage = stage(ada(ParentProxy::http()), &connector, plain);
    let mut client = stage.connect();
    client
        .send(connect("one.example:443").replace("\r\n\r\n", "\r\nProxy-Authorization: Basic ZXZlOng=\r\n\r\n"))
        .await;
    assert_eq!(client.read_head().await.status(), 200);
    client.send("\x16\x03\x01 hello").await;
    assert_eq!(client.read(9).await, b"\x16\x03\x01 hello");
    assert_eq!(connector.tried(), ["a:1"]);
    assert_eq!(
        connector.received(0),
        "CONNECT one.example:443 HTTP/1.1\r\nHost: one.example:443\r\nProxy-Authorization: Basic YWRhOnNlY3JldA==\r\n\r\n\
         \x16\x03\x01 hello"
    );
    assert_eq!((stage.origins.connections(), stage.names.asked()), (0, 0));
}

/// Servers that speak first may do so in the same packet as the parent's answer.
#[tokio::test(start_paused = true)]
async fn what_comes_with_the_answer_is_the_origins() {
    let connector = ScriptedConnector::always(answering("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nSSH-2.0 hi"));
    let stage = stage(ParentProxy::http(), &connector, |builder| builder.connect_ports(Ports::all()));
    let mut client = stage.connect();
    client.send(connect("one.example:22")).await;
    assert_eq!(client.read_head().await.status(), 200);
    assert_eq!(client.read(10).await, b"SSH-2.0 hi");
}

#[tokio::test(start_paused = true)]
async fn requests_stay_in_absolute_form_on_one_connection() {
    let connector = ScriptedConnector::always(Script::ok());
    let stage = stage(ada(ParentProxy::http()), &connector, plain);
    let mut client = stage.connect();
    for url in ["http://one.example/a?b", "http://elsewhere.example:8080"] {
        client.send(get(url).replace("\r\n\r\n", "\r\nProxy-Authorization: Basic ZXZlOng=\r\n\r\n")).await;
        assert_eq!(client.read_response().await.status(), 200);
    }
    assert_eq!(connector.tried(), ["a:1"]);
    let head = |url: &str, host: &str| {
        format!(
            "GET {url} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 10.0.0.9\r\nvia: 1.1 test\r\n\
             proxy-authorization: Basic YWRhOnNlY3JldA==\r\n\r\n"
        )
    };
    assert_eq!(
        connector.received(0),
        head("http://one.example/a?b", "one.example")
            + &head("http://elsewhere.example:8080", "elsewhere.example:8080")
    );
}

#[tokio::test(start_paused = true)]
async fn socks_leads_requests_and_tunnels_to_their_origin() {
    let open = Script::new().read(4).answer(b"\x05\x02".as_slice()).read(12).answer(b"\x01\x00".as_slice());
    let open = open.read(18).answer(SOCKS_OPEN);
    let ok = || Script::new().read_request().answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let connector = ScriptedConnector::in_turn([
        open.clone().followed_by(ok()).followed_by(ok()),
        open.clone().followed_by(ok()),
        open.followed_by(Script::new().echo()),
    ]);
    let stage = stage(ada(ParentProxy::socks5()), &connector, plain);
    let mut client = stage.connect();
    // The third goes over the first's connection: that leads to the same destination.
    for url in ["http://one.example/1", "http://two.example/2", "http://one.example/3"] {
        client.send(get(url)).await;
        assert_eq!(client.read_response().await.status(), 200, "{url}");
    }
    client.send(connect("one.example:443")).await;
    assert_eq!(client.read_head().await.status(), 200);
    client.send("hello").await;
    assert_eq!(client.read(5).await, b"hello");
    let asked = |port: &str| format!("\x05\x02\x00\x02\x01\x03ada\x06secret\x05\x01\x00\x03\x0bone.example{port}");
    let first = connector.received(0);
    assert!(first.starts_with(&(asked("\x00\x50") + "GET /1 HTTP/1.1\r\n")), "{first:?}");
    assert!(first.contains("GET /3 HTTP/1.1\r\n") && !first.to_lowercase().contains("authorization"), "{first:?}");
    assert!(connector.received_bytes(2).ends_with(b"\x0bone.example\x01\xbbhello"));
    assert_eq!(connector.connections(), 3);
}

/// Of two parents the first fails in this way: what the client gets, and who was tried.
async fn check(first: Script, request: String, expected: (u16, &str), tried: &[&str]) {
    let connector = ScriptedConnector::default()
        .backend_always("a:1", first)
        .backend_always("b:1", answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let stage = stage(ParentProxy::http(), &connector, plain);
    let mut client = stage.connect();
    client.send(&request).await;
    let answer = client.read_head().await;
    assert_eq!(answer.status(), expected.0, "{request}");
    assert_eq!(answer.header("proxy-status").unwrap_or_default(), expected.1, "{request}");
    assert_eq!(connector.tried(), tried, "{request}");
}

#[tokio::test(start_paused = true)]
async fn another_parent_is_asked_where_the_first_is_not_fit() {
    let tunnel = || connect("one.example:443");
    let ok = (200, "");
    check(Script::refuse(), tunnel(), ok, &["a:1", "b:1"]).await;
    check(Script::hang(), tunnel(), ok, &["a:1", "b:1"]).await;
    check(Script::new().read_head().close(), tunnel(), ok, &["a:1", "b:1"]).await;
    check(answering("SSH-2.0\r\n"), tunnel(), ok, &["a:1", "b:1"]).await;
    check(answering("HTTP/1.1 407 No\r\n\r\n"), tunnel(), ok, &["a:1", "b:1"]).await;
    check(answering("HTTP/1.1 503 Busy\r\n\r\n"), tunnel(), ok, &["a:1", "b:1"]).await;
    check(Script::refuse(), get("http://one.example/"), ok, &["a:1", "b:1"]).await;
    check(Script::new().read_head().close(), get("http://one.example/"), ok, &["a:1", "b:1"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_parent_says_of_a_destination_is_the_answer() {
    let tunnel = || connect("one.example:443");
    let unavailable = "proxy; error=destination_unavailable";
    check(answering("HTTP/1.1 403 No\r\n\r\n"), tunnel(), (403, unavailable), &["a:1"]).await;
    check(answering("HTTP/1.1 502 No\r\n\r\n"), tunnel(), (502, unavailable), &["a:1"]).await;
    check(answering("HTTP/1.1 504 No\r\n\r\n"), tunnel(), (504, unavailable), &["a:1"]).await;
    // It waits for the destination, and did not say so.
    check(Script::new().read_head(), tunnel(), (504, unavailable), &["a:1"]).await;
    let ask_for_password =
        answering("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=a\r\nContent-Length: 0\r\n\r\n");
    check(ask_for_password, get("http://one.example/"), (502, unavailable), &["a:1"]).await;
    let says_no = answering("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    check(says_no, get("http://one.example/"), (503, ""), &["a:1"]).await;
}

/// Otherwise whoever names dead destinations takes the parents away from everybody.
#[tokio::test(start_paused = true)]
async fn no_client_can_talk_a_parent_down() {
    let connector = ScriptedConnector::default()
        .backend("a:1", [answering("HTTP/1.1 503 No\r\n\r\n"), Script::new().read_head(), answering(OPEN).echo()])
        .backend_always("b:1", answering("HTTP/1.1 502 No\r\n\r\n"));
    let stage = stage(ParentProxy::http(), &connector, plain);
    for (host, expected) in [("dead.example:443", 502), ("hangs.example:443", 504), ("one.example:443", 200)] {
        assert_eq!(stage.status(connect(host)).await, expected, "{host}");
    }
    assert_eq!(connector.tried(), ["a:1", "b:1", "a:1", "a:1"]);
}

#[tokio::test(start_paused = true)]
async fn the_guard_holds_for_what_is_known_from_here() {
    let connector = ScriptedConnector::always(answering(OPEN));
    let stage = stage(ParentProxy::http(), &connector, |builder| builder.own("93.184.215.7:443".parse().unwrap()));
    for host in ["127.0.0.1", "10.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "a.localhost", "169.254.169.254"]
    {
        assert_eq!(stage.status(connect(&format!("{host}:443"))).await, 403, "{host}");
        assert_eq!(stage.status(get(&format!("http://{host}/"))).await, 403, "{host}");
    }
    assert_eq!(stage.status(connect("93.184.215.7:443")).await, 403);
    for host in ["2130706433", "0x7f.1"] {
        assert_eq!(stage.status(connect(&format!("{host}:443"))).await, 400, "{host}");
    }
    assert_eq!(connector.connections(), 0);
    // A public address, and a name that is not known here: the parent decides.
    assert_eq!(stage.status(connect("93.184.215.1:443")).await, 200);
    assert_eq!(stage.status(connect("inside.corp.example:443")).await, 200);
    assert_eq!(stage.names.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn rules_hold_before_a_parent_is_asked() {
    let connector = ScriptedConnector::always(answering(OPEN));
    let stage = stage(ParentProxy::http(), &connector, |builder| {
        let ads = Rule::deny("ads").host("ads.example").unwrap();
        let six = Rule::deny("no IPv6").host("two.example").unwrap().address("::/0".parse().unwrap());
        let four = Rule::deny("no 9.0.0.0/8").host("one.example").unwrap().address("9.0.0.0/8".parse().unwrap());
        builder.policy(Policy::new(Action::Allow).rule(ads).rule(six).rule(four))
    });
    assert_eq!(stage.status(connect("ads.example:443")).await, 403);
    // One of its addresses is of the kind that is refused, and the parent may take that.
    assert_eq!(stage.status(connect("two.example:443")).await, 403);
    assert_eq!(stage.status(connect("one.example:25")).await, 403);
    assert_eq!(connector.connections(), 0);
    assert_eq!(stage.status(connect("one.example:443")).await, 200);
    assert_eq!(stage.status(connect("three.example:443")).await, 200);
    assert_eq!(stage.names.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn hosts_have_parents_of_their_own() {
    let (http, socks) = (ScriptedConnector::always(answering(OPEN)), ScriptedConnector::always(Script::refuse()));
    let parents = Parents::default().direct(["one.example"]).unwrap();
    let parents = parents.via(["*.corp.example"], parent(ParentProxy::http(), &http)).unwrap();
    let parents = parents.otherwise(parent(ParentProxy::socks5(), &socks));
    let stage = Stage::with(ScriptedConnector::always(Script::new().echo()), |builder| builder.parents(parents));
    assert_eq!(stage.status(connect("one.example:443")).await, 200);
    assert_eq!(stage.status(connect("a.corp.example:443")).await, 200);
    assert_eq!(stage.status(connect("other.example:443")).await, 502);
    assert_eq!(stage.origins.tried(), ["93.184.215.1:443"]);
    assert_eq!(http.tried(), ["a:1"]);
    assert_eq!(socks.tried()[..2], ["a:1", "b:1"]);
}

/// Of a cluster over TCP whose parent does not answer, the time is the parent's and not the cluster's own five seconds.
#[tokio::test(start_paused = true)]
async fn a_parent_has_its_own_time() {
    let proxy = ParentProxy::http().connect_timeout(Duration::from_secs(2)).answer_timeout(Duration::from_secs(20));
    let connector = ScriptedConnector::always(Script::new().read_head());
    let stage = stage(proxy, &connector, plain);
    let started = tokio::time::Instant::now();
    let answer = stage.ask(connect("one.example:443")).await;
    assert_eq!((answer.status(), started.elapsed()), (504, Duration::from_secs(20)));
    assert!(answer.text().contains("did not answer in time"), "{}", answer.text());
    assert_eq!(ErrorKind::NextHopRefused.code(), "next_hop_refused");
}
