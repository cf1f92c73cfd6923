//! A listener in memory.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use async_trait::async_trait;
use proxy_core::{Connector, Io, Listener, Peer, Target};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 50_000);
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100)), 80);

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

/// Every backend of a pool over it is this listener.
#[async_trait]
impl Connector for Dialer {
    async fn connect(&self, _: &Target) -> io::Result<Box<dyn Io>> {
        self.dial().map(|stream| Box::new(stream) as _).ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }
}

impl MemoryListener {
    async fn next(&mut self) -> DuplexStream {
        match self.0.recv().await {
            Some(stream) => stream,
            None => std::future::pending().await,
        }
    }
}

impl Listener for MemoryListener {
    type Io = DuplexStream;

    async fn accept(&mut self) -> (DuplexStream, Peer) {
        (self.next().await, Peer::new(CLIENT))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SERVER)
    }
}

impl axum::serve::Listener for MemoryListener {
    type Io = DuplexStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (DuplexStream, SocketAddr) {
        (self.next().await, CLIENT)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SERVER)
    }
}
