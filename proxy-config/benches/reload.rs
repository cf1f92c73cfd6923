//! What a reload costs: `cargo bench -p proxy-config --bench reload [BACKENDS]`.
//!
//! One upstream with 10,000 backends, gone over to with one of them, all of them, and all weights changed, and with
//! another selector. CPU time of the whole process, the median of eleven runs: reading the file, and going over.

use std::time::Duration;

use proxy_config::{Config, Server};

const RUNS: usize = 11;

fn main() {
    let backends = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let base = Case { change: "nothing", port: |_| 80, weight: 1, selector: "least_connections" };
    let cases = [
        Case { change: "one backend", port: |n| if n == 0 { 81 } else { 80 }, ..base },
        Case { change: "all backends", port: |_| 81, ..base },
        Case { change: "all weights", weight: 2, ..base },
        Case { change: "the selector", selector: "round_robin", ..base },
    ];
    println!("{:<14} {:>12} {:>12}   ({backends} backends, CPU time)", "change", "read", "reload");
    for case in [base].into_iter().chain(cases) {
        let mut read = Vec::new();
        let mut reload = Vec::new();
        for _ in 0..RUNS {
            runtime.block_on(async {
                let server = Server::start(&base.config(backends)).expect("it starts");
                let text = case.text(backends);
                let (config, spent) = spent(async { text.parse::<Config>().expect("a valid configuration") }).await;
                read.push(spent);
                let (reloaded, spent) = self::spent(server.reload(config)).await;
                reloaded.expect("it reloads");
                reload.push(spent);
                server.drain().await;
            });
        }
        println!("{:<14} {:>12.1?} {:>12.1?}", case.change, median(read), median(reload));
    }
}

#[derive(Clone, Copy)]
struct Case {
    change: &'static str,
    port: fn(usize) -> u16,
    weight: u16,
    selector: &'static str,
}

impl Case {
    fn text(&self, backends: usize) -> String {
        let backend = |n: usize| {
            let (high, low, port) = (n / 250, n % 250 + 1, (self.port)(n));
            format!(r#"{{ "address": "10.{}.{}.{low}:{port}", "weight": {} }}"#, high / 250, high % 250, self.weight)
        };
        let list: Vec<_> = (0..backends).map(backend).collect();
        format!(
            r#"{{ "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "api" }} }} }},
                 "upstreams": {{ "api": {{ "selector": "{}", "backends": [{}] }} }} }}"#,
            self.selector,
            list.join(", ")
        )
    }

    fn config(&self, backends: usize) -> Config {
        self.text(backends).parse().expect("a valid configuration")
    }
}

/// What the process uses of the processors until it is ready.
async fn spent<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = cpu_time();
    let done = work.await;
    (done, cpu_time() - begun)
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
