//! The client's side of an in-memory connection.

use std::io;

use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::PATIENCE;
use super::message::{Message, Seen, Wire};

/// A client that sends bytes and reads responses. Dropping it closes the connection.
///
/// Made by [`TestProxy::connect`](super::TestProxy::connect).
#[derive(Debug)]
pub struct TestClient {
    wire: Wire<DuplexStream>,
    server: Option<JoinHandle<u64>>,
}

impl TestClient {
    pub(super) fn new(stream: DuplexStream) -> Self {
        TestClient { wire: Wire::new(stream, Seen::default()), server: None }
    }

    pub(super) fn served_by(mut self, server: JoinHandle<u64>) -> Self {
        self.server = Some(server);
        self
    }

    /// Sends these bytes, whatever they are.
    ///
    /// # Panics
    /// If the proxy has closed the connection.
    ///
    /// # Cancel safety
    /// A part of the bytes may have been sent.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the proxy takes what the client sends");
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// If the proxy has closed the connection.
    ///
    /// # Cancel safety
    /// A part of the bytes may have been sent.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.stream.write_all(bytes.as_ref()).await
    }

    /// Reads one response with its body.
    ///
    /// # Panics
    /// If the connection ends within it.
    ///
    /// # Cancel safety
    /// What was read of it is lost.
    pub async fn read_response(&mut self) -> Message {
        let response = patient(self.wire.read_response(false)).await;
        response.unwrap_or_else(|| self.broken_off())
    }

    /// Reads the response to a HEAD request, or only the head of another.
    ///
    /// # Panics
    /// If the connection ends within it.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn read_head(&mut self) -> Message {
        let response = patient(self.wire.read_head()).await;
        response.unwrap_or_else(|| self.broken_off())
    }

    /// Reads one response; `None` where the connection ends within it or before it.
    ///
    /// # Cancel safety
    /// What was read of it is lost.
    pub async fn try_read_response(&mut self) -> Option<Message> {
        patient(self.wire.read_response(false)).await
    }

    /// Reads so many bytes.
    ///
    /// # Panics
    /// If the connection ends before.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn read(&mut self, count: usize) -> Vec<u8> {
        let bytes = patient(self.wire.read(count)).await;
        bytes.unwrap_or_else(|| self.broken_off())
    }

    /// Reads until the proxy closes the connection.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        patient(self.wire.read_to_end()).await
    }

    /// Waits until the proxy closes the connection; says whether that came without another byte.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn is_closed(&mut self) -> bool {
        self.wire.ahead.is_empty() && !patient(self.wire.fill()).await
    }

    /// Everything that came so far.
    pub fn seen(&self) -> Vec<u8> {
        self.wire.seen().bytes()
    }

    /// Ends the sending side; answers can still be read.
    ///
    /// # Panics
    /// If the proxy has closed the connection.
    ///
    /// # Cancel safety
    /// It does not wait.
    pub async fn half_close(&mut self) {
        self.wire.stream.shutdown().await.expect("an open connection");
    }

    /// Closes the connection, and waits until the proxy is done with it. Returns how many requests
    /// there were.
    ///
    /// # Panics
    /// If serving the connection panicked.
    ///
    /// # Cancel safety
    /// The connection is closed in any case.
    pub async fn leave(self) -> u64 {
        drop(self.wire);
        match self.server {
            Some(server) => server.await.expect("a connection is served without a panic"),
            None => 0,
        }
    }

    /// Drops the connection on the proxy's side, as when the runtime stops, and waits for that.
    ///
    /// # Cancel safety
    /// The connection is dropped in any case.
    pub async fn stop_server(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            // Cancelled, or ended just before.
            let _ = server.await;
        }
    }

    /// The stream itself, and what was read from it already.
    pub fn into_stream(self) -> (DuplexStream, Vec<u8>) {
        (self.wire.stream, self.wire.ahead)
    }

    fn broken_off(&self) -> ! {
        panic!("the connection ended after {:?}", self.wire.seen().text())
    }
}

async fn patient<T>(read: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, read).await.expect("a day is enough for the proxy to send something")
}
