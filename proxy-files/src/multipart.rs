//! Several parts of a file in one body (RFC 9110 §14.6).

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use proxy_core::{Body, Error};

/// The parts with the lines before and behind them. It is read as it is sent; the kernel does not send it by itself.
pub(crate) struct Multipart {
    pieces: VecDeque<Body>,
    left: u64,
}

impl Multipart {
    pub(crate) fn new(file: &Arc<File>, parts: &[Range<u64>], length: u64, media_type: &str, boundary: &str) -> Self {
        let mut pieces = VecDeque::with_capacity(2 * parts.len() + 1);
        let mut line = "";
        for part in parts {
            let (first, last) = (part.start, part.end - 1);
            let head = format!(
                "{line}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: bytes {first}-{last}/{length}\r\n\r\n"
            );
            pieces.extend([Body::full(head), Body::file(Arc::clone(file), part.clone())]);
            line = "\r\n";
        }
        pieces.push_back(Body::full(format!("\r\n--{boundary}--\r\n")));
        let left = pieces.iter().filter_map(Body::exact_length).sum();
        Multipart { pieces, left }
    }
}

/// What no file can foresee, and so does not hold.
pub(crate) fn boundary() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

impl HttpBody for Multipart {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        while let Some(piece) = self.pieces.front_mut() {
            match ready!(Pin::new(piece).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    self.left -= frame.data_ref().map_or(0, |data| data.len() as u64);
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => drop(self.pieces.pop_front()),
            }
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
