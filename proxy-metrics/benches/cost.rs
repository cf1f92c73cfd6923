//! What watching requests costs: a proxy in memory, on one thread, with and without it.
//!
//! ```sh
//! cargo bench -p proxy-metrics --bench cost                          # nanoseconds of a request, and what is added
//! cargo bench -p proxy-metrics --bench cost -- --instructions        # instructions of one, as valgrind counts them
//! cargo bench -p proxy-metrics --bench cost -- --memory 1000000      # of so many requests to 1,000 backends
//! ```
//!
//! Times are the best of interleaved rounds. Client, proxy and origin are in memory and on one thread, so times and
//! instructions of `nothing` are of all three; `benches/lab/instructions.py` counts those of `full_lb` alone, over
//! sockets.

use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
            let mut bench = Bench::new(way, 1);
            bench.run(requests.parse().expect("a number of requests"));
        }
        ["--memory", requests, ..] => memory(requests.parse().expect("a number of requests")),
        ["--instructions", ..] => instructions(),
        // `cargo test --all-targets` runs this too, and wants no figures.
        [.., "--bench"] => compare(),
        _ => {}
    }
}

/// This program again, under valgrind: twice each, so that the start falls out.
fn instructions() {
    const FEW: u32 = 1_000;
    const MANY: u32 = 5_000;
    let counted = |way: &str| (total(way, MANY) - total(way, FEW)) / f64::from(MANY - FEW);
    println!("{:<12} {:>20} {:>10}", "watched by", "instructions/request", "added");
    let nothing = counted(WAYS[0]);
    for way in WAYS {
        let count = if way == WAYS[0] { nothing } else { counted(way) };
        println!("{way:<12} {count:>20.0} {:>10.0}", count - nothing);
    }
}

fn total(way: &str, requests: u32) -> f64 {
    let file = std::env::temp_dir().join(format!("cost-{}.callgrind", std::process::id()));
    let status = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe().expect("a program has a path"))
        .args(["only", way, &requests.to_string()])
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "valgrind is not installed, or failed");
    let profile = std::fs::read_to_string(&file).expect("valgrind wrote its profile");
    let _ = std::fs::remove_file(&file);
    let count = profile.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<f64>().ok());
    count.expect("a profile has totals")
}

/// What is resident after each tenth of the requests, which go to a thousand backends in turn, and are scraped.
fn memory(requests: usize) {
    let mut bench = Bench::new("metrics", 1_000);
    println!("{:>12} {:>14}", "requests", "resident KiB");
    for tenth in 0..=10 {
        println!("{:>12} {:>14}", tenth * (requests / 10), resident());
        if tenth < 10 {
            bench.run(requests / 10);
            assert!(bench.metrics.render().contains("proxy_backend_up"));
        }
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn compare() {
    let mut benches = WAYS.map(|way| (way, Bench::new(way, 1), Duration::MAX));
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
    metrics: Metrics,
    _watched: Vec<Watched>,
}

impl Bench {
    fn new(way: &str, backends: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let metrics = Metrics::new();
        let (client, watched) = runtime.block_on(async { connect(way, backends, &metrics) });
        let mut bench = Bench { runtime, client, metrics, _watched: watched };
        bench.run(2_000); // caches, pools and tables are warm
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

fn connect(way: &str, backends: u16, metrics: &Metrics) -> (DuplexStream, Vec<Watched>) {
    let (api, watches) = (metrics.upstream("api"), way == "metrics");
    let pool = SharedPool::builder().connector(Arc::new(Origin));
    let pool = if watches { pool.observer(Arc::new(api.clone())) } else { pool }.build();
    let turn = AtomicUsize::new(0);
    let in_turn = selector_fn(move |candidates, _| {
        candidates.at(turn.fetch_add(1, Ordering::Relaxed) % candidates.len()).cloned()
    });
    let cluster = (1..=backends).fold(Cluster::builder(in_turn), |cluster, port| {
        cluster.with(Backend::new(format!("127.0.0.1:{port}").parse().expect("an address")))
    });
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
