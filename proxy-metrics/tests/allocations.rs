//! Watching a request takes no memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use allocation_counter::AllocationInfo;
use proxy_core::testing::{Script, ScriptedConnector, TestProxy};
use proxy_core::{Cluster, Proxy, Route, SharedPool, selector_fn};
use proxy_metrics::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// What so many requests take, to so many backends in turn, and a scrape: once some were done before.
fn taken(watches: bool, backends: u16, before: usize, requests: usize) -> AllocationInfo {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let metrics = Metrics::new();
    let api = metrics.upstream("api");
    let (proxy, watched) = runtime.block_on(async {
        let pool = SharedPool::builder().connector(Arc::new(ScriptedConnector::always(Script::ok())));
        let pool = if watches { pool.observer(Arc::new(api.clone())) } else { pool }.build();
        let turn = AtomicUsize::new(0);
        let cluster = Cluster::builder(selector_fn(move |candidates, _| {
            candidates.at(turn.fetch_add(1, Ordering::Relaxed) % candidates.len()).cloned()
        }));
        let cluster = (1..=backends)
            .fold(cluster, |cluster, port| cluster.backend(format!("10.0.0.1:{port}").parse().expect("an address")));
        let cluster = if watches { cluster.observer(Arc::new(api.clone())) } else { cluster };
        let cluster = cluster.build_with(pool.clone());
        let watched = watches.then(|| api.watch(cluster.backends().clone(), move || pool.stats()));
        let proxy = Proxy::builder().upstream("api", cluster).route(Route::to("api"));
        let proxy = if watches { proxy.observer(metrics.listener("web")) } else { proxy };
        (proxy.build().expect("the route names the upstream"), watched)
    });
    let (client, connection) = TestProxy::new(proxy).pair();
    runtime.spawn(connection);
    let mut client = client.into_stream().0;
    let mut exchange = |times: usize| {
        runtime.block_on(async {
            let mut buffer = [0; 4096];
            for _ in 0..times {
                client.write_all(REQUEST).await.expect("the proxy reads");
                assert!(client.read(&mut buffer).await.expect("the proxy answers") > 0);
            }
        });
    };
    exchange(before);
    metrics.render();
    allocation_counter::measure(|| {
        exchange(requests);
        assert_eq!(metrics.render().contains("proxy_backend_up"), watched.is_some());
    })
}

#[test]
fn watching_a_request_takes_no_memory() {
    // The origin of the test takes some itself, the same for each request.
    let rendered = |watches| taken(watches, 1, 10, 0).count_total;
    let requests = |watches| taken(watches, 1, 10, 100).count_total - rendered(watches);
    assert_eq!(requests(true), requests(false));
}

/// A million: `cargo bench -p proxy-metrics --bench cost -- --memory 1000000`.
#[test]
fn requests_to_a_thousand_backends_leave_nothing_behind() {
    // The origins of the test keep what they were sent, the same for each request.
    let left = |watches| taken(watches, 1000, 1000, 2000).bytes_current;
    assert_eq!(left(true), left(false));
}
