//! Any body in a box.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::guard::guarded;
use crate::interim::Responder;
use crate::{Error, ErrorKind, ResponseHead, Result};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A body behind a trait object, and the piece of it at hand.
pub(super) struct Boxed {
    body: Pin<Box<dyn Erased>>,
    current: Bytes,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// Who waits for `100 Continue`.
    expecting: Option<Arc<dyn Responder>>,
}

trait Erased: Send {
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>>>>;
    fn size_hint(&self) -> SizeHint;
}

pin_project_lite::pin_project! {
    struct Erase<B> {
        #[pin]
        body: B,
    }
}

impl<B> Erased for Erase<B>
where
    B: HttpBody<Data = Bytes> + Send,
    B::Error: Into<Source>,
{
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.project().body.poll_frame(cx).map_err(into_error)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Errors of our own keep their kind on the way through wrappers.
fn into_error(error: impl Into<Source>) -> Error {
    match error.into().downcast::<Error>() {
        Ok(ours) => *ours,
        Err(other) => Error::new(ErrorKind::Plugin).with_source(other),
    }
}

impl Boxed {
    pub(super) fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Source>,
    {
        Boxed { body: Box::pin(Erase { body }), current: Bytes::new(), trailers: None, ended: false, expecting: None }
    }

    #[cfg(feature = "http2")]
    pub(super) fn expecting(mut self, client: Arc<dyn Responder>) -> Self {
        self.expecting = Some(client);
        self
    }

    pub(super) fn owes_continue(&self) -> bool {
        self.expecting.is_some()
    }

    pub(super) fn forget_continue(&mut self) {
        self.expecting = None;
    }

    pub(super) fn exact_length(&self) -> Option<u64> {
        if self.ended {
            return Some(self.current.len() as u64);
        }
        self.body.size_hint().exact().map(|rest| rest + self.current.len() as u64)
    }

    pub(super) fn poll_data(&mut self, cx: &mut Task<'_>) -> Poll<Result<Option<usize>>> {
        if let Some(client) = self.expecting.take() {
            client.interim(&ResponseHead::new(StatusCode::CONTINUE));
        }
        while self.current.is_empty() && !self.ended {
            let body = self.body.as_mut();
            match ready!(guarded(|| Ok(body.poll_frame(cx)))?).transpose()? {
                Some(frame) => self.accept(frame),
                None => self.ended = true,
            }
        }
        Poll::Ready(Ok((!self.current.is_empty()).then_some(self.current.len())))
    }

    fn accept(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => self.current = data,
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                self.ended = true;
            }
        }
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.current
    }

    pub(super) fn take(&mut self, len: usize) -> Bytes {
        self.current.split_to(len)
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.current.advance(count);
    }

    pub(super) fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }
}
