//! The read half of a connection.

use std::io;
use std::task::{Context as Task, Poll, ready};

use super::buffer::Buffer;
use super::decode::Decoder;
use super::stream::Stream;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What is read from a connection and not yet consumed.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) stream: Stream,
    pub(crate) buffer: Buffer,
    pub(crate) eof: bool,
    /// What of `100 Continue` is still to be written before the first read of a body.
    owed: &'static [u8],
}

/// A reader given home, with where its message stood.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) reader: Reader,
    pub(crate) decoder: Decoder,
}

impl Reader {
    pub(crate) fn new(stream: Stream) -> Self {
        Reader { stream, buffer: Buffer::default(), eof: false, owed: &[] }
    }

    /// The client waits for `100 Continue`: the next read sends it first.
    pub(crate) fn owe_continue(&mut self) {
        self.owed = CONTINUE;
    }

    /// The client has its answer, or needs none.
    pub(crate) fn forget_continue(&mut self) {
        self.owed = &[];
    }

    pub(crate) fn owes_continue(&self) -> bool {
        self.owed.len() == CONTINUE.len()
    }

    /// Reads more; `Ok(0)` is the end of the stream.
    pub(crate) fn poll_fill(&mut self, cx: &mut Task<'_>) -> Poll<io::Result<usize>> {
        while !self.owed.is_empty() {
            let count = ready!(self.stream.poll_write(cx, self.owed))?;
            self.owed = &self.owed[count..];
        }
        if self.eof {
            return Poll::Ready(Ok(0));
        }
        let count = ready!(self.stream.poll_fill(cx, &mut self.buffer))?;
        self.eof = count == 0;
        Poll::Ready(Ok(count))
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Buffer").field(&self.len()).finish()
    }
}
