//! A listener in memory.

use std::io;
use std::net::SocketAddr;

use proxy_core::{Listener, Peer};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// Where clients of a [`MemoryListener`] connect.
#[derive(Clone, Debug)]
pub struct Dialer(mpsc::UnboundedSender<DuplexStream>);

/// Accepts what its [`Dialer`] connects.
#[derive(Debug)]
pub struct MemoryListener(mpsc::UnboundedReceiver<DuplexStream>);

/// A listener and its dialer.
pub fn listen() -> (Dialer, MemoryListener) {
    let (dial, accept) = mpsc::unbounded_channel();
    (Dialer(dial), MemoryListener(accept))
}

impl Dialer {
    /// The client's side of a new connection; `None` where nobody listens any more.
    pub fn dial(&self) -> Option<DuplexStream> {
        let (client, server) = tokio::io::duplex(64 * 1024);
        self.0.send(server).ok().map(|()| client)
    }
}

impl Listener for MemoryListener {
    type Io = DuplexStream;

    async fn accept(&mut self) -> (DuplexStream, Peer) {
        match self.0.recv().await {
            Some(stream) => (stream, Peer::new(SocketAddr::from(([192, 0, 2, 1], 50_000)))),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(([192, 0, 2, 100], 80).into())
    }
}
