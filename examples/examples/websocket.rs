//! WebSockets through the proxy, wherever it runs and whoever answers: after `101 Switching Protocols` bytes flow
//! both ways.
//!
//! Between the proxy's own server and an origin there is nothing to switch on. An axum `Router` on either side needs
//! `proxy-core`'s feature `tower-upgrade`.
//!
//! # Run
//!
//! ```sh
//! cargo run --example websocket
//! ```
//!
//! # What you will see
//!
//! `websocat ws://127.0.0.1:8080` (or in a browser's console `new WebSocket("ws://127.0.0.1:8080")`) gets every message
//! back from an origin, behind a socket; `ws://127.0.0.1:8080/router` gets it from an axum router in this process. On
//! port 8081 the same proxy is the fallback of another axum router, and answers the same.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use proxy_core::{Backend, Cluster, Proxy, Route, ServiceUpstream, TcpListener, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let origin = start(router("/{*any}").route("/", get(echo))).await?;
    let proxy = app(origin)?;
    let mounted = tokio::net::TcpListener::bind("127.0.0.1:8081").await?;
    tokio::spawn(axum::serve(mounted, mount(proxy.clone())).into_future());
    let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
    println!("ws://127.0.0.1:8080 -> {origin}, ws://127.0.0.1:8080/router -> this process; port 8081: under a router");
    serve(listener, proxy).await;
    Ok(())
}

/// `/router` goes to a router in this process, everything else to the origin.
fn app(origin: SocketAddr) -> Result<Proxy, Box<dyn Error>> {
    let origin = Cluster::single(Backend::new(origin.into()));
    let proxy = Proxy::builder()
        .upstream("origin", origin)
        .upstream("router", ServiceUpstream::new(router("/router")))
        .route(Route::to("router").path("/router")?)
        .route(Route::to("origin"))
        .build()?;
    Ok(proxy)
}

/// The proxy behind an application's own paths.
fn mount(proxy: Proxy) -> Router {
    Router::new().route("/health", get(async || "fine\n")).fallback_service(proxy)
}

fn router(path: &str) -> Router {
    Router::new().route(path, get(echo))
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(send_back)
}

/// Sends every message back, until the client is gone.
async fn send_back(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let sent = match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message).await,
            _ => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Serves a router on a free port.
async fn start(router: Router) -> io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(address)
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use proxy_core::Listener;
    use tokio_tungstenite::connect_async;
    use tokio_tungstenite::tungstenite::Message;

    use super::*;

    #[tokio::test]
    async fn messages_come_back_and_the_close_is_orderly() {
        let proxy = app(start(router("/{*any}")).await.unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, proxy.clone()).into_future());
        let mounted = start(mount(proxy)).await.unwrap();

        for (address, path) in [(address, "chat"), (address, "router"), (mounted, "chat"), (mounted, "router")] {
            let (mut socket, response) = connect_async(format!("ws://{address}/{path}")).await.unwrap();
            assert_eq!(response.status(), 101);
            // Small, and larger than any buffer on the way.
            for message in [Message::text("hello"), Message::binary(vec![7; 1 << 20])] {
                socket.send(message.clone()).await.unwrap();
                assert!(socket.next().await.unwrap().unwrap() == message, "{path}");
            }
            socket.close(None).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap().is_close());
            assert!(socket.next().await.is_none());
        }
    }
}
