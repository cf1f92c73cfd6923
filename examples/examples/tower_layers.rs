//! The proxy as the fallback of an axum `Router`, with tower layers around it.
//!
//! # Run
//!
//! ```sh
//! cargo run --example tower_layers
//! ```
//!
//! # What you will see
//!
//! `curl http://127.0.0.1:8080/health` is answered by the router itself, `curl -i http://127.0.0.1:8080/anything` by the
//! origin: the layers let at most 100 requests run at a time, tell the proxy who the client is (it sends
//! `X-Forwarded-For`), and put `x-powered-by: tower` on the answer.

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::routing::get;
use examples::origin;
use http::{HeaderName, HeaderValue, StatusCode};
use proxy_core::{Body, Peer, Proxy};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let origin = origin("origin", StatusCode::OK)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://127.0.0.1:8080 -> {origin}");
    let app = app(Proxy::to(&origin.to_string())?).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}

fn app(proxy: Proxy) -> Router {
    let proxy =
        ServiceBuilder::new().concurrency_limit(100).map_request(introduce_client).map_response(sign).service(proxy);
    Router::new().route("/health", get(async || "fine\n")).fallback_service(proxy)
}

/// What axum knows of the client, in the words of the proxy.
fn introduce_client(mut request: Request) -> Request {
    if let Some(ConnectInfo(address)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let peer = Peer::new(*address);
        request.extensions_mut().insert(peer);
    }
    request
}

fn sign(mut response: http::Response<Body>) -> http::Response<Body> {
    let name = HeaderName::from_static("x-powered-by");
    response.headers_mut().insert(name, HeaderValue::from_static("tower"));
    response
}

#[cfg(test)]
mod tests {
    use examples::exchange;

    use super::*;

    async fn get(path: &str) -> String {
        let origin = origin("origin", StatusCode::OK).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app(Proxy::to(&origin.to_string()).unwrap());
        tokio::spawn(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).into_future());
        let request = format!("GET {path} HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n");
        exchange(address, &request).await.unwrap()
    }

    #[tokio::test]
    async fn the_router_keeps_its_own_paths() {
        let answer = get("/health").await;
        assert!(answer.ends_with("\r\n\r\nfine\n"), "{answer}");
        assert!(!answer.contains("x-powered-by"), "{answer}");
    }

    #[tokio::test]
    async fn everything_else_goes_through_the_layers_to_the_origin() {
        let answer = get("/a?b=c").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("x-powered-by: tower\r\n"), "{answer}");
        assert!(answer.contains("origin: GET /a?b=c\n"), "{answer}");
        assert!(answer.contains("X-Forwarded-For: 127.0.0.1\n"), "{answer}");
    }
}
