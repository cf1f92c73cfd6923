//! A request body on its way to a backend.

use std::fmt;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::group::Slot;
use crate::{Body, Error, ErrorKind, Result};

/// Sends one body, as far as the backend's windows allow. Polled beside the response, so that neither side can block
/// the other.
pub(crate) struct Upload {
    send: SendStream<Bytes>,
    body: Body,
    /// The body's length is known: its last byte ends the stream.
    exact: bool,
    /// The client waits for `100 Continue`, and the backend was asked first.
    held: bool,
    ended: bool,
    replay: Replay,
    sent: u64,
    _slot: Arc<Slot>,
}

impl Upload {
    /// Up to `replay` bytes of the body are kept. `ended`: there is none.
    pub(super) fn new(send: SendStream<Bytes>, body: Body, ended: bool, replay: usize, slot: Arc<Slot>) -> Self {
        let exact = body.exact_length().is_some();
        let held = !ended && body.owes_continue();
        Upload { send, body, exact, held, ended, replay: Replay::new(replay), sent: 0, _slot: slot }
    }

    /// Ready when everything is sent.
    pub(crate) fn poll(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        while !self.ended {
            if self.held {
                return Poll::Pending;
            }
            match ready!(self.body.poll_data(cx)) {
                Ok(Some(length)) => ready!(self.poll_send(cx, length))?,
                Ok(None) => self.end()?,
                Err(error) => {
                    // What was sent is no whole request: the backend must not take it for one.
                    self.send.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &mut Task<'_>, length: usize) -> Poll<Result<()>> {
        let room = ready!(self.poll_room(cx, length))?;
        let data = self.body.take(length.min(room));
        self.replay.record(&data);
        self.sent += data.len() as u64;
        self.ended = self.exact && self.body.exact_length() == Some(0);
        self.send.send_data(data, self.ended).map_err(broken)?;
        if self.ended {
            // The client's connection gets its read half back now: so the client is seen to leave.
            self.body = Body::empty();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_room(&mut self, cx: &mut Task<'_>, length: usize) -> Poll<Result<usize>> {
        self.send.reserve_capacity(length);
        match self.send.capacity() {
            0 => match ready!(self.send.poll_capacity(cx)) {
                Some(room) => Poll::Ready(room.map_err(broken)),
                None => Poll::Ready(Err(ErrorKind::UpstreamGone.into())),
            },
            room => Poll::Ready(Ok(room)),
        }
    }

    fn end(&mut self) -> Result<()> {
        self.ended = true;
        let trailers = self.body.trailers();
        self.body = Body::empty();
        match trailers {
            Some(trailers) => {
                // They are gone with the body, and nothing may be sent again without them.
                self.replay = Replay::off();
                self.send.send_trailers(trailers).map_err(broken)
            }
            None => self.send.send_data(Bytes::new(), true).map_err(broken),
        }
    }

    /// The backend wants the body, or said nothing for so long that it may have it.
    pub(super) fn unhold(&mut self) {
        self.held = false;
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    pub(super) fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Bytes of the body taken so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// The body as it was before, for another attempt; `None` where too much of it is gone.
    pub(super) fn into_body(mut self) -> Option<Body> {
        let recorded = std::mem::replace(&mut self.replay, Replay::off()).take()?;
        let mut body = std::mem::take(&mut self.body);
        body.unread(&recorded);
        Some(body)
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("body", &self.body).field("sent", &self.sent).finish_non_exhaustive()
    }
}

fn broken(error: h2::Error) -> Error {
    Error::new(ErrorKind::UpstreamIo).with_source(error)
}

/// The beginning of a body, kept for another attempt: by handle, for a request of any method may have to be sent again.
struct Replay {
    pieces: Vec<Bytes>,
    /// What may still be kept; `None` where something was not.
    left: Option<usize>,
}

impl Replay {
    fn new(limit: usize) -> Self {
        Replay { pieces: Vec::new(), left: Some(limit) }
    }

    fn off() -> Self {
        Replay { pieces: Vec::new(), left: None }
    }

    fn record(&mut self, data: &Bytes) {
        match self.left.and_then(|left| left.checked_sub(data.len())) {
            Some(left) => {
                self.left = Some(left);
                self.pieces.push(data.clone());
            }
            None => *self = Replay::off(),
        }
    }

    fn take(self) -> Option<Vec<u8>> {
        self.left.map(|_| self.pieces.concat())
    }
}
