//! The use of a connection for one exchange.

use std::fmt;
use std::sync::Arc;

use super::Connection;
use crate::clock::Instant;
use crate::http2::client::Slot;

/// Where a leased connection goes.
pub trait Home: Send + Sync + 'static {
    /// The exchange was complete: the connection can carry another.
    fn release(self: Arc<Self>, connection: Connection);

    /// The connection was closed.
    fn closed(&self);
}

/// A connection for one exchange, or one stream of a connection that many share (HTTP/2).
///
/// Dropping it closes the connection, or resets the stream. Only a complete, well-framed exchange gives a connection
/// back.
pub struct Lease {
    connection: Option<Connection>,
    /// Instead of a connection.
    stream: Option<Slot>,
    home: Option<Arc<dyn Home>>,
    reused: bool,
}

impl Lease {
    /// Leases a connection that goes to `home`.
    pub fn new(connection: Connection, home: Arc<dyn Home>) -> Self {
        let reused = connection.requests() > 0;
        Lease { connection: Some(connection), stream: None, home: Some(home), reused }
    }

    /// Leases a connection that is closed after the exchange.
    pub fn once(connection: Connection) -> Self {
        Lease { connection: Some(connection), stream: None, home: None, reused: false }
    }

    /// Leases a stream.
    #[cfg(feature = "http2")]
    pub(crate) fn of_stream(stream: Slot) -> Self {
        let reused = stream.is_reused();
        Lease { connection: None, stream: Some(stream), home: None, reused }
    }

    /// The stream, where it is one.
    pub(crate) fn take_stream(&mut self) -> Option<Slot> {
        self.stream.take()
    }

    /// Whether the connection carried an exchange before. The other side may then have closed it
    /// just now, which a new one rules out.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a lease has its connection until it is released or dropped")
    }

    /// What was read from the connection and not yet consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        self.connection.as_ref().map_or(&[], Connection::filled)
    }

    /// Whether the request's body is still on its way: a response that ends first ends the connection.
    pub(crate) fn is_uploading(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.stream().is_uploading())
    }

    pub(crate) fn set_uploading(&self) {
        if let Some(connection) = &self.connection {
            connection.stream().set_uploading(true);
        }
    }

    /// The connection itself, which comes back to no pool: it keeps its place until it is closed.
    pub(crate) fn into_connection(mut self) -> Connection {
        let connection = self.connection.take().expect("a lease has its connection until it is released or dropped");
        match self.home.take() {
            Some(home) => connection.in_place_of(home),
            None => connection,
        }
    }

    /// Gives the connection back. Only for an exchange that was complete and well framed: the next
    /// request on the connection reads what this one left.
    pub fn release(mut self, now: Instant) {
        let Some(mut connection) = self.connection.take() else { return };
        connection.served(now);
        if let Some(home) = self.home.take() {
            home.release(connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.connection.take());
        if let Some(home) = self.home.take() {
            home.closed();
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("connection", &self.connection)
            .field("reused", &self.reused)
            .finish_non_exhaustive()
    }
}
