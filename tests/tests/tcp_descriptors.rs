//! Raw connections leave no descriptor behind, however they end. Alone in its file: descriptors are counted
//! for the whole process.
#![cfg(target_os = "linux")]

use std::net::SocketAddr;
use std::time::Duration;

use proxy_core::{Backend, Cluster, Listener, TcpListener, TcpProxy, TcpRoute, TcpSettings, serve_tcp};
use proxy_lb::RoundRobin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How many, unless `PROXY_CONNECTIONS` says another number: `PROXY_CONNECTIONS=100000 cargo test -p tests --test
/// tcp_descriptors -- --nocapture`.
const CONNECTIONS: usize = 2000;
const AT_ONCE: usize = 50;

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a list of descriptors").count()
}

/// A server that sends everything back, but for every third client, whom it resets.
async fn echo() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        for number in 0_u64.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                if number % 3 == 0 {
                    let _ = stream.set_zero_linger();
                    return;
                }
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

/// One client: ends its side, resets it, leaves, or says nothing until it is thrown out.
async fn visit(address: SocketAddr, number: usize) {
    let Ok(mut client) = TcpStream::connect(address).await else { return };
    let _ = client.write_all(&[7; 5000]).await;
    let mut answer = Vec::new();
    match number % 4 {
        0 => {
            let _ = client.shutdown().await;
            let _ = client.read_to_end(&mut answer).await;
        }
        1 => drop(client.set_zero_linger()),
        2 => {}
        _ => drop(client.read_to_end(&mut answer).await),
    }
}

#[tokio::test]
async fn raw_connections_leak_no_descriptors() {
    let connections = std::env::var("PROXY_CONNECTIONS").ok();
    let connections = connections.map_or(CONNECTIONS, |number| number.parse().expect("a number"));
    for splice in [true, false] {
        let cluster = Cluster::builder(RoundRobin::new()).with(Backend::new(echo().await.into())).build();
        let settings = TcpSettings { idle: Duration::from_millis(50), splice, ..TcpSettings::default() };
        let proxy =
            TcpProxy::builder().upstream("echo", cluster).route(TcpRoute::to("echo")).settings(settings).build();
        let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = serve_tcp(listener, proxy.expect("the route names the upstream"))
            .with_graceful_shutdown(async { stopped.await.unwrap_or(()) });
        let server = tokio::spawn(server.into_future());
        // The pool's and the thread's own are there from the first on.
        visit(address, 0).await;
        let before = open_descriptors();
        for batch in 0..connections / AT_ONCE {
            let clients: Vec<_> = (0..AT_ONCE).map(|number| tokio::spawn(visit(address, batch + number))).collect();
            for client in clients {
                client.await.expect("a client does not panic");
            }
        }
        drop(stop);
        server.await.expect("the server ends when its connections have");
        // Pipes are kept, two descriptors each, and never more than 32 of them.
        let after = open_descriptors();
        println!("{connections} connections, splice {splice}: {before} descriptors before, {after} after");
        assert!(after <= before + 64, "{before} descriptors before, {after} after, splice: {splice}");
    }
}
