//! `full_lb` under load goes from one process to the next: no request fails, no connection is refused, and a new
//! process that is killed leaves the old one serving. And what systemd is told.
//!
//! Three upgrades here. All of it, with figures:
//!
//! ```sh
//! UPGRADES=20 cargo test --release -p tests --test upgrade -- --nocapture
//! ```
#![cfg(target_os = "linux")]

use std::io::{self, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tests::{FullLb, free_address, have};
use tokio::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_full_lb");
const PATIENCE: Duration = Duration::from_secs(30);

/// An origin in a process of its own.
struct Origin(Child, SocketAddr);

impl Origin {
    fn start() -> Self {
        let address = free_address();
        let program = env!("CARGO_BIN_EXE_origin");
        let mut process = Command::new(program).args(["origin", &address.to_string()]).spawn().expect("it starts");
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = process.try_wait().expect("it is our own process");
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "the origin does not listen: {ended:?}");
            std::thread::yield_now();
        }
        Origin(process, address)
    }

    fn config(&self, address: SocketAddr) -> String {
        format!(
            r#"{{ "workers": 2, "shutdown": {{ "drain": "10s" }},
                 "listeners": {{ "web": {{ "listen": ["{address}"], "http": {{ "upstream": "api" }} }} }},
                 "upstreams": {{ "api": {{ "backends": ["{}"], "pool": {{ "idle_timeout": "1s" }} }} }} }}"#,
            self.1
        )
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One GET on a connection of its own.
fn get(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.starts_with("HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(io::Error::other(format!("{answer:?}"))),
    }
}

/// New connections, one after the other, as long as `work` takes: how many were served, and what others saw.
fn beside_newcomers(address: SocketAddr, work: impl FnOnce()) -> (usize, Vec<String>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let clients = std::thread::spawn(move || {
        let (mut served, mut failed) = (0, Vec::new());
        while !stopped.load(Ordering::Relaxed) {
            match get(address) {
                Ok(()) => served += 1,
                Err(error) => failed.push(error.to_string()),
            }
        }
        (served, failed)
    });
    work();
    stop.store(true, Ordering::Relaxed);
    clients.join().expect("the thread does not panic")
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

/// A figure of `/proc/PROCESS/status`.
fn status(process: u32, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of this name");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").count()
}

#[test]
fn upgrades_under_load_lose_nothing() {
    if !have(&["wrk"]) {
        return;
    }
    let upgrades = std::env::var("UPGRADES").ok().and_then(|number| number.parse().ok()).unwrap_or(3);
    let origin = Origin::start();
    let mut lb = FullLb::start(PROGRAM, |address| origin.config(address));
    let address = lb.address();
    let wrk = Wrk::start(address);
    let (served, failed) = beside_newcomers(address, || {
        for number in 1..=upgrades {
            lb.upgrade(PROGRAM);
            let (threads, kib) = (status(lb.id(), "Threads:"), status(lb.id(), "VmRSS:"));
            println!("{number}: process {}, {threads} threads, {kib} KiB", lb.id());
        }
    });
    let said = wrk.stop();
    println!("{upgrades} upgrades; {served} connections of their own, failed: {}\n{said}", failed.len());
    assert!(failed.is_empty(), "{failed:?}");
    assert!(served > 0 && !said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    // What was handed on so often is there once: once nobody is connected, only what serves is open.
    let started = Instant::now();
    while descriptors(lb.id()) >= 40 {
        assert!(started.elapsed() < PATIENCE, "{} descriptors", descriptors(lb.id()));
        std::thread::yield_now();
    }
    lb.stop();
}

/// As many moments as it takes to get ready, until one process is killed too late: it had said that it serves, and the
/// old one, which had believed it, ends.
#[test]
fn new_processes_that_are_killed_lose_nothing() {
    let origin = Origin::start();
    let mut lb = FullLb::start(PROGRAM, |address| origin.config(address));
    for moment in 0..20 {
        let mut new = lb.start_next(PROGRAM);
        let started = Instant::now();
        let mut served = Ok(());
        while served.is_ok() && started.elapsed() < Duration::from_millis(2 * moment) {
            served = get(lb.address());
        }
        new.kill().expect("it is our own process");
        new.wait().expect("it ends");
        if let Err(error) = served.and_then(|()| get(lb.address())) {
            let started = Instant::now();
            while lb.runs() {
                assert!(started.elapsed() < PATIENCE, "the old process neither serves nor ends: {error}");
                std::thread::yield_now();
            }
            return;
        }
    }
    lb.upgrade(PROGRAM);
    get(lb.address()).expect("the new process serves");
}

/// What systemd hears, until it hears what it waits for.
struct Systemd {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Systemd {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("proxy-notify-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket of its own");
        socket.set_read_timeout(Some(PATIENCE)).expect("a duration");
        Systemd { socket, path }
    }

    fn hears(&self, expected: &str) -> String {
        let mut heard = Vec::new();
        loop {
            let mut buffer = [0; 512];
            let size = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}; heard {heard:?}"));
            let said = String::from_utf8_lossy(&buffer[..size]).into_owned();
            if said.contains(expected) {
                return said;
            }
            assert!(said.starts_with("WATCHDOG=1"), "{said:?} instead of {expected:?}");
            heard.push(said);
        }
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[test]
fn systemd_is_told() {
    let (origin, systemd) = (Origin::start(), Systemd::new());
    let say = |command: &mut Command| {
        command.env("NOTIFY_SOCKET", &systemd.path).env("WATCHDOG_USEC", "200000").env_remove("WATCHDOG_PID");
    };
    let lb = FullLb::start_with(PROGRAM, say, |address| origin.config(address));
    systemd.hears(&format!("READY=1\nMAINPID={}", lb.id()));
    systemd.hears("WATCHDOG=1");
    lb.hang_up();
    systemd.hears("RELOADING=1\nMONOTONIC_USEC=");
    systemd.hears("READY=1");
    // A new process is the main one, and the old one does not say that the unit stops.
    kill_process(Pid::from_raw(lb.id().cast_signed()).expect("a process"), Signal::USR2).expect("it is our own");
    let said = systemd.hears("READY=1\nMAINPID=");
    let next = said.lines().find_map(|line| line.strip_prefix("MAINPID=")?.parse().ok()).expect("a number");
    assert_ne!(next, lb.id().cast_signed());
    get(lb.address()).expect("the new process serves");
    kill_process(Pid::from_raw(next).expect("a process"), Signal::TERM).expect("it is our own");
    systemd.hears("STOPPING=1");
}

/// As `full_lb.socket` has it: who comes before the process waits, and is served.
#[test]
fn systemd_opens_the_sockets() {
    let origin = Origin::start();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("a bound socket has an address");
    let early = std::thread::spawn(move || get(address));
    let file = std::env::temp_dir().join(format!("full_lb-activated-{}.json", std::process::id()));
    std::fs::write(&file, origin.config(address)).expect("a file of its own");
    // Systemd's own way: descriptor 3, and the number of the process that is meant.
    let script = r#"exec 3<&0; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" "$1""#;
    let mut command = Command::new("bash");
    command.args(["-c", script, PROGRAM]).arg(&file).stdin(Stdio::from(OwnedFd::from(socket))).env("RUST_LOG", "error");
    let mut process = command.spawn().expect("bash starts");
    let served = early.join().expect("the thread does not panic");
    process.kill().expect("it is our own process");
    process.wait().expect("it ends");
    std::fs::remove_file(&file).expect("it is there");
    served.expect("the first client is served");
}
