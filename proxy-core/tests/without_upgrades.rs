//! Without the feature `tower-upgrade` an upgrade at the tower seam ends in a clear answer.
#![cfg(not(feature = "tower-upgrade"))]

use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use proxy_core::testing::{Script, ScriptedConnector, TestProxy};
use proxy_core::{Body, Proxy, ServiceUpstream};
use tower_service::Service;

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_service_that_switches_is_a_bad_gateway() {
    for (status, expected) in [(StatusCode::SWITCHING_PROTOCOLS, 502), (StatusCode::UPGRADE_REQUIRED, 426)] {
        let answers = tower::service_fn(move |_: Request<Body>| async move {
            Response::builder().status(status).body(Body::empty()).map_err(|_| "no such status")
        });
        let mut client = TestProxy::over(ServiceUpstream::new(answers)).connect();
        client.send(UPGRADE).await;
        assert_eq!(client.read_response().await.status(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_as_a_service_asks_no_origin_to_upgrade() {
    for (script, expected) in [(Script::new().read_head().answer(SWITCH), 502), (Script::ok(), 200)] {
        let origin = ScriptedConnector::always(script);
        let mut proxy = Proxy::over(origin.cluster());
        let get = Request::get("/").header("host", "h").header("connection", "upgrade").header("upgrade", "x");
        let response = proxy.call(get.body(Empty::new()).expect("a request")).await.expect("a proxy does not fail");
        assert_eq!(response.status(), expected);
        assert!(!origin.received(0).to_lowercase().contains("upgrade"), "{}", origin.received(0));
    }
}

/// The engine needs nothing for its own tunnels.
#[tokio::test(start_paused = true)]
async fn the_engine_upgrades_all_the_same() {
    let origin = ScriptedConnector::always(Script::new().read_head().answer(SWITCH).echo());
    let mut client = TestProxy::over(origin.cluster()).connect();
    client.send(UPGRADE).await;
    assert_eq!(client.read_head().await.status(), 101);
    client.send("ping").await;
    assert_eq!(client.read(4).await, b"ping");
}
