//! Message bodies.

use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use proxy_zerocopy::FileRange;

use crate::http1::buffer::Buffer;
use crate::{Error, ErrorKind, Result};

mod boxed;
mod pace;
mod raw;
mod transform;

pub use transform::{AsyncTransform, Transform};

use boxed::Boxed;
pub(crate) use pace::{Pace, Pacer};
pub(crate) use raw::{RawBody, Source};

/// The body of a request or response: empty, in memory, still the raw stream of a connection, a part
/// of a file, or any [`http_body::Body`] in a box.
///
/// A body nobody touched is relayed as raw bytes, and a file sent by the kernel. Wrapping it with [`transform`](Self::transform)
/// turns that off, for this body only; [`peek`](Self::peek) does not.
#[derive(Default)]
pub struct Body {
    /// Data that comes first: what was peeked at, or is sent once more.
    prefix: Bytes,
    kind: Kind,
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Raw(Box<RawBody>),
    /// What is left of an exchange whose connection is back in its pool already.
    Here(Buffer),
    File(Box<FileRange>),
    Boxed(Box<Boxed>),
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Body::default()
    }

    /// A body in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Body { prefix: bytes.into(), kind: Kind::Empty }
    }

    /// These bytes of a file. To a plain socket the kernel sends them by itself once they are many; elsewhere they
    /// are read as they are needed. No task waits for a disk: see [`FileRange`].
    pub fn file(file: impl Into<Arc<File>>, range: Range<u64>) -> Self {
        let kind = if range.is_empty() { Kind::Empty } else { Kind::File(Box::new(FileRange::new(file, range))) };
        Body { prefix: Bytes::new(), kind }
    }

    /// Any body; its errors end the message.
    pub fn boxed<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Body { prefix: Bytes::new(), kind: Kind::Boxed(Box::new(Boxed::new(body))) }
    }

    /// The same for a client that waits for `100 Continue`: it gets it when the body is first read.
    #[cfg(feature = "http2")]
    pub(crate) fn boxed_expecting<B>(body: B, client: std::sync::Arc<dyn crate::interim::Responder>) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Body { prefix: Bytes::new(), kind: Kind::Boxed(Box::new(Boxed::new(body).expecting(client))) }
    }

    /// The last of a body, all read.
    pub(crate) fn here(buffer: Buffer) -> Self {
        Body { prefix: Bytes::new(), kind: Kind::Here(buffer) }
    }

    pub(crate) fn raw(raw: RawBody) -> Self {
        Body { prefix: Bytes::new(), kind: Kind::Raw(Box::new(raw)) }
    }

    /// Passes every chunk through `transform`; trailers pass unchanged.
    #[must_use]
    pub fn transform(self, transform: impl Transform) -> Self {
        Body::boxed(transform::Transformed::new(self, transform))
    }

    /// Passes every chunk through a transform that may wait.
    #[must_use]
    pub fn transform_async(self, transform: impl AsyncTransform) -> Self {
        Body::boxed(transform::async_body(self, transform))
    }

    /// Reads until `count` bytes or the end are there, and leaves them in the body: what is relayed
    /// later is the same, and the rest is still the raw stream.
    ///
    /// The first read answers a client that waits for `100 Continue`.
    ///
    /// # Errors
    /// If the body breaks off or is malformed.
    ///
    /// # Cancel safety
    /// Nothing read is lost when the future is dropped.
    pub async fn peek(&mut self, count: usize) -> Result<&[u8]> {
        let mut seen = Peeked { bytes: BytesMut::from(&self.prefix[..]), body: self };
        let len = poll_fn(|cx| seen.poll(cx, count)).await?;
        drop(seen);
        Ok(&self.prefix[..len.min(count)])
    }

    /// Whether this is still the raw stream of a connection, or a file, so that its bytes may be moved without
    /// being looked at.
    pub fn is_untouched(&self) -> bool {
        matches!(self.kind, Kind::Raw(_) | Kind::Here(_) | Kind::File(_)) && self.prefix.is_empty()
    }

    /// Whether there is nothing left in it, as far as is known without reading.
    pub fn is_empty(&self) -> bool {
        self.exact_length() == Some(0)
    }

    /// What is left of it, in bytes, where that is known.
    pub fn exact_length(&self) -> Option<u64> {
        let rest = match &self.kind {
            Kind::Empty => Some(0),
            Kind::Raw(raw) => raw.exact_length(),
            Kind::Here(buffer) => Some(buffer.len() as u64),
            Kind::File(file) => Some(file.left()),
            Kind::Boxed(boxed) => boxed.exact_length(),
        };
        rest.map(|rest| rest + self.prefix.len() as u64)
    }

    /// The next piece of data: so many bytes of [`data`](Self::data), or `None` at the end.
    pub(crate) fn poll_data(&mut self, cx: &mut Task<'_>) -> Poll<Result<Option<usize>>> {
        if !self.prefix.is_empty() {
            return Poll::Ready(Ok(Some(self.prefix.len())));
        }
        match &mut self.kind {
            Kind::Empty => Poll::Ready(Ok(None)),
            Kind::Raw(raw) => raw.poll_data(cx),
            Kind::Here(buffer) => Poll::Ready(Ok((!buffer.is_empty()).then_some(buffer.len()))),
            Kind::File(file) => file.poll_read(cx).map(|read| match read {
                Ok(length) => Ok((length > 0).then_some(length)),
                Err(error) => Err(Error::new(ErrorKind::FileIo).with_source(error)),
            }),
            Kind::Boxed(boxed) => boxed.poll_data(cx),
        }
    }

    /// The data last reported by [`poll_data`](Self::poll_data).
    pub(crate) fn data(&self) -> &[u8] {
        match &self.kind {
            _ if !self.prefix.is_empty() => &self.prefix,
            Kind::Empty => &[],
            Kind::Raw(raw) => raw.data(),
            Kind::Here(buffer) => buffer.filled(),
            Kind::File(file) => file.data(),
            Kind::Boxed(boxed) => boxed.data(),
        }
    }

    /// `count` bytes of the data were taken.
    pub(crate) fn consume(&mut self, count: usize) {
        match &mut self.kind {
            _ if !self.prefix.is_empty() => drop(self.prefix.split_to(count)),
            Kind::Empty => {}
            Kind::Raw(raw) => raw.consume(count),
            Kind::Here(buffer) => buffer.consume(count),
            Kind::File(file) => file.consume(count),
            Kind::Boxed(boxed) => boxed.consume(count),
        }
    }

    /// The trailers of a body that has ended.
    pub(crate) fn trailers(&mut self) -> Option<HeaderMap> {
        match &mut self.kind {
            Kind::Empty | Kind::Here(_) | Kind::File(_) => None,
            Kind::Raw(raw) => raw.trailers(),
            Kind::Boxed(boxed) => boxed.trailers(),
        }
    }

    /// Puts data that was taken back in front.
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.prefix = [bytes, &self.prefix].concat().into();
        }
    }

    /// The client's `100 Continue` is owed and not sent: its body has not begun.
    pub(crate) fn owes_continue(&self) -> bool {
        match &self.kind {
            Kind::Raw(raw) => raw.owes_continue(),
            Kind::Boxed(boxed) => boxed.owes_continue(),
            Kind::Empty | Kind::Here(_) | Kind::File(_) => false,
        }
    }

    /// The upstream said 100 itself.
    pub(crate) fn forget_continue(&mut self) {
        match &mut self.kind {
            Kind::Raw(raw) => raw.forget_continue(),
            Kind::Boxed(boxed) => boxed.forget_continue(),
            Kind::Empty | Kind::Here(_) | Kind::File(_) => {}
        }
    }
}

impl Body {
    /// Makes room for others while nobody takes it: a little data does not hold a block.
    #[cfg(feature = "http2")]
    pub(crate) fn shrink(&mut self) {
        match &mut self.kind {
            Kind::Here(buffer) if self.prefix.is_empty() && buffer.len() <= crate::http1::buffer::BLOCK / 4 => {
                *self = Body::full(Bytes::copy_from_slice(buffer.filled()));
            }
            // Reading it again is cheap: it was in memory a moment ago.
            Kind::File(file) => file.release(),
            _ => {}
        }
    }

    /// The raw stream, where this still is one.
    pub(crate) fn as_raw(&mut self) -> Option<&mut RawBody> {
        match &mut self.kind {
            Kind::Raw(raw) if self.prefix.is_empty() => Some(raw),
            _ => None,
        }
    }

    /// The part of a file, where this is one.
    pub(crate) fn as_file(&mut self) -> Option<&mut FileRange> {
        match &mut self.kind {
            Kind::File(file) if self.prefix.is_empty() => Some(file),
            _ => None,
        }
    }
}

/// A body being peeked at; dropped early, it puts back what it took.
struct Peeked<'a> {
    body: &'a mut Body,
    bytes: BytesMut,
}

impl Peeked<'_> {
    fn poll(&mut self, cx: &mut Task<'_>, count: usize) -> Poll<Result<usize>> {
        self.body.prefix = Bytes::new();
        while self.bytes.len() < count {
            let Some(len) = ready!(self.body.poll_data(cx))? else { break };
            self.bytes.extend_from_slice(&self.body.data()[..len]);
            self.body.consume(len);
        }
        Poll::Ready(Ok(self.bytes.len()))
    }
}

impl Drop for Peeked<'_> {
    fn drop(&mut self) {
        self.body.prefix = std::mem::take(&mut self.bytes).freeze();
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let Some(len) = ready!(self.poll_data(cx))? else {
            return Poll::Ready(self.trailers().map(|trailers| Ok(Frame::trailers(trailers))));
        };
        let data = self.take(len);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.exact_length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Body {
    /// The first bytes of the data last reported, as bytes of their own.
    pub(crate) fn take(&mut self, len: usize) -> Bytes {
        if !self.prefix.is_empty() {
            return self.prefix.split_to(len);
        }
        if let Kind::Boxed(boxed) = &mut self.kind {
            return boxed.take(len);
        }
        let data = Bytes::copy_from_slice(&self.data()[..len]);
        self.consume(len);
        data
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Body::full(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Body::full(text)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body::full(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Empty => "full",
            Kind::Raw(_) | Kind::Here(_) => "raw",
            Kind::File(_) => "file",
            Kind::Boxed(_) => "boxed",
        };
        f.debug_struct("Body").field("kind", &kind).field("length", &self.exact_length()).finish()
    }
}
