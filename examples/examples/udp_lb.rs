//! A load balancer for UDP: DNS, syslog, games, whatever sends datagrams.
//!
//! # Run
//!
//! ```sh
//! cargo run --example udp_lb
//! ```
//!
//! # What you will see
//!
//! Three demo servers that say their name and send everything back. `nc -u 127.0.0.1 15353` keeps the one it got; open
//! three, and each is another's. Every session's end is a line here, ten seconds after its last datagram: who served it,
//! and how many bytes went each way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use proxy_core::{Backend, Cluster, Context, Filter, Outcome, UdpListener, UdpProxy, UdpSettings, serve_udp};
use proxy_lb::RoundRobin;
use tokio::net::UdpSocket;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut servers = Vec::new();
    for name in ["one", "two", "three"] {
        servers.push(greeter(name).await?);
    }
    let listener = UdpListener::bind(([127, 0, 0, 1], 15353).into())?;
    println!("{} -> {servers:?}; Ctrl-C stops it", listener.local_addr());
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    serve_udp(listener, app(&servers)).with_graceful_shutdown(stop).drain_timeout(Duration::from_secs(1)).await;
    Ok(())
}

fn app(servers: &[SocketAddr]) -> UdpProxy {
    let cluster = Cluster::builder(RoundRobin::new());
    let cluster = servers.iter().fold(cluster, |cluster, server| cluster.with(Backend::new((*server).into())));
    // For DNS, `requests: Some(1)` and `responses: Some(1)` balance each question by itself.
    let settings = UdpSettings { idle: Duration::from_secs(10), ..UdpSettings::default() };
    UdpProxy::named("servers", cluster.build()).settings(settings).filter(Lines)
}

/// Prints a line for each session that has ended.
struct Lines;

impl Filter for Lines {
    fn on_done(&self, outcome: &Outcome, context: &Context) {
        let backend = context.backend().map_or("nobody", Backend::id);
        let reason = outcome.error.map_or("ok", |kind| kind.code());
        let (up, down) = (outcome.bytes_received, outcome.bytes_sent);
        println!("{:?} by {backend}: {up} bytes up, {down} down, {reason}", context.peer().address);
    }
}

/// A server that puts its name before what it gets, and sends it back.
async fn greeter(name: &'static str) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        let mut room = vec![0; 65_536];
        while let Ok((count, from)) = socket.recv_from(&mut room).await {
            let answer = [name.as_bytes(), b": ", &room[..count]].concat();
            if socket.send_to(&answer, from).await.is_err() {
                return;
            }
        }
    });
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clients_are_spread_and_keep_their_server() {
        let servers = [greeter("one").await.unwrap(), greeter("two").await.unwrap()];
        let listener = UdpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr();
        tokio::spawn(serve_udp(listener, app(&servers)).into_future());
        let mut seen = Vec::new();
        for _ in 0..2 {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.connect(address).await.unwrap();
            let mut answers = Vec::new();
            for _ in 0..2 {
                client.send(b"ping").await.unwrap();
                let mut room = [0; 64];
                let count = client.recv(&mut room).await.unwrap();
                answers.push(String::from_utf8_lossy(&room[..count]).into_owned());
            }
            assert_eq!(answers[0], answers[1]);
            seen.push(answers.remove(0));
        }
        seen.sort();
        assert_eq!(seen, ["one: ping", "two: ping"]);
    }
}
