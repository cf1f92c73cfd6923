//! Rate limits as filters: per client, per API key, two at once, all behind a global one.
//!
//! # Run
//!
//! ```sh
//! cargo run --example rate_limit
//! ```
//!
//! # What you will see
//!
//! `for i in 1 2 3 4 5 6 7; do curl -si 127.0.0.1:8080 | grep -iE '^(HTTP|rate|retry)'; done`: five requests pass, and
//! `ratelimit: "client";r=4;t=1` counts down; then it is 429 with `retry-after: 1`. With `-H 'x-api-key: blue'` a key
//! has ten a second and a thousand an hour of its own, which come before: a POST costs five of them.

use std::error::Error;
use std::net::SocketAddr;

use examples::origin;
use http::{HeaderName, Method, StatusCode};
use proxy_core::{Address, Backend, Cluster, Proxy, Route, TcpListener, serve};
use proxy_ratelimit::{Announce, Cost, Gcra, Key, Limiter, Missing, RateLimit, TokenBucket};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let origin = origin("origin", StatusCode::OK)?;
    let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
    println!("http://127.0.0.1:8080 -> {origin}, five requests a second");
    serve(listener, app(origin)?).await;
    Ok(())
}

fn app(origin: SocketAddr) -> Result<Proxy, Box<dyn Error>> {
    // Without a key a request is none of this limit's business.
    let key = Key::header(HeaderName::from_static("x-api-key"));
    let per_key = RateLimit::new(Limiter::new([Gcra::new("10/s".parse()?), Gcra::new("1000/h".parse()?)]), key)
        .name("key")
        .missing_key(Missing::Allow)
        .cost(Cost::by_method([(Method::POST, 5)]));
    // Clients can come from many addresses; all of them together cannot have more than the global limit.
    let bucket = Limiter::new(TokenBucket::new("5/s".parse()?)).with_global("1000/s".parse()?);
    let per_client = RateLimit::new(bucket, Key::client_ip()).name("client").announce(Announce::Always);
    let proxy = Proxy::builder()
        .filter(per_key)
        .filter(per_client)
        .upstream("origin", Cluster::single(Backend::new(Address::from(origin))))
        .route(Route::to("origin"))
        .build()?;
    Ok(proxy)
}

#[cfg(test)]
mod tests {
    use examples::exchange;
    use proxy_core::Listener;

    use super::*;

    async fn start() -> SocketAddr {
        let origin = origin("origin", StatusCode::OK).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, app(origin).unwrap()).into_future());
        address
    }

    async fn ask(address: SocketAddr, method: &str, fields: &str) -> String {
        let request =
            format!("{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n{fields}\r\n");
        exchange(address, &request).await.unwrap()
    }

    #[tokio::test]
    async fn a_client_has_five_at_once() {
        let address = start().await;
        let first = ask(address, "GET", "").await;
        assert!(
            first.starts_with("HTTP/1.1 200 OK\r\n") && first.contains("ratelimit: \"client\";r=4;t=1\r\n"),
            "{first}"
        );
        let mut refused = String::new();
        // The bucket fills at five a second meanwhile; no machine is that slow.
        for _ in 0..100 {
            refused = ask(address, "GET", "").await;
            if refused.starts_with("HTTP/1.1 429") {
                break;
            }
        }
        assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    }

    #[tokio::test]
    async fn a_post_costs_five() {
        let address = start().await;
        for passes in [true, true, false] {
            let answer = ask(address, "POST", "x-api-key: blue\r\n").await;
            assert_eq!(answer.starts_with("HTTP/1.1 200"), passes, "{answer}");
        }
        let other = ask(address, "POST", "x-api-key: red\r\n").await;
        assert!(other.starts_with("HTTP/1.1 200"), "{other}");
    }
}
