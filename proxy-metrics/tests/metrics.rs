//! What is counted, through whole proxies in memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use proxy_core::testing::{Script, ScriptedConnector, TestClient, TestProxy};
use proxy_core::{BackendSet, Flow};
use proxy_core::{
    BackendState, Cluster, Filter, HealthSource, Observer, Peer, Proxy, Response, Route, SharedPool, TlsInfo,
    TraceContext, Verdict, filter_fn, selector_fn,
};
use proxy_metrics::{Metrics, Publisher, Watched};

/// A proxy that metrics watch, before these origins.
struct Lab {
    metrics: Metrics,
    backends: BackendSet,
    watched: Option<Watched>,
    proxy: Proxy,
}

impl Lab {
    fn new(origins: ScriptedConnector, backends: &[&str]) -> Self {
        Lab::with(origins, backends, filter_fn(|_, _| Ok(Flow::Continue)))
    }

    fn with(origins: ScriptedConnector, backends: &[&str], filter: impl Filter) -> Self {
        let metrics = Metrics::new();
        let api = metrics.upstream("api");
        let pool = SharedPool::builder().connector(Arc::new(origins)).observer(Arc::new(api.clone())).build();
        let builder = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()));
        let builder = backends
            .iter()
            .map(|it| it.parse().expect("an address"))
            .fold(builder, proxy_core::ClusterBuilder::backend);
        let cluster = builder.observer(Arc::new(api.clone())).build_with(pool.clone());
        let backends = cluster.backends().clone();
        let watched = Some(api.watch(backends.clone(), move || pool.stats()));
        let proxy = Proxy::builder().observer(metrics.listener("web")).filter(filter).upstream("api", cluster);
        let proxy = proxy.route(Route::to("api").named("all").path_prefix("/").expect("a path"));
        Lab { metrics, backends, watched, proxy: proxy.build().expect("the route names the upstream") }
    }

    fn client(&self) -> TestClient {
        TestProxy::new(self.proxy.clone()).connect()
    }

    /// The value of the series that `series` names, as it stands in the text; empty where there is none.
    fn value(&self, series: &str) -> String {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn check(&self, table: &[(&str, &str)]) {
        for (series, expected) in table {
            assert_eq!(self.value(series), *expected, "{series} in\n{}", self.metrics.render());
        }
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

async fn get(client: &mut TestClient) -> u16 {
    client.send(GET).await;
    client.read_response().await.status()
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_exactly() {
    let lab = Lab::new(ScriptedConnector::always(Script::ok()), &["a:1"]);
    let mut client = lab.client();
    for _ in 0..7 {
        assert_eq!(get(&mut client).await, 200);
    }
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(client.read_response().await.status(), 200);
    lab.check(&[
        (r#"proxy_requests_total{listener="web",route="all",upstream="api",status="2xx"}"#, "8"),
        (r#"proxy_request_duration_seconds_count{listener="web",route="all",upstream="api"}"#, "8"),
        (r#"proxy_request_duration_seconds_bucket{listener="web",route="all",upstream="api",le="+Inf"}"#, "8"),
        (r#"proxy_request_queue_seconds_count{listener="web",route="all",upstream="api"}"#, "8"),
        (r#"proxy_request_connect_seconds_count{listener="web",route="all",upstream="api"}"#, "8"),
        (r#"proxy_request_first_byte_seconds_count{listener="web",route="all",upstream="api"}"#, "8"),
        (r#"proxy_request_received_bytes_total{listener="web",route="all",upstream="api"}"#, "5"),
        (r#"proxy_requests_in_flight{listener="web"}"#, "0"),
        (r#"proxy_backend_attempts_total{upstream="api",backend="a:1",result="2xx"}"#, "8"),
        (r#"proxy_backend_first_byte_seconds_count{upstream="api",backend="a:1"}"#, "8"),
        (r#"proxy_pool_connections_opened_total{upstream="api"}"#, "1"),
        (r#"proxy_pool_connections_reused_total{upstream="api"}"#, "7"),
        (r#"proxy_pool_connect_seconds_count{upstream="api"}"#, "1"),
        (r#"proxy_upstream_retries_total{upstream="api"}"#, "0"),
    ]);
    let sent: u64 = lab
        .value(r#"proxy_response_sent_bytes_total{listener="web",route="all",upstream="api"}"#)
        .parse()
        .expect("a number");
    assert!(sent > 8 * 19, "{sent} bytes");
}

#[tokio::test(start_paused = true)]
async fn time_lies_in_its_bucket_and_in_flight_is_live() {
    let slow = Script::new().read_request().wait(Duration::from_secs(3)).answer("HTTP/1.1 204 No Content\r\n\r\n");
    let lab = Lab::new(ScriptedConnector::always(slow), &["a:1"]);
    let mut client = lab.client();
    client.send(GET).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    lab.check(&[
        (r#"proxy_requests_in_flight{listener="web"}"#, "1"),
        (r#"proxy_backend_requests_in_flight{upstream="api",backend="a:1"}"#, "1"),
    ]);
    assert_eq!(client.read_response().await.status(), 204);
    let bucket = |le: &str| {
        format!(r#"proxy_request_duration_seconds_bucket{{listener="web",route="all",upstream="api",le="{le}"}}"#)
    };
    lab.check(&[
        (&bucket("2.5"), "0"),
        (&bucket("5"), "1"),
        (r#"proxy_request_duration_seconds_sum{listener="web",route="all",upstream="api"}"#, "3"),
        (r#"proxy_requests_in_flight{listener="web"}"#, "0"),
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_sampled_trace_stands_for_its_bucket_in_open_metrics() {
    let lab = Lab::with(ScriptedConnector::always(Script::ok()), &["a:1"], TraceContext::new());
    let mut client = lab.client();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for flags in ["00", "01"] {
        let field = format!("traceparent: 00-{trace}-00f067aa0ba902b7-{flags}\r\n");
        assert!(!lab.metrics.render_open_metrics().contains("trace_id"));
        client.send(GET.replace("\r\n\r\n", &format!("\r\n{field}\r\n"))).await;
        assert_eq!(client.read_response().await.status(), 200);
    }
    let text = lab.metrics.render_open_metrics();
    let of = |start: &str| text.lines().filter(|line| line.starts_with(start)).collect::<Vec<_>>();
    let buckets = of("proxy_request_duration_seconds_bucket");
    let start = format!(
        r#"proxy_request_duration_seconds_bucket{{listener="web",route="all",upstream="api",le="0.0001"}} 2 # {{trace_id="{trace}"}} 0 "#
    );
    assert!(buckets[0].starts_with(&start) && buckets[1..].iter().all(|line| !line.contains('#')), "{buckets:?}");
    let counters =
        ["# TYPE proxy_requests counter", "# TYPE process_cpu_seconds counter", "# TYPE proxy_backend_up gauge"];
    assert!(counters.iter().all(|line| of(line).len() == 1), "{text}");
    assert_eq!(of("proxy_requests_total{").len(), 1);
    assert!(text.ends_with("\n# EOF\n") && !lab.metrics.render().contains(trace), "{text}");
}

#[tokio::test(start_paused = true)]
async fn failures_say_whose_fault_it_was() {
    let origins = ScriptedConnector::default().backend_always("a:1", Script::refuse());
    let lab = Lab::new(origins, &["a:1"]);
    assert_eq!(get(&mut lab.client()).await, 502);
    let mut bad = lab.client();
    bad.send("GET / HTTP/1.1\r\nHost: h\r\nbad header: 1\r\n\r\n").await;
    assert_eq!(bad.read_response().await.status(), 400);
    lab.check(&[
        (r#"proxy_request_failures_total{listener="web",route="all",upstream="api",fault="upstream",phase="connect",code="connect_refused"}"#, "1"),
        (r#"proxy_request_failures_total{listener="web",route="none",upstream="none",fault="client",phase="head",code="bad_header"}"#, "1"),
        (r#"proxy_requests_total{listener="web",route="none",upstream="none",status="4xx"}"#, "1"),
        (r#"proxy_backend_attempts_total{upstream="api",backend="a:1",result="failed"}"#, "3"),
    ]);
    let failures = lab.metrics.failures();
    assert_eq!(failures.len(), 2);
    let [youngest, oldest] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!(
        (youngest.code, youngest.reason, youngest.status),
        ("bad_header", ("client", "head"), Some(StatusCode::BAD_REQUEST))
    );
    assert_eq!((oldest.code, oldest.backend.as_deref(), &*oldest.request), ("connect_refused", Some("a:1"), "GET /"));
    assert_eq!(oldest.client, Some([192, 0, 2, 1].into()));
}

#[tokio::test(start_paused = true)]
async fn retries_are_counted() {
    let origins =
        ScriptedConnector::default().backend_always("a:1", Script::refuse()).backend_always("b:1", Script::ok());
    let lab = Lab::new(origins, &["a:1", "b:1"]);
    assert_eq!(get(&mut lab.client()).await, 200);
    lab.check(&[
        (r#"proxy_upstream_retries_total{upstream="api"}"#, "1"),
        (r#"proxy_pool_connect_failures_total{upstream="api"}"#, "1"),
        (r#"proxy_backend_attempts_total{upstream="api",backend="a:1",result="failed"}"#, "1"),
        (r#"proxy_backend_attempts_total{upstream="api",backend="b:1",result="2xx"}"#, "1"),
        (r#"proxy_requests_total{listener="web",route="all",upstream="api",status="2xx"}"#, "1"),
    ]);
}

#[tokio::test(start_paused = true)]
async fn what_a_limit_refuses_is_told_from_what_a_backend_does() {
    let limit = filter_fn(|request, _| match request.head().path() {
        "/much" => Ok(Flow::Respond(Response::status(StatusCode::TOO_MANY_REQUESTS))),
        _ => Ok(Flow::Continue),
    });
    let busy = Script::new().read_request().answer("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n");
    let lab = Lab::with(ScriptedConnector::always(busy), &["a:1"], limit);
    let mut client = lab.client();
    assert_eq!(get(&mut client).await, 429);
    client.send("GET /much HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.read_response().await.status(), 429);
    lab.check(&[
        (r#"proxy_requests_limited_total{listener="web",route="all",upstream="api"}"#, "0"),
        (r#"proxy_requests_limited_total{listener="web",route="none",upstream="none"}"#, "1"),
    ]);
}

#[tokio::test(start_paused = true)]
async fn what_leaves_takes_its_series_along() {
    let mut lab = Lab::new(ScriptedConnector::always(Script::ok()), &["a:1", "b:1"]);
    assert_eq!(get(&mut lab.client()).await, 200);
    lab.check(&[
        (r#"proxy_backend_up{upstream="api",backend="a:1"}"#, "1"),
        (r#"proxy_upstream_backends{upstream="api",state="healthy"}"#, "2"),
    ]);
    lab.backends.remove("a:1");
    let text = lab.metrics.render();
    assert!(!text.contains("a:1") && text.contains("b:1"), "{text}");
    lab.watched = None;
    let text = lab.metrics.render();
    assert!(!text.contains("b:1") && !text.contains("proxy_pool_"), "{text}");
    let metrics = lab.metrics.clone();
    drop(lab);
    tokio::time::sleep(Duration::from_secs(1)).await; // the connection's task ends
    let text = metrics.render();
    assert!(!text.contains("listener=") && text.contains("proxy_build_info{"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn changes_of_state_are_counted_by_who_asked_for_them() {
    let lab = Lab::new(ScriptedConnector::always(Script::ok()), &["a:1"]);
    let backend = lab.backends.get("a:1").expect("it is there");
    let verdicts = [
        (HealthSource::Outlier, BackendState::Unhealthy),
        (HealthSource::Outlier, BackendState::Healthy),
        (HealthSource::Operator, BackendState::Draining),
    ];
    for (source, state) in verdicts {
        lab.backends.report(&backend, Verdict::new(source, state, "why"));
    }
    lab.check(&[
        (r#"proxy_backend_state_changes_total{upstream="api",backend="a:1",state="unhealthy",source="outlier"}"#, "1"),
        (r#"proxy_backend_state_changes_total{upstream="api",backend="a:1",state="draining",source="operator"}"#, "1"),
        (r#"proxy_backend_state{upstream="api",backend="a:1",state="draining"}"#, "1"),
        (r#"proxy_backend_state{upstream="api",backend="a:1",state="healthy"}"#, "0"),
        (r#"proxy_backend_up{upstream="api",backend="a:1"}"#, "0"),
    ]);
}

/// A name for each series: without values, and without what the process does.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("process_"));
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn clients_cannot_make_series() {
    let lab = Lab::new(ScriptedConnector::always(Script::ok()), &["a:1"]);
    assert_eq!(get(&mut lab.client()).await, 200);
    let before = series(&lab.metrics.render());
    for number in 0..50 {
        let mut client = lab.client();
        client
            .send(&format!(
                "M{number} /{number}?x={number} HTTP/1.1\r\nHost: h{number}\r\nX-{number}: {number}\r\n\r\n"
            ))
            .await;
        assert_eq!(client.read_response().await.status(), 200);
    }
    assert_eq!(series(&lab.metrics.render()), before);
}

#[tokio::test]
async fn connections_open_and_close() {
    let metrics = Metrics::new();
    let web = metrics.listener("web");
    (0..3).for_each(|_| web.on_connection_opened(&Peer::default()));
    web.on_connection_closed(&Peer::default(), 1);
    let text = metrics.render();
    assert!(text.contains("proxy_connections_total{listener=\"web\"} 3\n"), "{text}");
    assert!(text.contains("proxy_connections_open{listener=\"web\"} 2\n"), "{text}");
}

#[test]
fn the_process_shows_itself() {
    let text = Metrics::new().render();
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    };
    assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") < value("process_max_fds"));
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_threads") >= 1.0);
    assert!(value("process_cpu_seconds_total") >= 0.0 && value("process_start_time_seconds") > 1.7e9);
}

/// A recorder that the user brought shows the same numbers.
#[tokio::test(start_paused = true)]
async fn a_recorder_of_ones_own_shows_the_same() {
    let lab = Lab::new(ScriptedConnector::always(Script::ok()), &["a:1"]);
    let mut client = lab.client();
    let builder = metrics_exporter_prometheus::PrometheusBuilder::new();
    let recorder = builder.set_buckets(&Publisher::BUCKETS).expect("bounds").build_recorder();
    let mut publisher = Publisher::new(lab.metrics.clone());
    for _ in 0..2 {
        assert_eq!(get(&mut client).await, 200);
        publisher.publish(&recorder);
    }
    let (ours, theirs) = (lab.metrics.render(), recorder.handle().render());
    let ours: BTreeSet<_> = series(&ours).into_iter().map(|series| (lab.value(&series), sorted(&series))).collect();
    for line in theirs.lines().filter(|line| !line.starts_with('#') && !line.starts_with("process_")) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        // The sum is an estimate, from the bounds of the buckets.
        if !series.contains("_sum") {
            assert!(ours.contains(&(value.to_owned(), sorted(series))), "{line} is not ours");
        }
    }
    let requests = r#"proxy_requests_total{listener="web",route="all",upstream="api",status="2xx"} 2"#;
    assert!(theirs.lines().any(|line| sorted(line) == sorted(requests)), "{theirs}");
}

/// The order of labels is nobody's business.
fn sorted(series: &str) -> Vec<String> {
    let mut parts: Vec<_> = series.split(['{', '}', ',', ' ']).map(str::to_owned).filter(|it| !it.is_empty()).collect();
    parts.sort();
    parts
}

#[test]
fn handshakes_are_told_apart() {
    let metrics = Metrics::new();
    let listener = metrics.listener("web");
    assert!(!metrics.render().contains("proxy_tls_handshakes_total"), "where nobody shakes hands there is nothing");
    let mut peer = Peer::default();
    for (resumed, times) in [(Some(false), 1), (Some(true), 2), (None, 3)] {
        peer.tls = resumed.map(|resumed| {
            let mut tls = TlsInfo::default();
            tls.resumed = resumed;
            Arc::new(tls)
        });
        for _ in 0..times {
            listener.on_handshake(&peer, Duration::from_millis(2));
        }
    }
    let text = metrics.render();
    for line in [
        r#"proxy_tls_handshakes_total{listener="web",result="full"} 1"#,
        r#"proxy_tls_handshakes_total{listener="web",result="resumed"} 2"#,
        r#"proxy_tls_handshakes_total{listener="web",result="failed"} 3"#,
        r#"proxy_tls_handshake_seconds_count{listener="web"} 3"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }
}
