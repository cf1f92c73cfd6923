//! The bytes under the frames.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::meter::Meter;
use crate::clock::Instant;
use crate::http1::buffer::Buffer;
use crate::http1::reader::Reader;
use crate::http1::stream::Stream;

/// As much of the codec's last frame as tells why it was the last.
const WORDS: usize = 64;

/// What the codec reads from and writes to. What it flushes stays here until the connection's task has
/// polled all that was ready: several responses, and large ones too, leave in one write.
pub(super) struct Wire {
    reader: Reader,
    line: Arc<Line>,
}

/// The task's hold of it.
pub(super) struct Line {
    stream: Stream,
    state: Mutex<State>,
}

struct State {
    out: Buffer,
    /// When the client began to take nothing.
    blocked: Option<Instant>,
    meter: Meter,
    flooded: bool,
    /// What the codec said before it ended: its GOAWAY, where it had a reason.
    words: Vec<u8>,
}

impl Wire {
    /// Over a connection of which some may have been read.
    pub(super) fn new(reader: Reader, meter: Meter) -> Self {
        let state = State { out: Buffer::default(), blocked: None, meter, flooded: false, words: Vec::new() };
        let line = Arc::new(Line { stream: reader.stream.clone(), state: Mutex::new(state) });
        Wire { reader, line }
    }

    pub(super) fn line(&self) -> &Arc<Line> {
        &self.line
    }
}

impl Line {
    /// Never contended: the codec and its task take turns.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what the codec has said so far.
    pub(super) fn poll_flush(&self, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        while !state.out.is_empty() {
            ready!(state.poll_send(cx, &self.stream))?;
        }
        self.stream.poll_flush(cx)
    }

    /// When the client began to take nothing, if it does.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.state().blocked
    }

    /// Whether the client has sent more frames that bring nothing than it may. Nothing more is read.
    pub(super) fn is_flooded(&self) -> bool {
        self.state().flooded
    }

    /// The end of what the codec said before it ended.
    pub(super) fn last_words(&self) -> Vec<u8> {
        std::mem::take(&mut self.state().words)
    }

    /// Whether a field block has begun and is not here yet.
    pub(super) fn is_within_fields(&self) -> bool {
        self.state().meter.is_within_fields()
    }
}

impl State {
    /// Writes some of what is there.
    fn poll_send(&mut self, cx: &mut Task<'_>, stream: &Stream) -> Poll<io::Result<()>> {
        let Poll::Ready(sent) = stream.poll_write(cx, self.out.filled()) else {
            self.blocked.get_or_insert_with(Instant::now);
            return Poll::Pending;
        };
        self.blocked = None;
        self.out.consume(sent?);
        Poll::Ready(Ok(()))
    }

    /// Makes room where there is none.
    fn poll_room(&mut self, cx: &mut Task<'_>, stream: &Stream) -> Poll<io::Result<()>> {
        while self.out.spare().is_empty() {
            ready!(self.poll_send(cx, stream))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps as much of it as there is room for.
    fn keep(&mut self, bytes: &[u8]) -> usize {
        let spare = self.out.spare();
        let count = spare.len().min(bytes.len());
        spare[..count].copy_from_slice(&bytes[..count]);
        self.out.fill(count);
        self.meter.sent(count);
        count
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Task<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.reader.buffer.is_empty() {
            ready!(this.reader.poll_fill(cx))?;
        }
        let filled = this.reader.buffer.filled();
        let bytes = &filled[..filled.len().min(room.remaining())];
        let mut state = this.line.state();
        if state.flooded || !state.meter.received(bytes) {
            state.flooded = true;
            // The task looks at it behind each poll: nobody has to be woken.
            return Poll::Pending;
        }
        room.put_slice(bytes);
        let count = bytes.len();
        this.reader.buffer.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.line.state();
        ready!(state.poll_room(cx, &self.line.stream))?;
        Poll::Ready(Ok(state.keep(bytes)))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Task<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.line.state();
        ready!(state.poll_room(cx, &self.line.stream))?;
        let mut kept = 0;
        for piece in pieces {
            let count = state.keep(piece);
            kept += count;
            if count < piece.len() {
                break;
            }
        }
        Poll::Ready(Ok(kept))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        {
            let mut state = self.line.state();
            if state.words.is_empty() {
                state.words = state.out.filled().iter().rev().take(WORDS).rev().copied().collect();
            }
        }
        ready!(self.line.poll_flush(cx))?;
        self.line.stream.poll_shutdown(cx)
    }
}
