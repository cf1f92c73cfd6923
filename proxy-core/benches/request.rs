//! A whole request in memory: client, engine, filters, pool, origin, on one thread and over streams
//! that cost no system call. Client and origin do no more than read and write.
//!
//! Run: `cargo bench -p proxy-core --all-features --bench request`

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use proxy_core::testing::TestProxy;
use proxy_core::{
    Backend, Cluster, Connector, Context, Filter, Flow, Forwarding, Io, Proxy, Request, Result, Route, SharedPool,
    Target, selector_fn,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// The room of a stream: more than a message, so that nobody waits for it.
const ROOM: usize = 128 * 1024;

/// An origin that knows how long each request is, and answers it.
struct Origin {
    request: usize,
    answer: Arc<[u8]>,
}

#[async_trait]
impl Connector for Origin {
    async fn connect(&self, _: &Target) -> io::Result<Box<dyn Io>> {
        let (ours, mut theirs) = tokio::io::duplex(ROOM);
        let (mut request, answer) = (vec![0; self.request], Arc::clone(&self.answer));
        tokio::spawn(async move {
            while theirs.read_exact(&mut request).await.is_ok() && theirs.write_all(&answer).await.is_ok() {}
        });
        Ok(Box::new(ours))
    }
}

/// Overrides no hook.
struct Nothing;
impl Filter for Nothing {}

/// Overrides the one hook that may wait: costs a box.
struct Waits;
#[async_trait]
impl Filter for Waits {
    async fn on_request(&self, _: &mut Request, _: &mut Context) -> Result<Flow> {
        Ok(Flow::Continue)
    }
}

type Make = fn() -> Box<dyn Filter>;

/// A connection to a proxy with these filters, before this origin.
fn connect(origin: Origin, filters: &[Make]) -> DuplexStream {
    let pool = SharedPool::builder().connector(Arc::new(origin)).build();
    let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()));
    let cluster = cluster.with(Backend::new("127.0.0.1:9".parse().expect("an address"))).build_with(pool);
    let builder = Proxy::builder().forwarding(Forwarding::none()).upstream("origin", cluster);
    let builder = filters.iter().fold(builder, |builder, make| builder.filter(make()));
    let proxy = builder.route(Route::to("origin")).build().expect("the route names the upstream");
    let (client, connection) = TestProxy::new(proxy).room(ROOM).pair();
    tokio::spawn(connection);
    client.into_stream().0
}

/// One request and its answer, which pass unchanged.
fn row(c: &mut Criterion, name: &str, request: &str, answer: &str, filters: &[Make]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let origin = Origin { request: request.len(), answer: answer.as_bytes().into() };
    let mut client = runtime.block_on(async { connect(origin, filters) });
    let mut got = vec![0; answer.len()];
    let mut exchange = || {
        runtime.block_on(async {
            client.write_all(request.as_bytes()).await.expect("the proxy reads");
            client.read_exact(&mut got).await.expect("the proxy answers");
        });
    };
    c.bench_function(&format!("request/{name}"), |b| b.iter(&mut exchange));
    assert!(got == answer.as_bytes(), "the answer was changed on its way");
}

fn requests(c: &mut Criterion) {
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let sized = |size: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{}", "x".repeat(size));
    let post = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 16384\r\n\r\n{}", "x".repeat(16384));
    let chunked =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n{}\r\n0\r\n\r\n", "x".repeat(16384));
    let (nothing, waits): (Make, Make) = (|| Box::new(Nothing), || Box::new(Waits));
    row(c, "GET", get, &sized(2), &[]);
    row(c, "GET, three filters without hooks", get, &sized(2), &[nothing; 3]);
    row(c, "GET, three filters that may wait", get, &sized(2), &[waits; 3]);
    row(c, "GET of 16 KiB", get, &sized(16384), &[]);
    row(c, "GET of 16 KiB, chunked", get, &chunked, &[]);
    row(c, "POST of 16 KiB", &post, &sized(2), &[]);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(2000))
        .nresamples(10_000);
    targets = requests
}
criterion_main!(benches);
