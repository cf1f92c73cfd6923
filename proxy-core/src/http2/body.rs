//! A request body, as it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::failure;
use super::seats::Seat;
use crate::body::{Pace, Pacer};
use crate::http1::chunked::may_trail;
use crate::{Error, ErrorKind, Result};

/// A request body. The client's windows open as it is read: what lies here is bounded by them. What is left of it
/// when it is dropped, is left to its seat.
pub(super) struct RecvBody {
    /// Until it is dropped.
    recv: Option<RecvStream>,
    seat: Arc<Seat>,
    /// What is still to come, where that was declared; the codec holds the client to it.
    left: Option<u64>,
    /// What may still come before the body is too large.
    allowance: u64,
    /// Taken from the stream, and not yet known to be used.
    taken: usize,
    pacer: Pacer,
}

impl RecvBody {
    pub(super) fn new(recv: RecvStream, seat: Arc<Seat>, length: Option<u64>, allowance: u64, pace: Pace) -> Self {
        RecvBody { recv: Some(recv), seat, left: length, allowance, taken: 0, pacer: Pacer::new(pace) }
    }

    fn poll_next(&mut self, cx: &mut Task<'_>) -> Poll<Result<Option<Frame<Bytes>>>> {
        // Whoever asks for more has used what came before.
        self.release();
        loop {
            let Some(recv) = &mut self.recv else { return Poll::Ready(Ok(None)) };
            match recv.poll_data(cx) {
                Poll::Ready(Some(data)) => match data.map_err(failure::of_body)? {
                    data if data.is_empty() => {}
                    data => return Poll::Ready(self.accept(data).map(Some)),
                },
                Poll::Ready(None) => return self.poll_trailers(cx),
                Poll::Pending => {
                    ready!(self.pacer.poll(cx));
                    return Poll::Ready(Err(ErrorKind::BodyTimeout.into()));
                }
            }
        }
    }

    fn accept(&mut self, data: Bytes) -> Result<Frame<Bytes>> {
        let length = data.len() as u64;
        self.taken = data.len();
        self.pacer.progress(length);
        self.left = self.left.map(|left| left.saturating_sub(length));
        self.allowance = self.allowance.checked_sub(length).ok_or(ErrorKind::BodyTooLarge)?;
        Ok(Frame::data(data))
    }

    fn release(&mut self) {
        if let Some(recv) = &mut self.recv {
            // A stream that is gone has no window any more.
            let _ = recv.flow_control().release_capacity(std::mem::take(&mut self.taken));
        }
    }

    fn poll_trailers(&mut self, cx: &mut Task<'_>) -> Poll<Result<Option<Frame<Bytes>>>> {
        let Some(recv) = &mut self.recv else { return Poll::Ready(Ok(None)) };
        let trailers = ready!(recv.poll_trailers(cx)).map_err(failure::of_body)?;
        Poll::Ready(Ok(trailers.and_then(allowed).map(Frame::trailers)))
    }
}

impl Drop for RecvBody {
    fn drop(&mut self) {
        self.release();
        if let Some(recv) = self.recv.take() {
            self.seat.leave(recv);
        }
    }
}

/// Those that may be passed on.
pub(super) fn allowed(mut trailers: HeaderMap) -> Option<HeaderMap> {
    let refused: Vec<_> = trailers.keys().filter(|name| !may_trail(name)).cloned().collect();
    for name in refused {
        trailers.remove(name);
    }
    (!trailers.is_empty()).then_some(trailers)
}

impl Body for RecvBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.poll_next(cx).map(Result::transpose)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
