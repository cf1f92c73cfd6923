//! What watching requests costs: a proxy in memory, on one thread, with and without it.
//!
//! Run: `cargo bench -p proxy-metrics --bench cost`
//!
//! It prints the nanoseconds of a request for each way of watching, the best of interleaved rounds, and what
//! each adds to `nothing`. Instructions are counted by
//!
//! ```sh
//! cargo bench -p proxy-metrics --bench cost --no-run        # prints where the program is
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null PROGRAM only nothing 10000
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null PROGRAM only metrics 10000
//! ```
//!
//! the difference of the two divided by 10,000.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proxy_core::testing::TestProxy;
use proxy_core::{Backend, Cluster, Connector, Forwarding, Io, Proxy, Route, SharedPool, Target, selector_fn};
use proxy_metrics::{Metrics, Watched};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::Runtime;
use tokio::time::Instant;

const REQUEST: &[u8] =
    b"GET /some/path?with=a&query HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: curl/8.5.0\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

/// Rounds of each way, and requests in a round.
const ROUNDS: usize = 30;
const REQUESTS: usize = 5_000;

/// Ways of watching.
const WAYS: [&str; 2] = ["nothing", "metrics"];

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["only", way, requests] => {
            let mut bench = Bench::new(way);
            bench.run(requests.parse().expect("a number of requests"));
        }
        _ => compare(),
    }
}

fn compare() {
    let mut benches = WAYS.map(|way| (way, Bench::new(way), Duration::MAX));
    for _ in 0..ROUNDS {
        for (_, bench, best) in &mut benches {
            *best = bench.run(REQUESTS).min(*best);
        }
    }
    let nanos = |best: Duration| best.as_nanos() as f64 / REQUESTS as f64;
    let nothing = nanos(benches[0].2);
    println!("{:<12} {:>12} {:>10}", "watched by", "ns/request", "added");
    for (way, _, best) in benches {
        println!("{way:<12} {:>12.0} {:>10.0}", nanos(best), nanos(best) - nothing);
    }
}

/// A connection to a proxy that is watched in one way.
struct Bench {
    runtime: Runtime,
    client: DuplexStream,
    _watched: Vec<Watched>,
}

impl Bench {
    fn new(way: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (client, watched) = runtime.block_on(async { connect(way) });
        let mut bench = Bench { runtime, client, _watched: watched };
        bench.run(1_000); // caches, pools and tables are warm
        bench
    }

    /// So many requests, one after the other.
    fn run(&mut self, requests: usize) -> Duration {
        let (client, mut got) = (&mut self.client, vec![0; ANSWER.len()]);
        self.runtime.block_on(async {
            let started = Instant::now();
            for _ in 0..requests {
                client.write_all(REQUEST).await.expect("the proxy reads");
                client.read_exact(&mut got).await.expect("the proxy answers");
            }
            started.elapsed()
        })
    }
}

fn connect(way: &str) -> (DuplexStream, Vec<Watched>) {
    let metrics = Metrics::new();
    let (api, watches) = (metrics.upstream("api"), way == "metrics");
    let pool = SharedPool::builder().connector(Arc::new(Origin));
    let pool = if watches { pool.observer(Arc::new(api.clone())) } else { pool }.build();
    let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
        .with(Backend::new("127.0.0.1:9".parse().expect("an address")));
    let cluster = if watches { cluster.observer(Arc::new(api.clone())) } else { cluster }.build_with(pool.clone());
    let watched = api.watch(cluster.backends().clone(), move || pool.stats());
    let proxy = Proxy::builder().forwarding(Forwarding::none()).upstream("api", cluster).route(Route::to("api"));
    let proxy = match way {
        "nothing" => proxy,
        "metrics" => proxy.observer(metrics.listener("web")),
        other => panic!("{other}: one of {WAYS:?}"),
    };
    let (client, connection) = TestProxy::new(proxy.build().expect("the route names the upstream")).pair();
    tokio::spawn(connection);
    (client.into_stream().0, vec![watched])
}

/// Answers whatever it is asked.
struct Origin;

#[async_trait]
impl Connector for Origin {
    async fn connect(&self, _: &Target) -> io::Result<Box<dyn Io>> {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while theirs.read(&mut buffer).await.is_ok_and(|read| read > 0) && theirs.write_all(ANSWER).await.is_ok() {}
        });
        Ok(Box::new(ours))
    }
}
