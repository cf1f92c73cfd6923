//! The administration interface: what it answers, and whom.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Method, Request, StatusCode};
use proxy_core::testing::{Script, ScriptedConnector, TestProxy};
use proxy_core::{BackendState, Observer, Peer, Proxy, Route, SharedPool};
use proxy_metrics::{Admin, Control, LimitState, Logging, Metrics, Readiness, Watched};
use serde_json::{Value, json};
use tower::ServiceExt;

/// An interface over one upstream with one backend, which has answered a request.
struct Stage {
    admin: Admin,
    backends: proxy_core::BackendSet,
    _proxy: TestProxy,
    _watched: Watched,
}

/// A configuration of one number, which may not be odd.
struct File;

#[async_trait]
impl Control for File {
    fn config(&self) -> Option<String> {
        Some("{\"number\":2}".into())
    }

    fn check(&self, config: &str) -> Result<(), String> {
        if config.contains('1') { Err("1:1: odd\n1:2: and small".into()) } else { Ok(()) }
    }

    async fn reload(&self) -> Result<Vec<String>, String> {
        Err("lb.json: is away".into())
    }
}

const BACKEND: &str = "/api/v1/upstreams/api/backends/";

impl Stage {
    async fn new() -> Self {
        let metrics = Metrics::new();
        let cluster = ScriptedConnector::always(Script::ok()).cluster();
        let backends = cluster.backends().clone();
        let pool = SharedPool::builder().build();
        let watched = metrics.upstream("api").watch(backends.clone(), move || pool.stats());
        let proxy = Proxy::builder().observer(metrics.listener("web")).upstream("api", cluster).route(Route::to("api"));
        let proxy = TestProxy::new(proxy.build().expect("the route names the upstream"));
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(client.read_response().await.status(), 200);
        let admin = Admin::new(metrics);
        admin.set_control(File);
        admin.set_logging(Log(Mutex::new("info".into())));
        Stage { admin, backends, _proxy: proxy, _watched: watched }
    }

    fn backend(&self) -> String {
        format!("{BACKEND}{}", self.backends.backends()[0].id())
    }
}

async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = router.clone().oneshot(request).await.expect("it answers");
    let status = response.status();
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    let text = String::from_utf8(body.to_vec()).expect("text");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn request(method: Method, path: &str, fields: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    let headers = request.headers_mut().expect("it is well formed so far");
    headers.insert("host", "localhost:9900".parse().expect("a value"));
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().expect("a name");
        headers.insert(name, value.parse().expect("a value"));
    }
    request.body(body.to_owned().into()).expect("it is well formed")
}

async fn get(router: &Router, path: &str) -> (StatusCode, Value) {
    ask(router, request(Method::GET, path, &[], "")).await
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(start_paused = true)]
async fn it_shows_what_there_is() {
    let stage = Stage::new().await;
    let router = stage.admin.router();
    for path in
        ["status", "listeners", "routes", "upstreams", "upstreams/api", "upstreams/api/backends", "pools", "failures"]
    {
        let (status, value) = get(&router, &format!("/api/v1/{path}")).await;
        assert!(status == StatusCode::OK && (value.is_object() || value.is_array()), "{path}: {status} {value}");
    }
    let (_, listeners) = get(&router, "/api/v1/listeners").await;
    assert_eq!((&listeners[0]["name"], &listeners[0]["statuses"]["2xx"]), (&json!("web"), &json!(1)));
    let (_, routes) = get(&router, "/api/v1/routes").await;
    assert_eq!((&routes[0]["route"], &routes[0]["requests"]), (&json!("api"), &json!(1)));
    let (_, backend) = get(&router, &stage.backend()).await;
    assert_eq!((&backend["state"], &backend["weight"]), (&json!("healthy"), &json!(1)));
    for path in ["/nowhere", "/api/v1/nowhere", "/api/v1/upstreams/nowhere", &format!("{BACKEND}nowhere")] {
        assert_eq!(get(&router, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

/// What the description promises is what is answered: every path there is, and with these keys.
#[tokio::test(start_paused = true)]
async fn the_description_is_current() {
    let stage = Stage::new().await;
    let router = stage.admin.router();
    let (_, described) = get(&router, "/api/v1/openapi.json").await;
    for (path, methods) in described["paths"].as_object().expect("paths") {
        let Some(read) = methods.get("get") else { continue };
        if path.ends_with("/events") {
            continue; // It does not end.
        }
        let id = stage.backends.backends()[0].id().to_owned();
        let (status, value) = get(&router, &path.replace("{upstream}", "api").replace("{backend}", &id)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let schema = &read["responses"]["200"]["content"]["application/json"]["schema"];
        conforms(&described, schema, &value, path);
    }
}

/// Objects have the properties of their schema, and no others.
fn conforms(described: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().expect("a name");
        return conforms(described, &described["components"]["schemas"][name], value, place);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return conforms(described, &merged(described, parts), value, place);
    }
    if let (Some(properties), Some(members)) = (schema["properties"].as_object(), value.as_object()) {
        for name in members.keys() {
            assert!(properties.contains_key(name), "{place}: {name} is not described");
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            assert!(members.contains_key(required.as_str().expect("a name")), "{place}: {required} is missing");
        }
        for (name, schema) in properties {
            members
                .get(name)
                .into_iter()
                .for_each(|value| conforms(described, schema, value, &format!("{place}.{name}")));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(described, &schema["items"], item, place);
    }
}

/// A schema with the properties of all of them.
fn merged(described: &Value, parts: &[Value]) -> Value {
    let mut properties = serde_json::Map::new();
    for part in parts {
        let name = part["$ref"].as_str().and_then(|name| name.rsplit('/').next());
        let part = name.map_or(part, |name| &described["components"]["schemas"][name]);
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
    }
    json!({ "properties": properties })
}

/// Every route of the sources is described, with all that may be done there.
#[test]
fn every_route_is_described() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin");
    let described: Value = serde_json::from_str(include_str!("../openapi.json")).expect("it is JSON");
    let mut routes = 0;
    for file in std::fs::read_dir(folder).expect("the sources are there") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("it is text");
        for route in text.split(".route(\"").skip(1) {
            let (path, rest) = route.split_once('"').expect("a path");
            let handlers = rest.split(".route(").next().unwrap_or_default().lines().next().unwrap_or_default();
            let documented = &described["paths"][format!("/api/v1{path}")];
            for method in ["get", "post", "put", "patch", "delete"] {
                let has = handlers.contains(&format!("{method}("));
                assert_eq!(has, documented.get(method).is_some(), "{method} {path}");
            }
            routes += 1;
        }
    }
    let api = described["paths"].as_object().expect("paths").keys().filter(|path| path.starts_with("/api/"));
    assert_eq!(routes, api.count(), "those that are described, and those that there are");
}

#[tokio::test(start_paused = true)]
async fn limits_are_shown_while_they_live() {
    let metrics = Metrics::new();
    let admin = Admin::new(metrics.clone());
    let router = admin.router();
    let limits = [Arc::new(2_u64), Arc::new(3)];
    for limit in &limits {
        let weak = Arc::downgrade(limit);
        metrics.limit("per client", "rate_limit", move || {
            let mut state = LimitState::default();
            (state.refused, state.keys) = (*weak.upgrade()?, Some(7));
            Some(state)
        });
    }
    // A limit and the one that replaces it.
    let (_, shown) = get(&router, "/api/v1/limits").await;
    assert_eq!(
        (shown.as_array().map(Vec::len), &shown[0]["refused"], &shown[0]["keys"]),
        (Some(1), &json!(5), &json!(14))
    );
    let [one, other] = limits;
    drop(one);
    assert_eq!(get(&router, "/api/v1/limits").await.1[0]["refused"], 3);
    drop(other);
    assert_eq!(get(&router, "/api/v1/limits").await.1, json!([]));
}

#[tokio::test(start_paused = true)]
async fn clients_with_the_most_connections_come_first() {
    let metrics = Metrics::new();
    let router = Admin::new(metrics.clone()).router();
    let listener = metrics.listener("web");
    let peer = |client: &str| Peer::new(client.parse().expect("an address"));
    let open = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.2:2", "[::ffff:10.0.0.2]:3", "10.0.0.3:1"].map(peer);
    open.iter().for_each(|peer| listener.on_connection_opened(peer));
    // Two that seem to have the same ends.
    listener.on_connection_opened(&open[0]);
    let (_, all) = get(&router, "/api/v1/connections").await;
    assert_eq!((&all["open"], all["oldest"].as_array().map(Vec::len)), (&json!(6), Some(5)), "{all}");
    let clients = |value: &Value| {
        let clients = value["clients"].as_array().cloned().unwrap_or_default();
        clients
            .iter()
            .map(|it| format!("{} {}", it["client"].as_str().expect("text"), it["connections"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(clients(&all), ["10.0.0.2 3", "10.0.0.1 2", "10.0.0.3 1"]);
    let (_, top) = get(&router, "/api/v1/connections?top=1").await;
    assert_eq!((clients(&top), top["oldest"].as_array().map(Vec::len)), (vec!["10.0.0.2 3".to_owned()], Some(1)));
    for peer in &open {
        listener.on_connection_closed(peer, 1);
    }
    assert_eq!(clients(&get(&router, "/api/v1/connections").await.1), ["10.0.0.1 1"]);
    for bad in ["top=0", "top=1001", "top=x", "top=", "tpo=1"] {
        assert_eq!(get(&router, &format!("/api/v1/connections?{bad}")).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
}

/// A log that knows two levels.
struct Log(Mutex<String>);

impl Logging for Log {
    fn level(&self) -> String {
        self.0.lock().expect("nobody panicked").clone()
    }

    fn set_level(&self, level: &str) -> Result<(), String> {
        match level {
            "info" | "debug" => *self.0.lock().expect("nobody panicked") = level.to_owned(),
            other => return Err(format!("no level: {other}")),
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_level_is_changed() {
    const PATH: &str = "/api/v1/log-level";
    let admin = Admin::new(Metrics::new());
    let router = admin.router();
    assert_eq!(get(&router, PATH).await.0, StatusCode::NOT_FOUND);
    admin.set_logging(Log(Mutex::new("info".into())));
    let put = async |body: &str| ask(&router, request(Method::PUT, PATH, &[JSON], body)).await;
    assert_eq!(get(&router, PATH).await, (StatusCode::OK, json!({ "level": "info" })));
    assert_eq!(put(r#"{"level":"debug"}"#).await, (StatusCode::OK, json!({ "level": "debug" })));
    assert_eq!(
        put(r#"{"level":"loud"}"#).await,
        (StatusCode::UNPROCESSABLE_ENTITY, json!({ "error": "no level: loud" }))
    );
    assert_eq!(put("loud").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let foreign = ask(&router, request(Method::PUT, PATH, &[], r#"{"level":"info"}"#)).await;
    assert_eq!(foreign.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(get(&router, PATH).await.1, json!({ "level": "debug" }));
}

#[tokio::test(start_paused = true)]
async fn backends_are_drained_weighed_and_taken_back() {
    let stage = Stage::new().await;
    let (router, path) = (stage.admin.router(), stage.backend());
    let backend = &stage.backends.backends()[0];
    let change = async |body: &str| ask(&router, request(Method::PATCH, &path, &[JSON], body)).await;
    let (status, answer) = change(r#"{"state":"draining","weight":7}"#).await;
    assert_eq!((status, &answer["state"], &answer["source"]), (StatusCode::OK, &json!("draining"), &json!("operator")));
    assert_eq!((backend.state(), backend.weight()), (BackendState::Draining, 7));
    change(r#"{"state":"maintenance"}"#).await;
    assert_eq!(backend.state(), BackendState::Maintenance);
    change(r#"{"state":"healthy"}"#).await;
    assert_eq!(backend.state(), BackendState::Healthy);
    assert_eq!(change(r#"{"state":"gone"}"#).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(ask(&router, request(Method::POST, &path, &[JSON], "{}")).await.0, StatusCode::METHOD_NOT_ALLOWED);
    let large = format!(r#"{{"weight":1,"x":"{}"}}"#, "x".repeat(5 << 20));
    assert_eq!(change(&large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn the_configuration_is_shown_checked_and_reloaded() {
    let stage = Stage::new().await;
    let router = stage.admin.router();
    let post = async |path: &str, body: &str| ask(&router, request(Method::POST, path, &[JSON], body)).await;
    assert_eq!(get(&router, "/api/v1/config").await, (StatusCode::OK, json!({ "number": 2 })));
    let verdict = post("/api/v1/config/validate", "{\"number\":1}").await.1;
    assert_eq!(verdict, json!({ "valid": false, "errors": ["1:1: odd", "1:2: and small"] }));
    let verdict = post("/api/v1/config/validate", "{\"number\":4}").await.1;
    assert_eq!(verdict, json!({ "valid": true, "errors": [] }));
    let refused = (StatusCode::CONFLICT, json!({ "error": "lb.json: is away" }));
    assert_eq!(post("/api/v1/config/reload", "").await, refused);
    let (status, _) = ask(&router, request(Method::POST, "/api/v1/config/reload", &[], "")).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);

    for number in 0..30 {
        stage.admin.reloaded(if number % 2 == 0 { Ok(vec!["changed x".into(); 300]) } else { Err("bad".into()) });
    }
    let (_, history) = get(&router, "/api/v1/config/history").await;
    let history = history.as_array().expect("a list");
    assert_eq!((history.len(), &history[0]["error"], &history[0]["changes"]), (20, &json!("bad"), &json!([])));
    assert_eq!((&history[1]["error"], &history[1]["changes"][200]), (&json!(null), &json!("and 100 more")));
    let (_, bare) = get(&Admin::new(Metrics::new()).router(), "/api/v1/config").await;
    assert_eq!(bare, json!({ "error": "no configuration stands behind this interface" }));
}

#[tokio::test(start_paused = true)]
async fn other_sites_change_nothing_and_read_nothing() {
    let stage = Stage::new().await;
    let (router, path) = (stage.admin.router(), stage.backend());
    let body = r#"{"weight":9}"#;
    let table: &[(&[(&str, &str)], StatusCode)] = &[
        (&[], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[("content-type", "text/plain")], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[("content-type", "application/x-www-form-urlencoded")], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[JSON, ("origin", "https://evil.example")], StatusCode::FORBIDDEN),
        (&[JSON, ("origin", "null")], StatusCode::FORBIDDEN),
        (&[JSON, ("sec-fetch-site", "cross-site")], StatusCode::FORBIDDEN),
        (&[JSON, ("sec-fetch-site", "same-site")], StatusCode::FORBIDDEN),
        (&[JSON, ("host", "evil.example:9900")], StatusCode::FORBIDDEN),
        (&[JSON, ("origin", "http://localhost:9900"), ("sec-fetch-site", "same-origin")], StatusCode::OK),
        (&[JSON, ("host", "127.0.0.1:9900"), ("origin", "http://127.0.0.1:9900")], StatusCode::OK),
        (&[("content-type", "Application/JSON; charset=utf-8")], StatusCode::OK),
    ];
    for (fields, expected) in table {
        stage.backends.backends()[0].set_weight(1);
        let (status, _) = ask(&router, request(Method::PATCH, &path, fields, body)).await;
        let weight = if *expected == StatusCode::OK { 9 } else { 1 };
        assert_eq!((status, stage.backends.backends()[0].weight()), (*expected, weight), "{fields:?}");
    }
    for path in ["/metrics", "/healthz", "/api/v1/status"] {
        let (status, _) = ask(&router, request(Method::GET, path, &[("host", "evil.example")], "")).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_opens_all_but_health() {
    let stage = Stage::new().await;
    let admin = stage.admin.with_token(Some("open sesame"));
    let router = admin.router();
    let table = [
        ("", StatusCode::UNAUTHORIZED),
        ("Bearer open sesam", StatusCode::UNAUTHORIZED),
        ("Bearer open sesame!", StatusCode::UNAUTHORIZED),
        ("Basic open sesame", StatusCode::UNAUTHORIZED),
        ("Bearer", StatusCode::UNAUTHORIZED),
        ("Bearer open sesame", StatusCode::OK),
        ("bearer open sesame", StatusCode::OK),
    ];
    for (given, expected) in table {
        for path in ["/metrics", "/api/v1/status", "/api/v1/openapi.json"] {
            // A name is no danger to those who have to know a token.
            let fields = [("authorization", given), ("host", "lb.internal")];
            assert_eq!(ask(&router, request(Method::GET, path, &fields, "")).await.0, expected, "{given:?} {path}");
        }
    }
    assert_eq!(get(&router, "/healthz").await.0, StatusCode::OK);
    assert_eq!(get(&stage.admin.router(), "/metrics").await.0, StatusCode::OK, "the handle without a token");
    admin.set_token(None);
    assert_eq!(get(&router, "/metrics").await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn readiness_is_what_it_was_told() {
    let stage = Stage::new().await;
    let router = stage.admin.router();
    let table = [
        (Readiness::Starting, StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        (Readiness::Ready, StatusCode::OK, "ready\n"),
        (Readiness::Draining, StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    ];
    for (readiness, status, text) in table {
        stage.admin.set_readiness(readiness);
        assert_eq!(get(&router, "/readyz").await, (status, json!(text)));
        assert_eq!(get(&router, "/healthz").await, (StatusCode::OK, json!("ok\n")));
    }
}

#[tokio::test]
async fn others_reach_it_with_a_token_only() {
    let admin = Admin::new(Metrics::new());
    for public in ["0.0.0.0:0", "[::]:0"] {
        let error = admin.bind(public.parse().expect("an address")).expect_err("it is public");
        assert!(error.to_string().starts_with("other machines could reach "), "{error}");
        assert!(error.into_io().is_err());
    }
    let server = admin.with_token(Some("x")).bind("0.0.0.0:0".parse().expect("an address")).expect("it has a token");
    assert!(server.address().is_some());
    let folder = std::env::temp_dir().join(format!("admin-{}", std::process::id()));
    std::fs::write(&folder, "precious").expect("a file of its own");
    let error = admin.bind_unix(&folder).expect_err("it is a file");
    assert!(error.to_string().contains("it is there, and no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&folder).expect("it is there"), "precious");
    std::fs::remove_file(&folder).expect("it is there");
}
