//! The pool over real sockets, on two workers: nearly every request finds a kept connection.

use std::net::SocketAddr;

use proxy_core::{Cluster, Proxy, SharedPool, TcpListener, serve};
use proxy_lb::RoundRobin;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener as Tcp, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An origin that closes each connection after so many requests.
async fn origin(requests: usize) -> SocketAddr {
    let listener = Tcp::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                for _ in 0..requests {
                    if !read_head(&mut stream).await || stream.write_all(ANSWER).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> bool {
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|count| count > 2) {
        line.clear();
    }
    line == "\r\n"
}

/// A proxy before this origin: its address and its pool.
async fn proxy(origin: SocketAddr) -> (SocketAddr, SharedPool) {
    let pool = SharedPool::default();
    let cluster = Cluster::builder(RoundRobin::new()).backend(origin.into()).build_with(pool.clone());
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let address = proxy_core::Listener::local_addr(&listener).expect("a bound socket has an address");
    tokio::spawn(serve(listener, Proxy::over(cluster)).into_future());
    (address, pool)
}

/// Sends so many requests over each of some connections; how many were answered with 200.
async fn load(address: SocketAddr, clients: usize, requests: usize, fresh: bool) -> usize {
    let tasks: Vec<_> = (0..clients).map(|_| tokio::spawn(client(address, requests, fresh))).collect();
    let mut served = 0;
    for task in tasks {
        served += task.await.expect("a client does not panic");
    }
    served
}

async fn client(address: SocketAddr, requests: usize, fresh: bool) -> usize {
    let mut served = 0;
    let mut stream = TcpStream::connect(address).await.expect("the proxy listens");
    for _ in 0..requests {
        if fresh {
            stream = TcpStream::connect(address).await.expect("the proxy listens");
        }
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("the proxy reads");
        let mut answer = [0; ANSWER.len()];
        stream.read_exact(&mut answer).await.expect("the proxy answers");
        served += usize::from(answer == *ANSWER);
    }
    served
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_used_again() {
    for (clients, requests, fresh) in [(8, 1500, false), (8, 1500, true)] {
        let (address, pool) = proxy(origin(usize::MAX).await).await;
        assert_eq!(load(address, clients, requests, fresh).await, clients * requests);
        let stats = pool.stats();
        assert!(stats.reuse_ratio() >= 0.999, "fresh: {fresh}: {stats:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_closes_costs_no_request() {
    let (address, _) = proxy(origin(20).await).await;
    assert_eq!(load(address, 8, 500, false).await, 4000);
}
