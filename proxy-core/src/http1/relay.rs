//! A response on its way to the client.

use std::io;
use std::task::{Context as Task, Poll, ready};

use proxy_zerocopy::splice::Pump;

use super::buffer::BLOCK;
use super::chunked;
use super::encode::Framing;
use super::stream::{Out, Stream};
use crate::{Body, Error, ErrorKind, Result};

/// Data up to this size is copied behind the head, so that both leave in one plain write; more is
/// written from where it lies, with a vectored one. Copying 4 KiB costs less than the second vector.
const COPY: usize = 4 * 1024;

/// Writes one response, head and body.
pub(crate) struct Relay {
    out: Out,
    body: Body,
    framing: Framing,
    ended: bool,
    sent: u64,
    /// The body moves within the kernel.
    pump: Option<Box<Pump>>,
}

/// What must be left of a body for splicing to win: below it, what the pipe costs to get and to
/// drain is more than the two copies it saves.
const SPLICE: u64 = 128 * 1024;

/// What must be left of a file for the kernel to send it by itself: below it, one read and a write together with
/// the head cost less than what it takes to ask whether the bytes are in memory and to send them apart.
const SEND_FILE: u64 = 32 * 1024;

/// Which side a relay waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    Client,
    Body,
}

impl Relay {
    /// Writes `head`, which is complete, then `body`.
    pub(crate) fn new(head: Vec<u8>, body: Body, framing: Framing) -> Self {
        let body = if framing == Framing::None { Body::empty() } else { body };
        Relay { out: Out::new(head), body, framing, ended: false, sent: 0, pump: None }
    }

    /// Ready when everything is written. Otherwise says, in `waits`, which side is slow.
    pub(crate) fn poll(&mut self, cx: &mut Task<'_>, to: &Stream, waits: &mut WaitsFor) -> Poll<Result<()>> {
        *waits = WaitsFor::Client;
        loop {
            if self.ended {
                ready!(self.poll_flush(cx, to))?;
                return Poll::Ready(Ok(()));
            }
            if self.pump.is_some() || self.can_splice(to) {
                ready!(self.poll_splice(cx, to, waits))?;
                continue;
            }
            if self.can_send_file(to) {
                ready!(self.poll_send_file(cx, to, waits))?;
                continue;
            }
            match self.body.poll_data(cx) {
                Poll::Pending => {
                    ready!(self.poll_flush(cx, to))?;
                    *waits = WaitsFor::Body;
                    return Poll::Pending;
                }
                Poll::Ready(data) => match data? {
                    Some(len) => ready!(self.poll_send(cx, to, len))?,
                    None => self.end(),
                },
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Task<'_>, to: &Stream, len: usize) -> Poll<Result<()>> {
        if self.framing == Framing::Chunked {
            return self.poll_send_chunk(cx, to, len);
        }
        if len <= COPY && self.out.pending().len() < BLOCK {
            self.out.bytes.extend_from_slice(&self.body.data()[..len]);
            self.body.consume(len);
            return Poll::Ready(Ok(()));
        }
        let count = ready!(to.poll_write_two(cx, self.out.pending(), &self.body.data()[..len])).map_err(gone)?;
        self.sent += count as u64;
        let of_out = count.min(self.out.pending().len());
        self.out.advance(of_out);
        self.body.consume(count - of_out);
        Poll::Ready(Ok(()))
    }

    fn poll_send_chunk(&mut self, cx: &mut Task<'_>, to: &Stream, len: usize) -> Poll<Result<()>> {
        if self.out.pending().len() >= BLOCK {
            ready!(self.poll_write_out(cx, to))?;
        }
        chunked::write_size(len, &mut self.out.bytes);
        self.out.bytes.extend_from_slice(&self.body.data()[..len]);
        self.out.bytes.extend_from_slice(b"\r\n");
        self.body.consume(len);
        Poll::Ready(Ok(()))
    }

    /// A long body that nobody touched, between two sockets, with nothing of it read yet.
    fn can_splice(&mut self, to: &Stream) -> bool {
        let exact = matches!(self.framing, Framing::Exact(_));
        exact
            && to.is_tcp()
            && self.body.as_raw().is_some_and(|raw| raw.spliceable().is_some_and(|left| left >= SPLICE))
    }

    /// Moves the rest of the body from socket to socket.
    fn poll_splice(&mut self, cx: &mut Task<'_>, to: &Stream, waits: &mut WaitsFor) -> Poll<Result<()>> {
        ready!(self.poll_write_out(cx, to))?;
        let Some(raw) = self.body.as_raw() else { return Poll::Ready(Ok(())) };
        let pump = self.pump.get_or_insert_with(|| Box::new(Pump::new(raw.spliceable())));
        let before = pump.moved();
        let polled = raw.poll_pump(cx, pump, to);
        self.sent += pump.moved() - before;
        match polled {
            Poll::Pending => {
                *waits = if pump.in_flight() > 0 { WaitsFor::Client } else { WaitsFor::Body };
                Poll::Pending
            }
            Poll::Ready(result) => {
                self.pump = None;
                Poll::Ready(result)
            }
        }
    }

    /// A long part of a file that nobody touched, for a socket. What has begun goes on.
    fn can_send_file(&mut self, to: &Stream) -> bool {
        matches!(self.framing, Framing::Exact(_))
            && self.body.as_file().is_some_and(|file| {
                file.data().is_empty() && file.left() > 0 && (file.moved() > 0 || file.left() >= SEND_FILE)
            })
            && to.is_tcp()
    }

    /// Sends the rest of the file, from the kernel's memory.
    fn poll_send_file(&mut self, cx: &mut Task<'_>, to: &Stream, waits: &mut WaitsFor) -> Poll<Result<()>> {
        while !self.out.is_empty() {
            let count = ready!(to.poll_write_more(cx, self.out.pending())).map_err(gone)?;
            self.sent += count as u64;
            self.out.advance(count);
        }
        let Some(file) = self.body.as_file() else { return Poll::Ready(Ok(())) };
        let before = file.moved();
        let polled = to.with_tcp(|to| file.poll_send(cx, to));
        self.sent += file.moved() - before;
        match polled.unwrap_or(Poll::Ready(Ok(()))) {
            Poll::Pending => {
                *waits = if file.is_waiting_for_disk() { WaitsFor::Body } else { WaitsFor::Client };
                Poll::Pending
            }
            Poll::Ready(result) => Poll::Ready(result.map_err(unsent)),
        }
    }

    fn end(&mut self) {
        self.ended = true;
        if self.framing == Framing::Chunked {
            chunked::write_end(self.body.trailers().as_ref(), &mut self.out.bytes);
        }
        // The upstream's connection goes back to its pool before the last write.
        self.body = Body::empty();
    }

    fn poll_write_out(&mut self, cx: &mut Task<'_>, to: &Stream) -> Poll<Result<()>> {
        while !self.out.is_empty() {
            let count = ready!(to.poll_write(cx, self.out.pending())).map_err(gone)?;
            self.sent += count as u64;
            self.out.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Task<'_>, to: &Stream) -> Poll<Result<()>> {
        ready!(self.poll_write_out(cx, to))?;
        to.poll_flush(cx).map_err(gone)
    }

    /// Bytes written so far, heads included.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// The memory of the head, for the next one.
    pub(crate) fn into_head(self) -> Vec<u8> {
        self.out.bytes
    }
}

fn unsent(error: proxy_zerocopy::Error) -> Error {
    let kind = match error.side() {
        Some(proxy_zerocopy::Side::B) => ErrorKind::ClientGone,
        _ => ErrorKind::FileIo,
    };
    Error::new(kind).with_source(error)
}

fn gone(error: io::Error) -> Error {
    Error::new(ErrorKind::ClientGone).with_source(error)
}
