//! What is malformed, smuggles, or goes round.

use proxy_core::testing::{Script, ScriptedConnector};
use proxy_forward::{Action, Policy, Rule};

use crate::stage::{Stage, connect, get};

#[tokio::test(start_paused = true)]
async fn requests_that_two_readers_read_differently_are_refused() {
    let stage = Stage::new(Script::ok());
    for (request, status) in [
        ("GET http://one.example/ HTTP/1.1\r\nHost: two.example\r\n\r\n", 400),
        ("GET http://one.example:80/ HTTP/1.1\r\nHost: one.example:81\r\n\r\n", 400),
        ("GET http://one.example/ HTTP/1.1\r\n\r\n", 400),
        ("GET http://one.example/ HTTP/1.1\r\nHost: one.example\r\nHost: one.example\r\n\r\n", 400),
        ("GET http://u:p@one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n", 400),
        ("GET http://u:p@one.example/ HTTP/1.1\r\nHost: u:p@one.example\r\n\r\n", 400),
        ("GET http:///path HTTP/1.1\r\nHost: one.example\r\n\r\n", 400),
        ("GET http:one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n", 400),
        ("GET //one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n", 400),
        ("GET https://one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n", 400),
        ("GET ftp://one.example/ HTTP/1.1\r\nHost: one.example\r\n\r\n", 400),
        ("GET file:///etc/passwd HTTP/1.1\r\nHost: one.example\r\n\r\n", 400),
        ("CONNECT one.example:443 HTTP/1.1\r\nHost: two.example:443\r\n\r\n", 400),
        ("CONNECT one.example:443 HTTP/1.1\r\nHost: one.example:80\r\n\r\n", 400),
        ("CONNECT http://one.example:443/ HTTP/1.1\r\nHost: one.example:443\r\n\r\n", 400),
        ("CONNECT u@one.example:443 HTTP/1.1\r\nHost: one.example:443\r\n\r\n", 400),
        ("CONNECT /one.example:443 HTTP/1.1\r\nHost: one.example:443\r\n\r\n", 400),
        ("CONNECT one.example:443 HTTP/1.1\r\nHost: one.example:443\r\nContent-Length: 4\r\n\r\nbody", 400),
        (
            "CONNECT one.example:443 HTTP/1.1\r\nHost: one.example:443\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "CONNECT one.example:443 HTTP/1.1\r\nHost: one.example:443\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "POST http://one.example/ HTTP/1.1\r\nHost: one.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: one.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: one.example\r\n\r\n", 400),
        ("TRACE http://one.example/ HTTP/1.2\r\nHost: one.example\r\n\r\n", 505),
    ] {
        assert_eq!(stage.ask(request).await.status(), status, "{request:?}");
    }
    assert_eq!((stage.origins.connections(), stage.names.asked()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn connect_takes_a_host_that_leaves_the_port_out() {
    let stage = Stage::new(Script::new().echo());
    for host in ["one.example:443", "one.example", "ONE.example.", ""] {
        let request = format!("CONNECT one.example:443 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(stage.status(&request).await, 200, "{host:?}");
    }
    assert_eq!(stage.status("CONNECT one.example:443 HTTP/1.0\r\n\r\n").await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_server_it_is_not_says_so() {
    let stage = Stage::new(Script::ok());
    let answer = stage.ask("GET /index.html HTTP/1.1\r\nHost: proxy.example:3128\r\n\r\n").await;
    assert_eq!(answer.status(), 400);
    assert!(answer.text().contains("This is a forward proxy"), "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_round_is_seen() {
    let stage = Stage::new(Script::ok());
    let answer =
        stage.ask("GET http://one.example/ HTTP/1.1\r\nHost: one.example\r\nVia: 1.1 a, 1.1 test\r\n\r\n").await;
    assert_eq!((answer.status(), answer.header("proxy-status")), (508, Some("proxy; error=proxy_loop_detected")));
    assert_eq!(stage.origins.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rule_refuses_before_the_name_is_asked_for() {
    let stage = Stage::with(ScriptedConnector::always(Script::ok()), |builder| {
        let rule = Rule::deny("no ads").host("*.ads.example").unwrap();
        builder.policy(Policy::new(Action::Allow).rule(rule))
    });
    for request in [get("http://a.ads.example/"), connect("b.a.ads.example:443"), get("http://A.ADS.EXAMPLE./")] {
        let answer = stage.ask(&request).await;
        assert_eq!((answer.status(), answer.header("proxy-status")), (403, Some("proxy; error=http_request_denied")));
        assert!(answer.text().contains("the rule &quot;no ads&quot;"), "{}", answer.text());
    }
    assert_eq!((stage.origins.connections(), stage.names.asked()), (0, 0));
    assert_eq!(stage.ask(get("http://one.example/")).await.status(), 200);
}
