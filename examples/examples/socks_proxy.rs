//! A SOCKS proxy: versions 5, 4 and 4a, with the policy and the guard of a forward proxy.
//!
//! # Run
//!
//! ```sh
//! cargo run --release --example socks_proxy
//! curl --socks5-hostname 127.0.0.1:1080 https://example.com/
//! ```
//!
//! # What you will see
//!
//! The page. `curl --socks5-hostname 127.0.0.1:1080 http://localhost/` fails: `connection not allowed by ruleset`, since
//! that address is not public. The same port serves clients that speak HTTP: `curl -x http://127.0.0.1:1080
//! http://example.com/`.

use std::error::Error;
use std::net::SocketAddr;

use proxy_core::{BuildError, Cidr, Proxy, TcpListener, serve};
use proxy_forward::{ForwardUpstream, Ports, SocksListener};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = "127.0.0.1:1080".parse()?;
    let listener = SocksListener::new(TcpListener::bind(address)?).also_http();
    println!("curl --socks5-hostname {address} https://example.com/");
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    serve(listener, app(address, [])?).with_graceful_shutdown(stop).await;
    Ok(())
}

fn app(address: SocketAddr, open: impl IntoIterator<Item = Cidr>) -> Result<Proxy, BuildError> {
    // Clients of SOCKS speak any protocol: the ports of the web are not enough for them.
    let upstream = ForwardUpstream::builder().own(address).connect_ports(Ports::web().and(22..=22).and(993..=993));
    let upstream = open.into_iter().fold(upstream, proxy_forward::ForwardBuilder::allow_private);
    upstream.build().into_proxy().build()
}

#[cfg(test)]
mod tests {
    use examples::origin;
    use http::StatusCode;
    use proxy_core::Listener;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn start(open: Option<&str>) -> SocketAddr {
        let listener = SocksListener::new(TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap()).also_http();
        let address = listener.local_addr().unwrap();
        let proxy = app(address, open.map(|range| range.parse().unwrap())).unwrap();
        tokio::spawn(serve(listener, proxy).into_future());
        address
    }

    /// Greets, and asks for a connection to a port of this machine.
    async fn ask(proxy: SocketAddr, port: u16) -> (u8, TcpStream) {
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        let [high, low] = port.to_be_bytes();
        stream.write_all(&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low]).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        (answer[3], stream)
    }

    #[tokio::test]
    async fn a_connection_goes_where_it_may() {
        let origin = origin("origin", StatusCode::OK).unwrap();
        assert_eq!(ask(start(None).await, origin.port()).await.0, 2);
        let (reply, mut stream) = ask(start(Some("127.0.0.0/8")).await, origin.port()).await;
        assert_eq!(reply, 0);
        stream.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("origin: GET /a\n"), "{answer}");
    }
}
