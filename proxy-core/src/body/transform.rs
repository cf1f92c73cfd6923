//! Bodies changed on their way.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};

use super::Body;
use crate::{Error, Result};

/// Changes a body chunk by chunk.
///
/// ```
/// use bytes::Bytes;
/// use proxy_core::{Body, Transform};
///
/// struct Upper;
/// impl Transform for Upper {
///     fn chunk(&mut self, chunk: Bytes) -> proxy_core::Result<Bytes> {
///         Ok(chunk.to_ascii_uppercase().into())
///     }
/// }
/// let body = Body::from("hello").transform(Upper);
/// assert!(!body.is_untouched());
/// ```
pub trait Transform: Send + 'static {
    /// One chunk in, what becomes of it out; empty means that nothing leaves yet.
    ///
    /// # Errors
    /// An error ends the message: its other side sees it broken off.
    fn chunk(&mut self, chunk: Bytes) -> Result<Bytes>;

    /// The body has ended: what is still to be sent, such as a compressor's last block.
    ///
    /// # Errors
    /// As for [`chunk`](Self::chunk).
    fn finish(&mut self) -> Result<Bytes> {
        Ok(Bytes::new())
    }
}

/// Changes a body chunk by chunk, and may wait. It waits under the same deadlines as the body.
#[async_trait]
pub trait AsyncTransform: Send + 'static {
    /// One chunk in, what becomes of it out.
    ///
    /// # Errors
    /// An error ends the message: its other side sees it broken off.
    async fn chunk(&mut self, chunk: Bytes) -> Result<Bytes>;

    /// The body has ended: what is still to be sent.
    ///
    /// # Errors
    /// As for [`chunk`](Self::chunk).
    async fn finish(&mut self) -> Result<Bytes> {
        Ok(Bytes::new())
    }
}

pub(super) struct Transformed<T> {
    body: Body,
    transform: T,
    finished: bool,
}

impl<T> Transformed<T> {
    pub(super) fn new(body: Body, transform: T) -> Self {
        Transformed { body, transform, finished: false }
    }
}

impl<T> Unpin for Transformed<T> {}

impl<T: Transform> HttpBody for Transformed<T> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let this = &mut *self;
        while !this.finished {
            let data = match ready!(this.body.poll_data(cx))? {
                Some(len) => {
                    let chunk = this.body.take(len);
                    this.transform.chunk(chunk)?
                }
                None => {
                    this.finished = true;
                    this.transform.finish()?
                }
            };
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
        Poll::Ready(this.body.trailers().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

type Step = Pin<Box<dyn Future<Output = (Work, Result<Option<Frame<Bytes>>>)> + Send>>;

/// A body and its transform, moved into the future of each step and back out of it.
struct Work {
    body: Body,
    transform: Box<dyn AsyncTransform>,
    finished: bool,
}

struct AsyncBody {
    idle: Option<Work>,
    step: Option<Step>,
}

pub(super) fn async_body(
    body: Body,
    transform: impl AsyncTransform,
) -> impl HttpBody<Data = Bytes, Error = Error> + Send {
    AsyncBody { idle: Some(Work { body, transform: Box::new(transform), finished: false }), step: None }
}

impl HttpBody for AsyncBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Some(work) = this.idle.take() {
            this.step = Some(Box::pin(work.next()));
        }
        let Some(step) = &mut this.step else { return Poll::Ready(None) };
        let (work, result) = ready!(step.as_mut().poll(cx));
        this.step = None;
        this.idle = Some(work);
        Poll::Ready(result.transpose())
    }
}

impl Work {
    async fn next(mut self) -> (Self, Result<Option<Frame<Bytes>>>) {
        let result = self.advance().await;
        (self, result)
    }

    async fn advance(&mut self) -> Result<Option<Frame<Bytes>>> {
        while !self.finished {
            let data = match poll_fn(|cx| self.body.poll_data(cx)).await? {
                Some(len) => {
                    let chunk = self.body.take(len);
                    self.transform.chunk(chunk).await?
                }
                None => {
                    self.finished = true;
                    self.transform.finish().await?
                }
            };
            if !data.is_empty() {
                return Ok(Some(Frame::data(data)));
            }
        }
        Ok(self.body.trailers().map(Frame::trailers))
    }
}
