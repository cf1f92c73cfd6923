//! A body that takes its time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use proxy_core::{Body, Error};
use tokio::time::Sleep;

use super::Lane;

/// Passes a body on in pieces, each when its time has come.
pub(super) struct Paced {
    body: Body,
    lane: Arc<Lane>,
    hash: u64,
    /// What was read and is not reserved yet.
    unpaid: Bytes,
    /// What waits for its time.
    piece: Bytes,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub(super) fn new(body: Body, lane: Arc<Lane>, hash: u64) -> Self {
        Paced { body, lane, hash, unpaid: Bytes::new(), piece: Bytes::new(), sleep: None }
    }

    /// The next piece, its time come; `None` where there is no data left.
    fn poll_piece(&mut self, cx: &mut Task<'_>) -> Poll<Option<Bytes>> {
        if self.piece.is_empty() {
            if self.unpaid.is_empty() {
                return Poll::Ready(None);
            }
            self.piece = self.unpaid.split_to(self.unpaid.len().min(self.lane.piece));
            let wait = self.lane.reserve(self.hash, self.piece.len());
            self.sleep = (!wait.is_zero()).then(|| Box::pin(tokio::time::sleep(wait)));
        }
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
        Poll::Ready(Some(std::mem::take(&mut self.piece)))
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = ready!(this.poll_piece(cx)) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)).transpose()? {
                None => return Poll::Ready(None),
                Some(frame) => match frame.into_data() {
                    Ok(data) => this.unpaid = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let held = (self.unpaid.len() + self.piece.len()) as u64;
        self.body.exact_length().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + held))
    }
}
