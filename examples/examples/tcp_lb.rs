//! A load balancer for raw TCP: databases, brokers, anything that is not HTTP.
//!
//! # Run
//!
//! ```sh
//! cargo run --example tcp_lb
//! ```
//!
//! # What you will see
//!
//! Three demo servers that say their name and send everything back. `nc 127.0.0.1 15432` gets the one with the fewest
//! connections: open three, and each is another's. Every connection's end is a line here: who served it, how many bytes
//! went each way, and why it ended. On Linux the bytes never enter this process.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use proxy_core::{
    Backend, BuildError, Cluster, Context, Filter, Listener, Outcome, TcpListener, TcpProxy, TcpRoute, TcpSettings,
    serve_tcp,
};
use proxy_lb::LeastConnections;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut servers = Vec::new();
    for name in ["one", "two", "three"] {
        servers.push(greeter(name).await?);
    }
    let listener = TcpListener::bind(([127, 0, 0, 1], 15432).into())?;
    println!("{} -> {servers:?}; Ctrl-C stops it", listener.local_addr()?);
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    serve_tcp(listener, app(&servers)?).with_graceful_shutdown(stop).drain_timeout(Duration::from_secs(10)).await;
    Ok(())
}

fn app(servers: &[SocketAddr]) -> Result<TcpProxy, BuildError> {
    let cluster = Cluster::builder(LeastConnections::new());
    let cluster = servers.iter().fold(cluster, |cluster, server| cluster.with(Backend::new((*server).into())));
    TcpProxy::builder()
        .filter(Lines)
        .upstream("servers", cluster.build())
        .route(TcpRoute::to("servers"))
        .settings(TcpSettings { idle: Duration::from_secs(300), ..TcpSettings::default() })
        .build()
}

/// Prints a line for each connection that has ended.
struct Lines;

impl Filter for Lines {
    fn on_done(&self, outcome: &Outcome, context: &Context) {
        let backend = context.backend().map_or("nobody", Backend::id);
        let reason = outcome.error.map_or("ok", |kind| kind.code());
        let (up, down) = (outcome.bytes_received, outcome.bytes_sent);
        println!("{:?} by {backend}: {up} bytes up, {down} down, {reason}", context.peer().address);
    }
}

/// A server that says its name, and sends back what it gets.
async fn greeter(name: &'static str) -> io::Result<SocketAddr> {
    use tokio::io::AsyncWriteExt;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(format!("{name}\n").as_bytes()).await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    Ok(address)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn greeting(client: &mut TcpStream) -> String {
        let mut name = Vec::new();
        while !name.ends_with(b"\n") {
            name.push(client.read_u8().await.unwrap());
        }
        String::from_utf8(name).unwrap().trim().to_owned()
    }

    #[tokio::test]
    async fn open_connections_are_spread_and_bytes_come_back() {
        let servers = [greeter("one").await.unwrap(), greeter("two").await.unwrap()];
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_tcp(listener, app(&servers).unwrap()).into_future());
        let mut clients = Vec::new();
        let mut names = Vec::new();
        for _ in 0..4 {
            let mut client = TcpStream::connect(address).await.unwrap();
            names.push(greeting(&mut client).await);
            clients.push(client);
        }
        names.sort();
        assert_eq!(names, ["one", "one", "two", "two"]);
        let client = &mut clients[0];
        client.write_all(b"ping").await.unwrap();
        client.shutdown().await.unwrap();
        let mut back = String::new();
        client.read_to_string(&mut back).await.unwrap();
        assert_eq!(back, "ping");
    }
}
