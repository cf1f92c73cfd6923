//! What an idle raw connection costs. Alone in its file: the allocator counts for the whole process.
#![cfg(target_os = "linux")]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};

use proxy_core::{Backend, Cluster, Listener, TcpListener, serve_tcp};
use proxy_lb::RoundRobin;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TUNNELS: usize = 400;

fn heap() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn pipes() -> usize {
    let links = std::fs::read_dir("/proc/self/fd").expect("a list of descriptors").flatten();
    links.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("pipe:"))).count()
}

/// Both ends of so many connections through the proxy, each of which has moved a byte and is idle now.
fn tunnels(count: usize, front: std::net::SocketAddr, origin: &StdListener) -> Vec<(StdStream, StdStream)> {
    let connect = |_| {
        let mut client = StdStream::connect(front).expect("the proxy listens");
        client.write_all(b"?").expect("an open connection");
        let mut server = origin.accept().expect("a connection").0;
        server.read_exact(&mut [0]).expect("the byte");
        (client, server)
    };
    (0..count).map(connect).collect()
}

#[test]
fn an_idle_raw_connection_costs_three_kibibytes_and_no_pipe() {
    let origin = StdListener::bind("127.0.0.1:0").expect("a free port");
    let address = origin.local_addr().expect("a bound socket has an address");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let front = runtime.block_on(async {
        let cluster = Cluster::builder(RoundRobin::new()).with(Backend::new(address.into())).build();
        let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let front = listener.local_addr().expect("a bound socket has an address");
        tokio::spawn(serve_tcp(listener, cluster).into_future());
        front
    });
    // Free lists and the like are there from the first on.
    let first = tunnels(20, front, &origin);
    let (before, pipes_before) = (heap(), pipes());
    let idle = tunnels(TUNNELS, front, &origin);
    let each = (heap() - before) / TUNNELS;
    assert!(each <= 3 * 1024, "{each} bytes for each");
    assert!(pipes() <= pipes_before + 2, "{} pipes, {pipes_before} before", pipes());
    println!("{each} bytes for each of {TUNNELS}");
    drop((first, idle));
}
