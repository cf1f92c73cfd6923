//! WebSockets through the proxy: after the origin's `101 Switching Protocols` bytes flow both ways.
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
//! back from the origin.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use proxy_core::{ParseAddressError, Proxy, TcpListener, serve};
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let origin = echo_origin().await?;
    let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
    println!("ws://127.0.0.1:8080 -> {origin}");
    serve(listener, app(origin)?).await;
    Ok(())
}

/// Nothing to switch on: a proxy passes upgrades that the client asks for and the origin agrees to.
fn app(origin: SocketAddr) -> Result<Proxy, ParseAddressError> {
    Proxy::to(&origin.to_string())
}

/// A WebSocket server that sends every message back.
async fn echo_origin() -> io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    Ok(address)
}

async fn echo(stream: TcpStream) -> Result<(), tungstenite::Error> {
    let mut socket = accept_async(stream).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proxy_core::Listener;
    use tokio_tungstenite::connect_async;
    use tungstenite::Message;

    use super::*;

    #[tokio::test]
    async fn messages_come_back_and_the_close_is_orderly() {
        let origin = echo_origin().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, app(origin).unwrap()).into_future());

        let (mut socket, response) = connect_async(format!("ws://{address}/chat")).await.unwrap();
        assert_eq!(response.status(), 101);
        // Small, and larger than any buffer on the way.
        for message in [Message::text("hello"), Message::binary(vec![7; 1 << 20])] {
            socket.send(message.clone()).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap() == message);
        }
        socket.close(None).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap().is_close());
        assert!(socket.next().await.is_none());
    }
}
