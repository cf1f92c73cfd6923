//! A reverse proxy to one backend, in as few lines as it takes.
//!
//! # Run
//!
//! ```sh
//! python3 -m http.server 9000 &          # or any other HTTP server
//! cargo run --example reverse_proxy
//! ```
//!
//! # What you will see
//!
//! `curl -v http://127.0.0.1:8080/` shows the backend's answer. While the backend is not there, it shows
//! `502 Bad Gateway`.

use std::error::Error;

use proxy_core::{ParseAddressError, Proxy, TcpListener, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
    println!("http://127.0.0.1:8080 -> http://127.0.0.1:9000");
    serve(listener, app("127.0.0.1:9000")?).await;
    Ok(())
}

fn app(backend: &str) -> Result<Proxy, ParseAddressError> {
    Proxy::to(backend)
}

#[cfg(test)]
mod tests {
    use examples::{exchange, origin};
    use http::StatusCode;
    use proxy_core::Listener;

    use super::*;

    async fn get(backend: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, app(backend).unwrap()).into_future());
        exchange(address, "GET /a?b HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n").await.unwrap()
    }

    #[tokio::test]
    async fn the_backend_answers() {
        let backend = origin("backend", StatusCode::OK).unwrap();
        let answer = get(&backend.to_string()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("backend: GET /a?b\nHost: example\n"), "{answer}");
        assert!(answer.contains("X-Forwarded-For: 127.0.0.1\n"), "{answer}");
    }

    #[tokio::test]
    async fn without_a_backend_the_proxy_says_so() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let answer = get(&nobody.to_string()).await;
        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    }
}
