//! A rate limit as a tower layer around an axum app: no proxy anywhere.
//!
//! # Run
//!
//! ```sh
//! cargo run --example rate_limit_tower
//! ```
//!
//! # What you will see
//!
//! `for i in 1 2 3 4; do curl -si 127.0.0.1:8080/search | grep -iE '^(HTTP|rate|retry)'; done`: three searches pass, the
//! fourth is refused with 429 and says when to come back. `/health` has no limit.

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::routing::get;
use proxy_core::Peer;
use proxy_ratelimit::{Announce, Key, Limiter, Quota, RateLimit, SlidingWindow};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://127.0.0.1:8080/search, three a minute");
    let app = app("3/m".parse()?).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}

fn app(quota: Quota) -> Router {
    let limit = RateLimit::new(Limiter::new(SlidingWindow::new(quota)), Key::client_ip().and(Key::path()))
        .name("search")
        .announce(Announce::Always);
    let layers = ServiceBuilder::new().map_request(introduce_client).layer(limit.layer());
    let searches = Router::new().route("/search", get(async || "found nothing\n")).layer(layers);
    Router::new().route("/health", get(async || "fine\n")).merge(searches)
}

/// What axum knows of the client, in the words of the limit.
fn introduce_client(mut request: Request) -> Request {
    if let Some(ConnectInfo(address)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let peer = Peer::new(*address);
        request.extensions_mut().insert(peer);
    }
    request
}

#[cfg(test)]
mod tests {
    use examples::exchange;

    use super::*;

    #[tokio::test]
    async fn three_searches_and_any_number_of_health_checks() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app("3/h".parse().unwrap()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(axum::serve(listener, app).into_future());
        let ask = async |path| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            exchange(address, &request).await.unwrap()
        };
        for remaining in [2, 1, 0] {
            let answer = ask("/search").await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains(&format!("ratelimit: \"search\";r={remaining};")), "{answer}");
        }
        let refused = ask("/search").await;
        assert!(refused.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{refused}");
        assert!(
            refused.contains("retry-after: ") && refused.contains("ratelimit-policy: \"search\";q=3;w=3600\r\n"),
            "{refused}"
        );
        for _ in 0..5 {
            assert!(ask("/health").await.ends_with("\r\n\r\nfine\n"));
        }
    }
}
