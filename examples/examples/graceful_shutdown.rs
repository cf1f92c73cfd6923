//! Stopping without losing a request.
//!
//! # Run
//!
//! ```sh
//! cargo run --example graceful_shutdown
//! ```
//!
//! # What you will see
//!
//! The origin takes three seconds per request. Start `curl -i http://127.0.0.1:8080` and press Ctrl-C in the first
//! terminal at once: no new connection is accepted, but curl gets its answer, with `Connection: close`, and the program
//! ends right after. A request that took longer than ten seconds would be cut off.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use proxy_core::{Context, Listener, Proxy, Request, Response, TcpListener, Upstream, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
    println!("http://127.0.0.1:8080; Ctrl-C stops it");
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
    app(listener, Proxy::over(Slow), stop).await;
    println!("every request was answered");
    Ok(())
}

async fn app(listener: impl Listener, proxy: Proxy, stop: impl Future<Output = ()> + Send + 'static) {
    serve(listener, proxy).with_graceful_shutdown(stop).drain_timeout(Duration::from_secs(10)).await;
}

/// An origin that takes its time.
struct Slow;

#[async_trait]
impl Upstream for Slow {
    async fn send(&self, _: Request, _: &mut Context) -> proxy_core::Result<Response> {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(Response::text(StatusCode::OK, "worth the wait\n"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use examples::exchange;
    use tokio::net::TcpStream;
    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    /// Says when a request has arrived, and answers when it may.
    struct Gated {
        arrived: Arc<Semaphore>,
        may_answer: Arc<Semaphore>,
    }

    #[async_trait]
    impl Upstream for Gated {
        async fn send(&self, _: Request, _: &mut Context) -> proxy_core::Result<Response> {
            self.arrived.add_permits(1);
            let _permit = self.may_answer.acquire().await;
            Ok(Response::text(StatusCode::OK, "done\n"))
        }
    }

    #[tokio::test]
    async fn what_runs_is_finished_and_nothing_new_begins() {
        let (arrived, may_answer) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let upstream = Gated { arrived: Arc::clone(&arrived), may_answer: Arc::clone(&may_answer) };
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(app(listener, Proxy::over(upstream), async { drop(stopped.await) }));

        let mut idle = TcpStream::connect(address).await.unwrap();
        let client = tokio::spawn(exchange(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        let _ = arrived.acquire().await.unwrap();
        drop(stop);
        // The idle connection is closed, and nobody is accepted any more.
        assert_eq!(tokio::io::AsyncReadExt::read(&mut idle, &mut [0]).await.unwrap(), 0);
        assert!(TcpStream::connect(address).await.is_err());
        assert!(!server.is_finished());

        may_answer.add_permits(1);
        let answer = client.await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.ends_with("done\n"), "{answer}");
        server.await.unwrap();
    }
}
