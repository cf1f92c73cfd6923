//! A gateway to a backend that speaks HTTP/2 alone: clients of both versions share one connection to it.
//!
//! # Run
//!
//! ```sh
//! cargo run --example h2_gateway
//! ```
//!
//! # What you will see
//!
//! It prints two commands. Whichever version curl speaks, the backend says `HTTP/2.0`, and from which port it was asked: the
//! same for all requests, which are streams of one connection. With `h2load -n 10000 -c 50 -m 20` before it there are as many
//! connections as a thousand requests at a time ask for at a hundred streams each.

use std::error::Error;
use std::net::SocketAddr;

use async_trait::async_trait;
use http::StatusCode;
use proxy_core::{
    Address, Backend, Cluster, Context, Listener, Proxy, Request, Response, Result, TcpListener, Upstream,
    UpstreamHttp2, selector_fn, serve,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
    let proxy = app(backend()?);
    println!("curl http://127.0.0.1:8080/");
    println!("curl --http2-prior-knowledge http://127.0.0.1:8080/");
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    serve(listener, proxy).with_graceful_shutdown(stop).await;
    Ok(())
}

/// Takes clients of both versions to this backend, by HTTP/2 without asking. With TLS, `UpstreamHttp2::Auto` asks.
fn app(backend: SocketAddr) -> Proxy {
    let only = selector_fn(|candidates, _| candidates.at(0).cloned());
    let backend = Backend::new(Address::Tcp(backend));
    Proxy::over(Cluster::builder(only).with(backend).http2(UpstreamHttp2::Always).build())
}

/// A server in this process that says how it was asked.
fn backend() -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, Proxy::over(Spoken)).into_future());
    Ok(address)
}

struct Spoken;

#[async_trait]
impl Upstream for Spoken {
    async fn send(&self, request: Request, context: &mut Context) -> Result<Response> {
        let version = request.head().version();
        let port = context.peer().address.map_or(0, |address| address.port());
        Ok(Response::text(StatusCode::OK, format!("{version:?} from port {port}\n")))
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proxy_core::{Body, RequestHead};

    use super::*;

    async fn get(gateway: SocketAddr, http2: UpstreamHttp2) -> String {
        let only = selector_fn(|candidates, _| candidates.at(0).cloned());
        let client = Cluster::builder(only).with(Backend::new(Address::Tcp(gateway))).http2(http2).build();
        let head = RequestHead::new(Method::GET, "/").unwrap();
        let mut response = client.send(Request::new(head, Body::empty()), &mut Context::internal()).await.unwrap();
        String::from_utf8(response.body_mut().peek(1000).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn clients_of_both_versions_share_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let gateway = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, app(backend().unwrap())).into_future());
        let (old, new) = (get(gateway, UpstreamHttp2::Never).await, get(gateway, UpstreamHttp2::Always).await);
        assert!(old.starts_with("HTTP/2.0 from port "), "{old}");
        assert_eq!(old, new);
    }
}
