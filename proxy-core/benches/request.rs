//! A whole request in memory: client, engine, pool, origin; and what filters add to it.
//!
//! Run: `cargo bench -p proxy-core --all-features --bench request`

use std::time::Duration;

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use proxy_core::testing::{Script, ScriptedConnector, TestProxy};
use proxy_core::{Context, Filter, Flow, Proxy, Request, Result, Route};

/// Overrides no hook: costs nothing but the calls.
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

fn proxy(filters: usize, make: Make) -> TestProxy {
    let origin = ScriptedConnector::always(Script::ok());
    let mut builder = Proxy::builder().upstream("origin", origin.cluster());
    for _ in 0..filters {
        builder = builder.filter(make());
    }
    TestProxy::new(builder.route(Route::to("origin")).build().expect("the route names the upstream"))
}

fn requests(c: &mut Criterion) {
    let table: [(&str, usize, Make); 3] = [
        ("no filter", 0, || Box::new(Nothing)),
        ("three filters without hooks", 3, || Box::new(Nothing)),
        ("three filters that may wait", 3, || Box::new(Waits)),
    ];
    for (name, filters, make) in table {
        c.bench_function(&format!("100 requests, {name}"), |b| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            b.iter(|| {
                runtime.block_on(async {
                    let mut client = proxy(filters, make).connect();
                    for _ in 0..100 {
                        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
                        client.read_response().await;
                    }
                });
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2)).sample_size(20);
    targets = requests
}
criterion_main!(benches);
