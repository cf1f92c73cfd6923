//! A response body, as it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};

use super::group::Slot;
use crate::body::{Pace, Pacer};
use crate::http2::body::allowed;
use crate::http2::failure;
use crate::{Error, ErrorKind, Result};

/// A response body. The stream's window opens as it is read: what lies here is bounded by it. Dropped early, it resets
/// the stream.
pub(super) struct RecvBody {
    recv: RecvStream,
    /// What is still to come, where that was declared; the codec holds the backend to it.
    left: Option<u64>,
    /// Taken from the stream, and not yet known to be used.
    taken: usize,
    pacer: Pacer,
    /// Given back behind the stream.
    _slot: Arc<Slot>,
}

impl RecvBody {
    pub(super) fn new(recv: RecvStream, length: Option<u64>, idle: Duration, slot: Arc<Slot>) -> Self {
        let pacer = Pacer::new(Pace { idle, min_rate: 0 });
        RecvBody { recv, left: length, taken: 0, pacer, _slot: slot }
    }

    fn poll_next(&mut self, cx: &mut Task<'_>) -> Poll<Result<Option<Frame<Bytes>>>> {
        // Whoever asks for more has used what came before. A stream that is gone has no window any more.
        let _ = self.recv.flow_control().release_capacity(std::mem::take(&mut self.taken));
        loop {
            match self.recv.poll_data(cx) {
                Poll::Ready(Some(data)) => match data.map_err(failure::of_response)? {
                    data if data.is_empty() => {}
                    data => {
                        self.taken = data.len();
                        self.pacer.progress(data.len() as u64);
                        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                        return Poll::Ready(Ok(Some(Frame::data(data))));
                    }
                },
                Poll::Ready(None) => {
                    let trailers = ready!(self.recv.poll_trailers(cx)).map_err(failure::of_response)?;
                    return Poll::Ready(Ok(trailers.and_then(allowed).map(Frame::trailers)));
                }
                Poll::Pending => {
                    ready!(self.pacer.poll(cx));
                    return Poll::Ready(Err(ErrorKind::ResponseStalled.into()));
                }
            }
        }
    }
}

impl Body for RecvBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.poll_next(cx).map(Result::transpose)
    }

    /// Behind the last byte trailers may come, until the stream has ended: then nothing is known.
    fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(0) if !self.recv.is_end_stream() => SizeHint::default(),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
