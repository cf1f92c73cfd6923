//! Selectors compared on origins of uneven speed: how long clients wait, and who gets how many requests.
//!
//! Run: `cargo bench -p proxy-lb --bench simulation`
//!
//! Everything is real but the origins and the time: clusters, pools and connections in memory, under a
//! clock that leaps. So it takes seconds, and the seeds make every run the same.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderValue, Method, header};
use http_body_util::BodyExt;
use proxy_core::{
    Backend, Body, Cluster, ClusterBuilder, Connector, Context, Instant, Io, Request, RequestHead, Selector,
    SharedPool, Target, Upstream,
};
use proxy_lb::{LeastConnections, PeakEwma, PowerOfTwo, RoundRobin, WeightedRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// What each origin needs for a request, in milliseconds, on average; it varies exponentially.
const ORIGINS: [f64; 5] = [100.0, 100.0, 200.0, 200.0, 400.0];

/// Requests that an origin works on at a time; others wait there.
const WORKERS: usize = 4;

/// Requests per second, of the 130 that the origins together can do. With equal shares the slowest is 90 % busy.
const RATE: f64 = 45.0;

const REQUESTS: usize = 10_000;

fn main() {
    if std::env::args().any(|argument| argument == "--bench") {
        print!("{}", table());
    }
}

/// The comparison, as a table in Markdown.
pub(crate) fn table() -> String {
    let mut table =
        "| selector | p50 | p99 | max | share of each origin, fastest first |\n|---|--:|--:|--:|---|\n".to_owned();
    table += &row("`RoundRobin`", RoundRobin::new);
    table += &row("`WeightedRandom`", || WeightedRandom::seeded(1));
    table += &row("`PowerOfTwo`", || PowerOfTwo::seeded(1));
    table += &row("`LeastConnections`", LeastConnections::new);
    table += &row("`PeakEwma`", || PeakEwma::seeded(1));
    table
}

fn row<S: Selector>(name: &str, selector: impl FnOnce() -> S) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let (mut waits, counts) = runtime.expect("a runtime").block_on(async {
        // Within the runtime, because a selector may read its clock.
        simulate(selector()).await
    });
    waits.sort();
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize].as_millis();
    let mut row = format!("| {name} | {} ms | {} ms | {} ms |", at(0.5), at(0.99), at(1.0));
    for count in counts {
        // Writing into a string does not fail.
        let _ = write!(row, " {:.0} %", 100.0 * count as f64 / REQUESTS as f64);
    }
    row + " |\n"
}

/// How long each request took, and how many each origin got.
async fn simulate(selector: impl Selector) -> (Vec<Duration>, Vec<u64>) {
    let origins = Origins::new();
    let pool = SharedPool::builder().connector(Arc::new(origins.clone())).build();
    let backends =
        (0..ORIGINS.len()).map(|index| Backend::new(format!("origin{index}:80").parse().expect("an address")));
    let cluster = backends.fold(Cluster::builder(selector), ClusterBuilder::with).build_with(pool);
    let (cluster, dice) = (Arc::new(cluster), Dice::seeded(ORIGINS.len()));
    let mut running = Vec::new();
    for _ in 0..REQUESTS {
        sleep(dice.exponential(1000.0 / RATE)).await;
        running.push(tokio::spawn(ask(Arc::clone(&cluster))));
    }
    let mut waits = Vec::new();
    for request in running {
        waits.push(request.await.expect("no panic"));
    }
    (waits, origins.0.iter().map(|origin| origin.served.load(Ordering::Relaxed)).collect())
}

async fn ask(cluster: Arc<impl Upstream>) -> Duration {
    let started = Instant::now();
    let mut head = RequestHead::new(Method::GET, "/").expect("a target");
    head.headers_mut().insert(header::HOST, HeaderValue::from_static("origin"));
    let mut context = Context::internal();
    let response = cluster.send(Request::new(head, Body::empty()), &mut context).await.expect("an answer");
    response.into_parts().1.collect().await.expect("a whole answer");
    started.elapsed()
}

/// Origins in memory.
#[derive(Clone)]
struct Origins(Arc<[Origin]>);

struct Origin {
    mean: f64,
    workers: Semaphore,
    dice: Dice,
    served: AtomicU64,
}

impl Origins {
    fn new() -> Self {
        let origin = |(index, mean)| {
            let (workers, served) = (Semaphore::new(WORKERS), AtomicU64::new(0));
            Origin { mean, workers, dice: Dice::seeded(index), served }
        };
        Origins(ORIGINS.into_iter().enumerate().map(origin).collect())
    }

    async fn serve(self, index: usize, mut stream: DuplexStream) -> io::Result<()> {
        let origin = &self.0[index];
        loop {
            let mut last = [0; 4];
            while last != *b"\r\n\r\n" {
                last.rotate_left(1);
                last[3] = stream.read_u8().await?;
            }
            let worker = origin.workers.acquire().await.expect("it is never closed");
            sleep(origin.dice.exponential(origin.mean)).await;
            drop(worker);
            origin.served.fetch_add(1, Ordering::Relaxed);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
        }
    }
}

#[async_trait]
impl Connector for Origins {
    async fn connect(&self, target: &Target) -> io::Result<Box<dyn Io>> {
        let index = target.backend().id().bytes().find(u8::is_ascii_digit).map_or(0, |digit| usize::from(digit - b'0'));
        let (ours, theirs) = tokio::io::duplex(4096);
        tokio::spawn(self.clone().serve(index, theirs));
        Ok(Box::new(ours))
    }
}

/// SplitMix64, of which everybody has another stretch.
struct Dice(AtomicU64);

impl Dice {
    fn seeded(index: usize) -> Self {
        Dice(AtomicU64::new((index as u64 + 1) << 48))
    }

    /// A time with this average, in milliseconds.
    fn exponential(&self, mean: f64) -> Duration {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let unit = ((z >> 11) + 1) as f64 / (1u64 << 53) as f64;
        Duration::from_secs_f64(-unit.ln() * mean / 1000.0)
    }
}
