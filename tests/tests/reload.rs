//! `full_lb` under load goes from one configuration to the next: no request fails, no connection is refused, nothing
//! is left behind.
//!
//! Ten reloads here. All of it, with figures:
//!
//! ```sh
//! RELOADS=100 cargo test --release -p tests --test reload -- --nocapture
//! ```
#![cfg(target_os = "linux")]

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tests::{FullLb, free_address, have};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);

/// An origin in a process of its own.
struct Origin(Child, SocketAddr);

impl Origin {
    fn start(name: &str) -> Self {
        let address = free_address();
        let program = env!("CARGO_BIN_EXE_origin");
        let process = Command::new(program).args([name, &address.to_string()]).spawn().expect("it starts");
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < PATIENCE, "the origin does not listen");
            std::thread::yield_now();
        }
        Origin(process, address)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is reloaded: each number is another configuration.
struct Configs {
    origins: [Origin; 3],
    main: SocketAddr,
    /// Two that come and go.
    others: [SocketAddr; 2],
}

impl Configs {
    fn text(&self, number: usize) -> String {
        let [a, b, c] = &self.origins.each_ref().map(|origin| origin.1);
        let mark = format!(r#"{{ "headers": {{ "response": {{ "set": {{ "x-number": "{number}" }} }} }} }}"#);
        let mut listeners = String::new();
        for (index, address) in self.others.iter().enumerate().filter(|(index, _)| number % 4 > *index) {
            let http = format!(r#"{{ "filters": [{mark}], "upstream": "all" }}"#);
            let _ = write!(listeners, r#", "other{index}": {{ "listen": ["{address}"], "http": {http} }}"#);
        }
        let backends = match number % 3 {
            0 => format!(r#""{a}", "{b}""#),
            1 => format!(r#""{b}", {{ "address": "{c}", "weight": 3 }}"#),
            _ => format!(r#""{a}", "{c}""#),
        };
        let selector = ["round_robin", "random", "least_connections", "maglev"][number / 2 % 4];
        let selector = match selector {
            "maglev" => r#"{ "maglev": { "key": "client_ip" } }"#.to_owned(),
            name => format!("{name:?}"),
        };
        format!(
            r#"{{
                "workers": 2, "shutdown": {{ "drain": "10s" }},
                "listeners": {{ "main": {{ "listen": ["{}"], "http": {{ "filters": ["request_id", {mark}], "routes": [
                    {{ "match": {{ "path": "/{number}" }}, "upstream": "some" }}, {{ "upstream": "all" }}
                ] }} }}{listeners} }},
                "upstreams": {{
                    "all": {{ "backends": [{backends}], "selector": {selector}, "pool": {{ "idle_timeout": "1s" }} }},
                    "some": {{ "backends": ["{a}"], "health_check": {{ "tcp": {{}}, "interval": "{}s" }} }}
                }}
            }}"#,
            self.main,
            number % 5 + 1,
        )
    }
}

/// One GET on a connection of its own: the head of the answer.
fn get(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") && !body.is_empty() => Ok(head.to_lowercase()),
        _ => Err(io::Error::other(format!("{answer:?}"))),
    }
}

/// New connections, one after the other, until it is stopped.
struct Newcomers {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<String>>,
}

impl Newcomers {
    fn start(address: SocketAddr) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&served));
        let thread = std::thread::spawn(move || {
            let mut failed = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                match get(address) {
                    Ok(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => failed.push(error.to_string()),
                }
            }
            failed
        });
        Newcomers { stop, served, thread }
    }

    /// How many were served, and what the others saw.
    fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.thread.join().expect("the thread does not panic");
        (self.served.load(Ordering::Relaxed), failed)
    }
}

/// 64 connections that ask without a pause, until they are told to stop.
struct Wrk(Child);

impl Wrk {
    fn start(address: SocketAddr) -> Self {
        let target = format!("http://{address}/");
        let mut command = Command::new("wrk");
        command.args(["-t1", "-c64", "-d3600s", &target]).stdout(Stdio::piped());
        Wrk(command.spawn().expect("wrk starts"))
    }

    fn stop(self) -> String {
        kill_process(Pid::from_child(&self.0), Signal::INT).expect("it is our own process");
        let output = self.0.wait_with_output().expect("wrk ends");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    listening: usize,
    threads: usize,
    kib: usize,
}

fn held(process: u32) -> Held {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of this name");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    };
    Held { listening: listening(process), threads: number("Threads:"), kib: number("VmRSS:") }
}

/// Its descriptors of listening sockets.
fn listening(process: u32) -> usize {
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("it runs");
    let listens = |line: &&str| line.split_whitespace().nth(3) == Some("0A");
    let sockets: Vec<_> = table.lines().filter(listens).filter_map(|line| line.split_whitespace().nth(9)).collect();
    let links = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").flatten();
    let links = links.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| sockets.iter().any(|inode| link.to_str() == Some(&format!("socket:[{inode}]")))).count()
}

fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").count()
}

/// Waits until `done`.
#[track_caller]
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

fn count(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn reloads_under_load_lose_nothing() {
    if !have(&["wrk"]) {
        return;
    }
    let reloads = count("RELOADS", 10);
    let origins = ["a", "b", "c"].map(Origin::start);
    let mut configs = Configs { origins, main: free_address(), others: [free_address(), free_address()] };
    let lb = FullLb::start(env!("CARGO_BIN_EXE_full_lb"), |address| {
        configs.main = address;
        configs.text(0)
    });
    let (wrk, newcomers) = (Wrk::start(lb.address()), Newcomers::start(lb.address()));
    // What belongs to running, it has after the first few; the allocator has grown to its size after some thirty.
    let warm = if reloads < 100 { 4 } else { 48 };
    let mut before = held(lb.id());
    for number in 1..=warm + reloads {
        lb.rewrite(&configs.text(number));
        lb.hang_up();
        let mark = format!("\r\nx-number: {number}\r\n");
        let sees = |address| get(address).is_ok_and(|head| format!("{head}\r\n").contains(&mark));
        wait_for("it reloads", || sees(lb.address()));
        for (index, address) in configs.others.iter().enumerate() {
            match number % 4 > index {
                true => wait_for("it listens", || sees(*address)),
                false => wait_for("it listens no longer", || TcpStream::connect(address).is_err()),
            }
        }
        if number == warm {
            before = held(lb.id());
        }
    }
    let after = held(lb.id());
    let (served, failed) = newcomers.stop();
    let said = wrk.stop();
    println!(
        "{reloads} reloads; {served} connections of their own, failed: {}; {before:?} -> {after:?}\n{said}",
        failed.len()
    );
    assert!(failed.is_empty(), "{failed:?}");
    assert!(served > 0 && !said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    // Each is held twice: by its accept loop, and to be handed on.
    assert_eq!(after.listening, 2 * (1 + configs.others.len().min((warm + reloads) % 4)), "{after:?}");
    assert!(after.threads <= before.threads + 2, "{before:?} -> {after:?}");
    if reloads >= 100 {
        assert!(after.kib * 100 <= before.kib * 105, "{before:?} -> {after:?}");
    }
    // Once nobody is connected, only what serves is open.
    wait_for("connections are closed", || descriptors(lb.id()) < 40);
    lb.stop();
}
