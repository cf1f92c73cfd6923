//! A TCP echo server: the listener of the framework without the rest.
//!
//! # Run
//!
//! ```sh
//! cargo run --example echo
//! ```
//!
//! # What you will see
//!
//! `nc 127.0.0.1 7000` in another terminal gets every line back, and `echo hello | nc -N 127.0.0.1 7000` all of it:
//! a client that closes its sending side still receives what is on the way. After Ctrl-C no new client is accepted;
//! those that are there have ten seconds to finish.

use std::io;
use std::pin::pin;
use std::time::Duration;

use proxy_core::{Io, Listener, TcpListener};
use tokio::task::JoinSet;

/// How long clients may stay after the signal to stop.
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind(([127, 0, 0, 1], 7000).into())?;
    println!("echo on {}; Ctrl-C stops it", listener.local_addr()?);
    app(listener, async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await;
    Ok(())
}

async fn app(mut listener: impl Listener, stop: impl Future<Output = ()>) {
    let mut clients = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            (stream, _peer) = listener.accept() => drop(clients.spawn(echo(stream))),
            Some(_) = clients.join_next() => {}
        }
    }
    drop(listener); // nobody waits in its queue in vain
    let drained = async { while clients.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, drained).await;
}

async fn echo(stream: impl Io) -> io::Result<()> {
    use tokio::io::AsyncWriteExt;

    let (mut read, mut write) = tokio::io::split(stream);
    // Ends when the client closes its sending side, once everything has been sent back.
    tokio::io::copy(&mut read, &mut write).await?;
    write.shutdown().await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn everything_comes_back_and_running_clients_may_finish() {
        let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(app(listener, async { drop(stopped.await) }));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"ping").await.unwrap();
        let mut pong = [0; 4];
        client.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"ping");

        drop(stop);
        // More than the buffers between the two hold, so both directions have to move at once.
        let bytes = vec![7; 8 << 20];
        let (mut read, mut write) = client.into_split();
        let sent = bytes.clone();
        let sending = tokio::spawn(async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        read.read_to_end(&mut received).await.unwrap();
        assert!(received == bytes);
        sending.await.unwrap();
        server.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
