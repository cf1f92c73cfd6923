//! Watching a request takes no memory.

use std::sync::Arc;

use proxy_core::testing::{Script, ScriptedConnector, TestProxy};
use proxy_core::{Cluster, Proxy, Route, SharedPool, selector_fn};
use proxy_metrics::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// The allocations of a hundred requests, in a proxy that `build` had its hands on.
fn allocations(watches: bool) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let metrics = Metrics::new();
    let api = metrics.upstream("api");
    let proxy = runtime.block_on(async {
        let pool = SharedPool::builder().connector(Arc::new(ScriptedConnector::always(Script::ok())));
        let pool = if watches { pool.observer(Arc::new(api.clone())) } else { pool }.build();
        let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
            .backend("a:1".parse().expect("an address"));
        let cluster = if watches { cluster.observer(Arc::new(api.clone())) } else { cluster };
        let proxy = Proxy::builder().upstream("api", cluster.build_with(pool)).route(Route::to("api"));
        let proxy = if watches { proxy.observer(metrics.listener("web")) } else { proxy };
        proxy.build().expect("the route names the upstream")
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
    exchange(10);
    allocation_counter::measure(|| exchange(100)).count_total
}

#[test]
fn watching_a_request_takes_no_memory() {
    // The origin of the test takes some itself, the same for each request.
    assert_eq!(allocations(true), allocations(false));
}
