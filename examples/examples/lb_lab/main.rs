//! A load balancer over five origins that are killed, stopped and started again while it serves.
//!
//! # Run
//!
//! ```sh
//! cargo run --release --example lb_lab
//! ```
//!
//! # What you will see
//!
//! A line per second: the share of each origin in the requests, how many requests there were and how many failed,
//! what was done to whom and what the load balancer made of it. `one` is killed, `two` is stopped (its kernel still accepts connections), both come back by
//! slow start. `-` is an origin that the load balancer has taken out. In the end: how many requests failed, which is
//! none, and why each origin is in the state it is in.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use proxy_config::{Config, Server};
use proxy_core::{BackendSet, BackendState, SetEvent, SetWatch, TcpListener, serve};

mod load;
mod processes;

use load::Load;
use processes::Process;

const NAMES: [&str; 5] = ["one", "two", "three", "four", "five"];

/// What is done at which second: to the first two origins, so that the others show the difference.
const SCRIPT: [(u32, usize, Act); 4] =
    [(4, 0, Act::Kill), (8, 0, Act::Restart), (16, 1, Act::Stop), (20, 1, Act::Continue)];
const SECONDS: u32 = 30;

#[derive(Clone, Copy, Debug)]
enum Act {
    Kill,
    Restart,
    Stop,
    Continue,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let arguments: Vec<_> = std::env::args().collect();
    match &arguments[1..] {
        // An origin is this program once more.
        [flag, name, address] if flag == "--origin" => {
            runtime.block_on(origin(name.clone().leak(), address.parse()?))?;
            Ok(ExitCode::SUCCESS)
        }
        _ => runtime.block_on(lab()),
    }
}

async fn origin(name: &'static str, address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let origin = examples::Origin { name, status: StatusCode::OK };
    // The lab holds the other end: when it is gone, however it went, so is this.
    let lab_is_gone = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    tokio::select! {
        () = serve(TcpListener::bind(address)?, origin.proxy()?).into_future() => {}
        _ = lab_is_gone => {}
    }
    Ok(())
}

async fn lab() -> Result<ExitCode, Box<dyn Error>> {
    let mut origins = NAMES.iter().map(|name| Process::start(name)).collect::<Result<Vec<_>, _>>()?;
    let addresses: Vec<_> = origins.iter().map(Process::address).collect();
    let server = app(&addresses)?;
    let (front, set) = (server.addresses()[0].1, server.backends()[0].1.clone());
    let serving = tokio::spawn(server.run(std::future::pending()));
    all_well(&set).await;
    let load = Load::start(front);
    let news = Arc::<Mutex<Vec<String>>>::default();
    let _watch = tell(&set, &news);
    println!("{:>3} {} {:>9} {:>7}", "s", NAMES.map(|name| format!("{name:>6}")).concat(), "requests", "failed");
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    for second in 1..=SECONDS {
        ticks.tick().await;
        let line = line(second, &load, &set);
        let mut news = std::mem::take(&mut *news.lock().unwrap_or_else(PoisonError::into_inner));
        news.extend(act(second, &mut origins)?);
        println!("{line}  {}", news.join("; "));
    }
    serving.abort();
    let failed = load.failed_in_all();
    println!("\n{failed} requests failed");
    for (name, (backend, status)) in NAMES.iter().zip(set.statuses()) {
        println!("{name:>6} {} {status}, for {:?}", backend.id(), status.since().elapsed());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The load balancer: checks, outlier detection, slow start and retries.
fn app(origins: &[SocketAddr]) -> Result<Server, Box<dyn Error>> {
    let backends: Vec<_> = origins.iter().map(|address| format!("\"{address}\"")).collect();
    let config: Config = format!(
        r#"{{
            "listeners": {{ "web": {{ "listen": ["127.0.0.1:0"], "http": {{ "upstream": "all" }} }} }},
            "upstreams": {{ "all": {{
                "backends": [{}],
                "health_check": {{ "http": {{ "path": "/healthz" }}, "interval": "500ms", "timeout": "500ms",
                                   "rise": 2, "fall": 2, "start": "down" }},
                "outlier_detection": {{ "consecutive_failures": 5, "eject": "2s", "max_eject": "4s" }},
                "slow_start": "5s",
                "retry": {{ "attempts": 3, "budget_percent": 50 }},
                "timeouts": {{ "connect": "500ms", "response": "1s" }}
            }} }}
        }}"#,
        backends.join(", ")
    )
    .parse()?;
    Ok(Server::start(&config)?)
}

async fn all_well(set: &BackendSet) {
    let mut changes = set.changes();
    while set.statuses().iter().any(|(backend, _)| backend.state() != BackendState::Healthy || backend.share() < 256) {
        changes.changed().await;
    }
}

/// Notes what the load balancer makes of the origins.
fn tell(set: &BackendSet, news: &Arc<Mutex<Vec<String>>>) -> SetWatch {
    let (backends, news) = (set.backends(), Arc::clone(news));
    set.watch(move |event| {
        if let SetEvent::Changed(backend, _) = event {
            let name = backends.iter().position(|known| known == backend).map_or("?", |index| NAMES[index]);
            news.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{name} is {}", backend.status()));
        }
    })
}

/// Does what the script says for this second.
fn act(second: u32, origins: &mut [Process]) -> std::io::Result<Vec<String>> {
    let mut done = Vec::new();
    for (_, index, act) in SCRIPT.iter().filter(|(at, ..)| *at == second) {
        let origin = &mut origins[*index];
        match act {
            Act::Kill => origin.kill(),
            Act::Restart => origin.restart()?,
            Act::Stop => origin.stop()?,
            Act::Continue => origin.go_on()?,
        }
        done.push(format!("we {} {}", format!("{act:?}").to_lowercase(), NAMES[*index]));
    }
    Ok(done)
}

/// A second's shares, in percent.
fn line(second: u32, load: &Load, set: &BackendSet) -> String {
    let counts = load.take();
    let all: usize = NAMES.iter().filter_map(|name| counts.answers.get(*name)).sum();
    let shares = NAMES.iter().zip(set.statuses()).map(|(name, (_, status))| {
        let count = counts.answers.get(*name).copied().unwrap_or_default();
        match status.state() {
            BackendState::Healthy => format!("{:>5}%", (count * 100).checked_div(all).unwrap_or_default()),
            _ => format!("{:>6}", "-"),
        }
    });
    format!("{second:>3} {} {all:>9} {:>7}", shares.collect::<String>(), counts.failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn origins_are_checked_and_counted() {
        let origins = NAMES.map(|name| examples::origin(name, StatusCode::OK).unwrap());
        let server = app(&origins).unwrap();
        let (front, set) = (server.addresses()[0].1, server.backends()[0].1.clone());
        let serving = tokio::spawn(server.run(std::future::pending()));
        all_well(&set).await;
        let load = Load::start(front);
        load.wait_for(100).await;
        let counts = load.take();
        assert_eq!((counts.failed, counts.answers.len()), (0, 5), "{counts:?}");
        serving.abort();
    }
}
