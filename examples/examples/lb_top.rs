//! `top` for a load balancer: its backends, every second, in a terminal, from the administration interface.
//!
//! # Run
//!
//! ```sh
//! cargo run --release --example full_lb    # in another terminal, and some load: wrk -c64 -d60 http://127.0.0.1:8080/
//! cargo run --release --example lb_top     # --admin 127.0.0.1:9900, --token or LB_TOKEN, --once
//! ```
//!
//! # What you will see
//!
//! Requests, errors and latency of the last second, and a line for each backend, the busiest first: its state and who
//! asked for it, attempts and errors a second, requests in flight, the time to its first byte. Ctrl-C ends it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use examples::exchange;
use serde_json::Value;

/// Shows what a load balancer does, as its administration interface tells it.
#[derive(Parser)]
#[command(name = "lb_top")]
struct Args {
    /// Where the administration interface listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900")]
    admin: SocketAddr,
    /// Its token, where it has one; or in LB_TOKEN, where other users cannot read it
    #[arg(long)]
    token: Option<String>,
    /// Only one look, over a second
    #[arg(long)]
    once: bool,
}

const SECOND: Duration = Duration::from_secs(1);

/// Clears a terminal from its top left corner.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match watch(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", args.admin);
            ExitCode::FAILURE
        }
    }
}

async fn watch(args: &Args) -> io::Result<()> {
    let token = args.token.clone().or_else(|| std::env::var("LB_TOKEN").ok());
    let mut before = look(args.admin, token.as_deref()).await?;
    loop {
        tokio::time::sleep(SECOND).await;
        let now = look(args.admin, token.as_deref()).await?;
        let clear = if args.once { "" } else { CLEAR };
        write!(io::stdout(), "{clear}{}", app(&before, &now))?;
        io::stdout().flush()?;
        if args.once {
            return Ok(());
        }
        before = now;
    }
}

/// What the interface says now.
struct Look {
    status: Value,
    listeners: Value,
    upstreams: Value,
}

async fn look(admin: SocketAddr, token: Option<&str>) -> io::Result<Look> {
    let [status, listeners, upstreams] = [
        ask(admin, token, "status").await?,
        ask(admin, token, "listeners").await?,
        ask(admin, token, "upstreams").await?,
    ];
    Ok(Look { status, listeners, upstreams })
}

async fn ask(admin: SocketAddr, token: Option<&str>, what: &str) -> io::Result<Value> {
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!("GET /api/v1/{what} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n{token}\r\n");
    let answer = exchange(admin, &request).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.starts_with("HTTP/1.1 200 ") {
        true => serde_json::from_str(body).map_err(io::Error::other),
        false => Err(io::Error::other(body.trim().to_owned())),
    }
}

/// What changed between two looks, as a terminal shows it.
fn app(before: &Look, now: &Look) -> String {
    let seconds = (number(&now.status["time"]) - number(&before.status["time"])).max(0.001);
    let rate = |part: &str| (total(&now.listeners, part) - total(&before.listeners, part)) / seconds;
    let mut text = format!(
        "{}  {:.0} requests/s  {:.0} 5xx/s  {:.0} in flight  {:.0} connections\n\n",
        now.status["readiness"].as_str().unwrap_or("?"),
        rate("/requests"),
        rate("/statuses/5xx"),
        total(&now.listeners, "/requests_in_flight"),
        total(&now.listeners, "/connections_open"),
    );
    let _ = writeln!(
        text,
        "{:<12} {:<28} {:<12} {:>9} {:>9} {:>9} {:>9} {:>6}  by",
        "UPSTREAM", "BACKEND", "STATE", "REQ/S", "ERR/S", "INFLIGHT", "FIRSTBYTE", "WEIGHT"
    );
    let mut lines: Vec<_> = backends(&now.upstreams)
        .map(|(upstream, backend)| {
            let old = backends(&before.upstreams).find(|(name, old)| *name == upstream && old["id"] == backend["id"]);
            let rate = |key: &str| old.map_or(0.0, |(_, old)| (number(&backend[key]) - number(&old[key])) / seconds);
            (rate("attempts"), line(upstream, backend, rate("attempts"), rate("errors")))
        })
        .collect();
    lines.sort_by(|one, other| other.0.total_cmp(&one.0));
    lines.iter().for_each(|(_, line)| text.push_str(line));
    text
}

fn line(upstream: &str, backend: &Value, attempts: f64, errors: f64) -> String {
    let text = |key: &str| backend[key].as_str().unwrap_or("-");
    let latency = backend["latency"].as_f64().map_or_else(|| "-".to_owned(), |it| format!("{:.1}ms", it * 1e3));
    format!(
        "{upstream:<12} {:<28} {:<12} {attempts:>9.0} {errors:>9.0} {:>9} {latency:>9} {:>6}  {} {}\n",
        text("id"),
        text("state"),
        backend["requests_in_flight"],
        backend["weight"],
        text("source"),
        text("reason"),
    )
}

fn backends(upstreams: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let upstreams = upstreams.as_array().into_iter().flatten();
    upstreams.flat_map(|it| {
        it["backends"].as_array().into_iter().flatten().map(|one| (it["name"].as_str().unwrap_or("?"), one))
    })
}

/// The sum over all listeners.
fn total(listeners: &Value, part: &str) -> f64 {
    listeners.as_array().into_iter().flatten().filter_map(|it| it.pointer(part)).map(number).sum()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(time: f64, requests: u64, attempts: u64) -> Look {
        let backend = |id: &str, attempts: u64| {
            json!({ "id": id, "state": "healthy", "source": "check", "reason": "", "weight": 1, "requests_in_flight": 2,
                    "latency": 0.0015, "attempts": attempts, "errors": 0 })
        };
        Look {
            status: json!({ "time": time, "readiness": "ready" }),
            listeners: json!([{ "requests": requests, "statuses": { "5xx": 0 }, "requests_in_flight": 3, "connections_open": 4 }]),
            upstreams: json!([{ "name": "api", "backends": [backend("a:1", 0), backend("b:1", attempts)] }]),
        }
    }

    #[test]
    fn rates_are_differences_and_the_busiest_is_first() {
        let text = app(&seen(100.0, 1000, 500), &seen(102.0, 1400, 800));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "ready  200 requests/s  0 5xx/s  3 in flight  4 connections");
        let columns: Vec<_> = lines[3].split_whitespace().collect();
        assert_eq!(columns[..8], ["api", "b:1", "healthy", "150", "0", "2", "1.5ms", "1"], "{text}");
        assert!(lines[4].contains("a:1"), "{text}");
    }
}
