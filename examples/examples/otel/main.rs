//! Traces: every sampled request becomes a span of OpenTelemetry, in the trace that its client began.
//!
//! # Run
//!
//! ```sh
//! cargo run --example otel                              # sends to http://127.0.0.1:4318
//! cargo run --example otel -- http://10.0.0.7:4318      # to another collector
//! ```
//!
//! # What you will see
//!
//! `curl 127.0.0.1:8080` is answered by an origin that tells what it was sent: a `traceparent` among it. A collector that
//! takes OTLP over HTTP (the OpenTelemetry Collector, Jaeger, Tempo) shows a span with that id for each request: route,
//! backend, attempts, status, and where its time went. With
//! `curl -H 'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' 127.0.0.1:8080` it lies in that trace;
//! with `…-00` at the end nothing is sent. The filter `TraceContext` does that; the spans are those that the proxy makes
//! through `tracing`, and `spans.rs` beside this file hands them on. The batches are sent by a `Proxy`, too.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use examples::origin;
use http::StatusCode;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanProcessor};
use proxy_core::{Address, Backend, BuildError, Cluster, Proxy, Route, TcpListener, TraceContext, serve};
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

mod collector;
mod spans;

use collector::Collector;
use spans::Spans;

/// How long the last batch may take when the program ends.
const LAST: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let collector = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:4318".into());
    let processor = processor(&collector)?;
    Registry::default().with(exported(&processor)).init();

    let origin = origin("origin", StatusCode::OK)?;
    let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
    println!("http://127.0.0.1:8080 -> {origin}; spans go to {collector}");
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    serve(listener, app(origin)?).with_graceful_shutdown(stop).await;
    // Sending needs this runtime, so nobody here may wait for it on one of its threads.
    Ok(tokio::task::spawn_blocking(move || processor.shutdown_with_timeout(LAST)).await??)
}

fn app(origin: SocketAddr) -> Result<Proxy, BuildError> {
    Proxy::builder()
        .filter(TraceContext::new())
        .upstream("origin", Cluster::single(Backend::new(Address::from(origin))))
        .route(Route::to("origin").named("everything"))
        .build()
}

/// Collects spans, and sends them in batches from a thread of its own.
fn processor(collector: &str) -> Result<Arc<BatchSpanProcessor>, Box<dyn Error + Send + Sync>> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::at(collector)?)
        .with_endpoint(format!("{collector}/v1/traces"))
        .build()?;
    let mut processor = BatchSpanProcessor::builder(exporter).build();
    processor.set_resource(&Resource::builder_empty().with_service_name("proxy").build());
    Ok(Arc::new(processor))
}

/// The layer of a subscriber: it listens to the proxy's spans, and to nothing else.
fn exported<S: Subscriber + for<'a> LookupSpan<'a>>(processor: &Arc<BatchSpanProcessor>) -> impl Layer<S> {
    let wanted = Targets::new().with_target("proxy_core::span", LevelFilter::DEBUG);
    Spans::new(Arc::clone(processor)).with_filter(wanted)
}

#[cfg(test)]
mod tests;
