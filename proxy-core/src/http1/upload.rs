//! A request on its way to an upstream: the head, then the body as it comes.

use std::io;
use std::task::{Context as Task, Poll, ready};

use super::buffer::BLOCK;
use super::chunked;
use super::stream::{Out, Stream};
use crate::{Body, Error, ErrorKind, Result};

/// Writes one request. Polled beside the response, so that neither side can block the other.
pub(crate) struct Upload {
    stream: Stream,
    body: Body,
    /// The head, then pieces of a chunked body.
    out: Out,
    chunked: bool,
    /// The client waits for `100 Continue`, and the upstream was asked first.
    held: bool,
    ended: bool,
    replay: Replay,
    sent: u64,
}

impl Upload {
    /// Writes `head`, which is complete, then `body`. Up to `replay` bytes of the body are kept.
    pub(crate) fn new(stream: Stream, head: Vec<u8>, body: Body, chunked: bool, replay: usize) -> Self {
        let held = body.owes_continue();
        let out = Out::new(head);
        Upload { stream, body, out, chunked, held, ended: false, replay: Replay::new(replay), sent: 0 }
    }

    /// Ready when everything is written.
    pub(crate) fn poll(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        loop {
            if self.ended || self.held {
                ready!(self.poll_flush(cx))?;
                return if self.ended { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            match self.body.poll_data(cx) {
                Poll::Pending => {
                    ready!(self.poll_flush(cx))?;
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(None)) => self.end(),
                Poll::Ready(Ok(Some(len))) => ready!(self.poll_send(cx, len))?,
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Task<'_>, len: usize) -> Poll<Result<()>> {
        if self.chunked {
            return self.poll_send_chunk(cx, len);
        }
        let written = ready!(self.stream.poll_write_two(cx, self.out.pending(), &self.body.data()[..len]));
        let count = written.map_err(|error| self.broken(error))?;
        let of_out = count.min(self.out.pending().len());
        self.out.advance(of_out);
        self.take(count - of_out);
        Poll::Ready(Ok(()))
    }

    fn poll_send_chunk(&mut self, cx: &mut Task<'_>, len: usize) -> Poll<Result<()>> {
        if self.out.pending().len() >= BLOCK {
            ready!(self.stream.poll_write_all(cx, &mut self.out)).map_err(|error| self.broken(error))?;
        }
        chunked::write_size(len, &mut self.out.bytes);
        self.out.bytes.extend_from_slice(&self.body.data()[..len]);
        self.out.bytes.extend_from_slice(b"\r\n");
        self.take(len);
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, count: usize) {
        self.replay.record(&self.body.data()[..count]);
        self.body.consume(count);
        self.sent += count as u64;
    }

    fn end(&mut self) {
        let trailers = if self.chunked { self.body.trailers() } else { None };
        if self.chunked {
            chunked::write_end(trailers.as_ref(), &mut self.out.bytes);
        }
        self.ended = true;
        // The client's connection gets its read half back now, not when the response has ended: so it
        // is seen to leave. Only trailers have to stay for another attempt.
        if trailers.is_none() || !self.replay.is_on() {
            self.body = Body::empty();
        }
    }

    fn poll_flush(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        ready!(self.stream.poll_write_all(cx, &mut self.out)).map_err(|error| self.broken(error))?;
        ready!(self.stream.poll_flush(cx)).map_err(|error| self.broken(error))?;
        if self.ended {
            self.stream.set_uploading(false);
        }
        Poll::Ready(Ok(()))
    }

    fn broken(&self, error: io::Error) -> Error {
        // A socket tells this once: whoever reads then sees an end as good as any.
        if error.kind() == io::ErrorKind::ConnectionReset {
            self.stream.set_reset();
        }
        Error::new(ErrorKind::UpstreamIo).with_source(error)
    }

    /// The upstream wants the body, or said nothing for so long that it may have it.
    pub(crate) fn unhold(&mut self) {
        self.held = false;
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    pub(crate) fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Bytes of the body taken so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// The memory of the head, for the next one.
    pub(crate) fn into_head(self) -> Vec<u8> {
        self.out.bytes
    }

    /// The body as it was before, for another attempt; `None` where too much of it is gone.
    pub(crate) fn into_body(mut self) -> Option<Body> {
        let recorded = std::mem::replace(&mut self.replay, Replay::new(0)).take(self.sent)?;
        self.body.unread(&recorded);
        Some(self.body)
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("body", &self.body).field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// The beginning of a body, kept for another attempt.
struct Replay {
    bytes: Vec<u8>,
    limit: usize,
}

impl Replay {
    fn new(limit: usize) -> Self {
        Replay { bytes: Vec::new(), limit }
    }

    fn is_on(&self) -> bool {
        self.limit > 0
    }

    fn record(&mut self, bytes: &[u8]) {
        match bytes.len() <= self.limit - self.bytes.len() {
            true => self.bytes.extend_from_slice(bytes),
            false => *self = Replay::new(0),
        }
    }

    fn take(self, sent: u64) -> Option<Vec<u8>> {
        (self.bytes.len() as u64 == sent).then_some(self.bytes)
    }
}
