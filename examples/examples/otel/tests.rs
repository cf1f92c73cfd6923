use std::collections::HashMap;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use examples::exchange;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use proxy_core::{Listener, ServiceUpstream};
use tokio::sync::mpsc;

use super::*;

/// A collector, and the spans that it gets.
fn collector() -> (String, mpsc::UnboundedReceiver<Span>) {
    let (sender, spans) = mpsc::unbounded_channel();
    let router: Router = Router::new().route(
        "/v1/traces",
        post(async move |batch: Bytes| {
            let batch = ExportTraceServiceRequest::decode(batch).expect("it is OTLP");
            let named = |it: &opentelemetry_proto::tonic::resource::v1::Resource| {
                it.attributes.iter().any(|attribute| attribute.key == "service.name")
            };
            assert!(batch.resource_spans.iter().all(|it| it.resource.as_ref().is_some_and(named)), "{batch:?}");
            let scopes = batch.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            scopes.flat_map(|scope| scope.spans).for_each(|span| sender.send(span).expect("the test goes on"));
            StatusCode::OK
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, Proxy::over(ServiceUpstream::new(router))).into_future());
    (url, spans)
}

/// What a span says, as text.
fn attributes(span: &Span) -> HashMap<&str, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(_) => "a time".into(),
        other => format!("{other:?}"),
    };
    let pair = |it: &'_ opentelemetry_proto::tonic::common::v1::KeyValue| {
        text(it.value.as_ref().and_then(|value| value.value.as_ref()).expect("a value"))
    };
    span.attributes.iter().map(|attribute| (attribute.key.as_str(), pair(attribute))).collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn sampled_requests_become_spans_with_the_ids_that_backends_are_told() {
    let (url, mut spans) = collector();
    let processor = processor(&url).unwrap();
    Registry::default().with(exported(&processor)).init();
    let origin = origin("origin", StatusCode::OK).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, app(origin).unwrap()).into_future());
    let get = async |field: &str| {
        let request = format!("GET /a?secret HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{field}\r\n");
        let answer = exchange(address, &request).await.unwrap();
        let told = answer.lines().find_map(|line| line.strip_prefix("traceparent: ")).expect("the origin tells");
        told.trim().to_owned()
    };
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let unsampled = get(&format!("traceparent: 00-{trace}-00f067aa0ba902b7-00\r\n")).await;
    let continued = get(&format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n")).await;
    let started = get("").await;
    let flushed = tokio::task::spawn_blocking(move || processor.force_flush()).await.unwrap();
    flushed.unwrap();

    // Those of before may close a little later than their clients have read; so in whatever order.
    let got = [spans.recv().await.unwrap(), spans.recv().await.unwrap()];
    assert!(spans.try_recv().is_err(), "{unsampled} was not to be sent");
    let of = |told: &str| {
        let ids: Vec<_> = told.split('-').collect();
        let found = got.iter().find(|span| hex(&span.span_id) == ids[2]).expect("the span that the origin was told of");
        assert_eq!(hex(&found.trace_id), ids[1]);
        found
    };
    assert_eq!(
        (hex(&of(&continued).trace_id), hex(&of(&continued).parent_span_id)),
        (trace.into(), "00f067aa0ba902b7".into())
    );
    let span = of(&started);
    assert!(span.parent_span_id.is_empty() && span.trace_id.len() == 16);
    assert_eq!((&*span.name, span.kind), ("GET everything", 2));
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    let attributes = attributes(span);
    let expected = [
        ("http.request.method", "GET"),
        ("url.path", "/a"),
        ("server.address", "x"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("http.route", "everything"),
        ("http.response.status_code", "200"),
        ("proxy.upstream", "origin"),
        ("proxy.backend", &origin.to_string()),
        ("proxy.attempts", "1"),
        ("proxy.reason", "ok"),
        ("proxy.seconds.first_byte", "a time"),
        ("proxy.seconds.total", "a time"),
    ];
    for (name, value) in expected {
        assert_eq!(attributes.get(name).map(String::as_str), Some(value), "{name} in {attributes:?}");
    }
}
