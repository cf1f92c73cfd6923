//! A process that has run out of descriptors goes on once it has some again. Alone in its file: the limit
//! is the whole process's.
#![cfg(target_os = "linux")]

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use proxy_core::{Context, Listener, Proxy, Request, Response, TcpListener, Upstream, serve};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::GET;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Answers without a connection of its own.
struct Here;

#[async_trait]
impl Upstream for Here {
    async fn send(&self, _: Request, _: &mut Context) -> proxy_core::Result<Response> {
        Ok(Response::text(StatusCode::OK, "here"))
    }
}

/// The first descriptor behind those in use: the list of them has it for a moment.
fn in_use() -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").expect("a list of descriptors");
    let numbers = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
    numbers.max().unwrap_or(0)
}

fn limit(descriptors: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors), maximum }).expect("a limit that may be lowered");
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the kernel accepts")
}

async fn is_answered(client: &mut TcpStream) -> bool {
    client.write_all(GET.as_bytes()).await.expect("an open connection");
    let mut answer = [0; 15];
    let read = client.read_exact(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), read).await.is_ok_and(|read| read.is_ok())
        && answer == *b"HTTP/1.1 200 OK"
}

#[tokio::test]
async fn accepting_recovers_from_having_no_descriptors() {
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(connect(address).await);
    }
    // Room for two of them; the others wait in the kernel's queue.
    limit(in_use() + 2);
    tokio::spawn(serve(listener, Proxy::over(Here)).into_future());
    let mut late = clients.split_off(2);
    for client in &mut clients {
        assert!(is_answered(client).await);
    }
    let waits = tokio::time::timeout(Duration::from_millis(200), late[0].read_u8()).await;
    assert!(waits.is_err(), "there is no descriptor for it");
    // Both ends of two connections: four descriptors.
    drop(clients);
    assert!(is_answered(&mut late[0]).await, "the server goes on");
    assert!(is_answered(&mut late[1]).await);
}
