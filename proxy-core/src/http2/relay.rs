//! A response body on its way to the client.

use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;

use super::failure;
use crate::clock::Instant;
use crate::http1::timer::Timer;
use crate::{Body, Error, ErrorKind, Result};

/// Sends one body, as far as the client's windows allow.
pub(super) struct Relay {
    send: SendStream<Bytes>,
    body: Body,
    /// The body's length is known: its last byte ends the stream.
    exact: bool,
    sent: u64,
    waits: WaitsFor,
    /// When the client last took something, and how much it had then.
    stall: Option<(u64, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitsFor {
    Client,
    Body,
}

impl Relay {
    pub(super) fn new(send: SendStream<Bytes>, body: Body, exact: bool) -> Self {
        Relay { send, body, exact, sent: 0, waits: WaitsFor::Body, stall: None }
    }

    /// Ready when all of it is sent, or the client is gone.
    pub(super) fn poll(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        loop {
            match self.body.poll_data(cx) {
                Poll::Ready(Ok(Some(length))) => {
                    if ready!(self.poll_send(cx, length))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Ok(None)) => return Poll::Ready(self.end()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.waits = WaitsFor::Body;
                    ready!(self.send.poll_reset(cx)).ok();
                    return Poll::Ready(Err(ErrorKind::ClientGone.into()));
                }
            }
        }
    }

    /// Sends what there is room for; says whether that was the last of it.
    fn poll_send(&mut self, cx: &mut Task<'_>, length: usize) -> Poll<Result<bool>> {
        let room = match self.poll_room(cx, length) {
            Poll::Ready(room) => room?,
            Poll::Pending => {
                self.waits = WaitsFor::Client;
                self.body.shrink();
                return Poll::Pending;
            }
        };
        let data = self.body.take(length.min(room));
        self.sent += data.len() as u64;
        let last = self.exact && self.body.exact_length() == Some(0);
        self.send.send_data(data, last).map_err(failure::gone)?;
        if last {
            // The upstream's connection goes back to its pool before the last write.
            self.body = Body::empty();
        }
        Poll::Ready(Ok(last))
    }

    fn poll_room(&mut self, cx: &mut Task<'_>, length: usize) -> Poll<Result<usize>> {
        self.send.reserve_capacity(length);
        match self.send.capacity() {
            0 => match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(room)) => Poll::Ready(Ok(room)),
                Some(Err(error)) => Poll::Ready(Err(failure::gone(error))),
                None => Poll::Ready(Err(ErrorKind::ClientGone.into())),
            },
            room => Poll::Ready(Ok(room)),
        }
    }

    fn end(&mut self) -> Result<()> {
        let trailers = self.body.trailers();
        self.body = Body::empty();
        match trailers {
            Some(trailers) => self.send.send_trailers(trailers),
            None => self.send.send_data(Bytes::new(), true),
        }
        .map_err(failure::gone)
    }

    /// Ready with an error when the client takes nothing for too long, or the whole takes too long.
    pub(super) fn poll_deadlines(
        &mut self,
        cx: &mut Task<'_>,
        timer: &mut Timer,
        write_idle: Duration,
        deadline: Option<Instant>,
    ) -> Poll<Result<()>> {
        if let Some(deadline) = deadline
            && timer.poll_at(cx, deadline).is_ready()
        {
            return Poll::Ready(Err(ErrorKind::TotalTimeout.into()));
        }
        if self.waits == WaitsFor::Body {
            self.stall = None;
            return Poll::Pending;
        }
        let since = match self.stall {
            Some((before, since)) if before == self.sent => since,
            _ => self.stall.insert((self.sent, Instant::now())).1,
        };
        ready!(timer.poll_at(cx, since + write_idle));
        Poll::Ready(Err(ErrorKind::WriteTimeout.into()))
    }

    /// What was sent is no whole response: the client must not take it for one.
    pub(super) fn reset(&mut self, error: &Error) {
        self.send.send_reset(failure::reason(error));
    }

    /// Bytes of the body sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
}
