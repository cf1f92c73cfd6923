//! An axum `Router` behind the proxy, in the same process: no socket between the two.
//!
//! # Run
//!
//! ```sh
//! cargo run --example axum_upstream
//! ```
//!
//! # What you will see
//!
//! `curl http://127.0.0.1:8080/hello/world` is answered by the router, `curl -d some=text http://127.0.0.1:8080/length`
//! too. `curl -i` shows the `x-request-id` that the proxy gave the request and the router was told.

use std::error::Error;

use axum::Router;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use proxy_core::{BuildError, Proxy, RequestId, Route, ServiceUpstream, TcpListener, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
    println!("http://127.0.0.1:8080/hello/world");
    serve(listener, app()?).await;
    Ok(())
}

fn app() -> Result<Proxy, BuildError> {
    Proxy::builder()
        .filter(RequestId::new())
        .upstream("router", ServiceUpstream::new(router()))
        .route(Route::to("router"))
        .build()
}

fn router() -> Router {
    Router::new().route("/hello/{name}", get(hello)).route("/length", post(length))
}

async fn hello(Path(name): Path<String>, headers: HeaderMap) -> String {
    let id = headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("none");
    format!("Hello, {name}! Your request is {id}.\n")
}

async fn length(body: String) -> String {
    format!("{} bytes\n", body.len())
}

#[cfg(test)]
mod tests {
    use examples::exchange;
    use proxy_core::Listener;

    use super::*;

    async fn send(request: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, app().unwrap()).into_future());
        exchange(address, request).await.unwrap()
    }

    #[tokio::test]
    async fn the_router_sees_the_path_and_the_fields() {
        let answer = send("GET /hello/you HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let id = head
            .split_once("x-request-id: ")
            .unwrap()
            .1
            .split_once("\r\n")
            .map_or_else(String::new, |(id, _)| id.into());
        assert!(body.contains(&format!("Hello, you! Your request is {id}")), "{answer}");
    }

    #[tokio::test]
    async fn the_router_reads_the_body() {
        let fields = "Host: x\r\nConnection: close\r\nTransfer-Encoding: chunked";
        let answer = send(&format!("POST /length HTTP/1.1\r\n{fields}\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")).await;
        assert!(answer.ends_with("5 bytes\n"), "{answer}");
    }

    #[tokio::test]
    async fn the_router_has_no_other_paths() {
        let answer = send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    }
}
