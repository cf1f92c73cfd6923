//! Sends TLS connections to servers by the name in their handshake, without a certificate or key of its own.
//!
//! # Run
//!
//! ```sh
//! cargo run --example sni_router -- a.example=127.0.0.1:9443 '*.b.example=127.0.0.1:9444' 127.0.0.1:9445
//! ```
//!
//! Each argument is a name and a server; one without a name is for all the rest, connections without TLS included.
//!
//! # What you will see
//!
//! `openssl s_client -connect 127.0.0.1:8443 -servername a.example` shows the certificate of the first server: it is
//! the server that the client speaks TLS with. A name that no server has is reset, unless there is one for the rest.

use std::error::Error;

use proxy_core::{Address, Backend, Cluster, TcpListener, TcpProxy, TcpRoute, serve_tcp};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let servers: Vec<_> = std::env::args().skip(1).collect();
    if servers.is_empty() {
        return Err("usage: sni_router NAME=ADDRESS… [ADDRESS]".into());
    }
    let listener = TcpListener::bind("127.0.0.1:8443".parse()?)?;
    println!("127.0.0.1:8443 -> {}", servers.join(", "));
    serve_tcp(listener, app(&servers)?).await;
    Ok(())
}

fn app(servers: &[String]) -> Result<TcpProxy> {
    let mut proxy = TcpProxy::builder();
    for server in servers {
        let (name, address) = match server.split_once('=') {
            Some((name, address)) => (Some(name), address),
            None => (None, &**server),
        };
        let address: Address = address.parse()?;
        let route = TcpRoute::to(server);
        let route = match name {
            Some(name) => route.server_name(name)?,
            None => route,
        };
        proxy = proxy.upstream(server, Cluster::single(Backend::new(address))).route(route);
    }
    Ok(proxy.build()?)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use examples::exchange;
    use proxy_core::Listener;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Answers one client with this.
    async fn server(answer: &'static str) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut stream).await.unwrap();
            // Until the proxy has closed: what was sent is not lost to a reset.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        address
    }

    /// A ClientHello for `a.example`, as text: all its bytes are ASCII.
    const HELLO: &str = "\x16\x03\x01\x00\x43\x01\x00\x00\x3f\x03\x03RANDOMRANDOMRANDOMRANDOMRANDOMRA\0\0\x02\x13\x01\x01\0\
                         \0\x14\0\0\0\x10\0\x0e\0\0\x0b\x61.example.x";

    #[tokio::test]
    async fn connections_go_by_their_name() {
        let (named, rest) = (server("named").await, server("rest").await);
        let servers = [format!("*.example.x={named}"), rest.to_string()];
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve_tcp(listener, app(&servers).unwrap()).into_future());
        assert_eq!(exchange(address, HELLO).await.unwrap(), "named");
        assert_eq!(exchange(address, "SSH-2.0-x\r\n").await.unwrap(), "rest");
    }
}
