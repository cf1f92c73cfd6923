//! What an idle raw connection costs. Alone in its file: the allocator counts for the whole process.
#![cfg(target_os = "linux")]

use std::alloc::System;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::process::{Child, Command, Stdio};

use proxy_core::{Backend, Cluster, Listener, TcpListener, serve_tcp};
use proxy_lb::RoundRobin;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many, unless `PROXY_TUNNELS` says another number:
/// `PROXY_TUNNELS=9000 cargo test -p tests --test tcp_memory -- --nocapture`.
const TUNNELS: usize = 400;

/// What one may take of the heap, in bytes.
const EACH: usize = 3 * 1024;

/// Set in the process that has the other ends.
const HOLDS: &str = "PROXY_HOLDS_ENDS";

fn heap() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn pipes() -> usize {
    let links = std::fs::read_dir("/proc/self/fd").expect("a list of descriptors").flatten();
    links.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("pipe:"))).count()
}

/// Clients and a server, in a process of their own: descriptors are limited for each.
struct Ends {
    child: Child,
    told: BufReader<std::process::ChildStdout>,
}

impl Ends {
    /// This very program, which comes to [`the_other_ends`].
    fn start() -> Self {
        let this = std::env::current_exe().expect("a program has a path");
        let mut command = Command::new(this);
        command.args(["--exact", "the_other_ends", "--nocapture"]).env(HOLDS, "");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let told = BufReader::new(child.stdout.take().expect("it is piped"));
        Ends { child, told }
    }

    /// The rest of the next line that begins with this word.
    fn told(&mut self, word: &str) -> String {
        let mut line = String::new();
        while self.told.read_line(&mut line).expect("it is open") > 0 {
            if let Some(at) = line.find(word) {
                return line[at + word.len()..].trim().to_owned();
            }
            line.clear();
        }
        panic!("it ended before it said {word:?}");
    }

    /// Makes so many more connections through the proxy; each has moved a byte and is idle then.
    fn connect(&mut self, front: SocketAddr, count: usize) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{front} {count}").expect("it listens");
        self.told("connected");
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Not a test: what [`Ends`] starts.
#[test]
fn the_other_ends() {
    if std::env::var_os(HOLDS).is_none() {
        return;
    }
    let origin = StdListener::bind("127.0.0.1:0").expect("a free port");
    println!("\norigin {}", origin.local_addr().expect("a bound socket has an address"));
    let mut held = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.expect("text");
        let (front, count) = line.split_once(' ').expect("an address and a number");
        for _ in 0..count.parse().expect("a number") {
            let mut client = StdStream::connect(front).expect("the proxy listens");
            client.write_all(b"?").expect("an open connection");
            let mut server = origin.accept().expect("a connection").0;
            server.read_exact(&mut [0]).expect("the byte");
            held.push((client, server));
        }
        println!("\nconnected");
    }
}

#[test]
fn an_idle_raw_connection_costs_three_kibibytes_and_no_pipe() {
    if std::env::var_os(HOLDS).is_some() {
        return;
    }
    let count = std::env::var("PROXY_TUNNELS").map_or(TUNNELS, |number| number.parse().expect("a number"));
    let mut ends = Ends::start();
    let origin: SocketAddr = ends.told("origin").parse().expect("an address");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let front = runtime.block_on(async {
        let cluster = Cluster::builder(RoundRobin::new()).with(Backend::new(origin.into())).build();
        let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let front = listener.local_addr().expect("a bound socket has an address");
        tokio::spawn(serve_tcp(listener, cluster).into_future());
        front
    });
    // Free lists and the like are there from the first on.
    ends.connect(front, 20);
    let (before, pipes_before) = (heap(), pipes());
    ends.connect(front, count);
    let each = (heap() - before) / count;
    println!("{each} bytes for each of {count}, {} pipes", pipes() - pipes_before.min(pipes()));
    assert!(each <= EACH, "{each} bytes for each");
    assert!(pipes() <= pipes_before + 2, "{} pipes, {pipes_before} before", pipes());
}
