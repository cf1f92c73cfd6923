//! One connection to an upstream.

use std::fmt;
use std::sync::Arc;

use super::Home;
use crate::Io;
use crate::clock::Instant;
use crate::http1::reader::Reader;
use crate::http1::stream::Stream;

/// A connection to an upstream: a byte stream and what was read from it and not yet used.
pub struct Connection(Box<Inner>);

struct Inner {
    reader: Reader,
    created: Instant,
    idle_since: Instant,
    requests: u64,
    place: Option<Place>,
}

/// The place in a pool of a connection that does not come back to it; given up once it is closed.
pub(crate) struct Place(Arc<dyn Home>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.closed();
    }
}

impl Connection {
    /// Wraps a stream that was just connected.
    pub fn new(io: impl Io) -> Self {
        Connection::from_boxed(Box::new(io))
    }

    /// Wraps a boxed stream that was just connected.
    pub fn from_boxed(io: Box<dyn Io>) -> Self {
        let now = Instant::now();
        let reader = Reader::new(Stream::new(io));
        Connection(Box::new(Inner { reader, created: now, idle_since: now, requests: 0, place: None }))
    }

    /// When it was connected.
    pub fn created(&self) -> Instant {
        self.0.created
    }

    /// When its last exchange ended.
    pub fn idle_since(&self) -> Instant {
        self.0.idle_since
    }

    /// Exchanges it carried.
    pub fn requests(&self) -> u64 {
        self.0.requests
    }

    /// Whether it can carry another request: the other side has neither closed it nor said anything
    /// unasked. Without a system call in the common case: the runtime already knows.
    pub fn is_alive(&mut self) -> bool {
        let reader = &self.0.reader;
        !reader.eof && reader.buffer.is_empty() && reader.stream.is_quiet()
    }

    pub(crate) fn reader(&mut self) -> &mut Reader {
        &mut self.0.reader
    }

    /// Its place is taken until it is closed.
    pub(crate) fn in_place_of(mut self, home: Arc<dyn Home>) -> Self {
        self.0.place = Some(Place(home));
        self
    }

    pub(crate) fn into_parts(self) -> (Reader, Option<Place>) {
        (self.0.reader, self.0.place)
    }

    pub(crate) fn filled(&self) -> &[u8] {
        self.0.reader.buffer.filled()
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.0.reader.stream
    }

    /// An exchange ended well at `now`.
    pub(crate) fn served(&mut self, now: Instant) {
        self.0.requests += 1;
        self.0.idle_since = now;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("requests", &self.0.requests).finish_non_exhaustive()
    }
}
