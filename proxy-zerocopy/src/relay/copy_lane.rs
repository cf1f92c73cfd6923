use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{buffer::Buffer, error::Fault};

/// Reads and writes per poll before other tasks get a turn: at most 1 MiB with default buffers.
const ROUNDS: usize = 32;

/// One direction through a pooled buffer, which it holds only while bytes are in it.
#[derive(Debug)]
pub(super) struct CopyLane {
    buffer_size: usize,
    /// Holds at least one byte.
    buffer: Option<Buffer>,
    phase: Phase,
    unflushed: bool,
    read: u64,
    written: u64,
}

#[derive(Debug)]
enum Phase {
    Moving,
    /// The source has ended and all bytes are written.
    Closing,
    Closed,
}

impl CopyLane {
    pub(super) fn new(buffer_size: usize) -> Self {
        Self { buffer_size, buffer: None, phase: Phase::Moving, unflushed: false, read: 0, written: 0 }
    }

    /// Writes these bytes before the first read.
    pub(super) fn begin_with(&mut self, bytes: Vec<u8>) {
        self.read = bytes.len() as u64;
        self.buffer = (!bytes.is_empty()).then(|| Buffer::holding(bytes));
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Grows with each byte read and with each byte written.
    pub(super) fn progress(&self) -> u64 {
        self.read + self.written
    }

    /// Moves bytes; ready once the source has ended and the sink is shut down for writing.
    pub(super) fn poll_move<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        for _ in 0..ROUNDS {
            let step = match (&self.phase, &self.buffer) {
                (Phase::Moving, None) => self.poll_read(cx, from, to),
                (Phase::Moving, Some(_)) => self.poll_write(cx, to).map_err(Fault::Write),
                (Phase::Closing, _) => self.poll_close(cx, to).map_err(Fault::Write),
                (Phase::Closed, _) => return Poll::Ready(Ok(())),
            };
            ready!(step)?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        let mut buffer = Buffer::take(self.buffer_size);
        let mut room = ReadBuf::new(buffer.room());
        let Poll::Ready(result) = Pin::new(from).poll_read(cx, &mut room) else {
            drop(buffer);
            return self.poll_flush(cx, to).map_err(Fault::Write);
        };
        result.map_err(Fault::Read)?;
        let read = room.filled().len();
        if read == 0 {
            self.phase = Phase::Closing;
        } else {
            buffer.filled(read);
            self.read += read as u64;
            self.buffer = Some(buffer);
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what the sink has buffered, as the source has nothing more to add now. Ready only if
    /// that failed.
    fn poll_flush<W>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Pending
    }

    fn poll_write<W>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        let Some(buffer) = &mut self.buffer else {
            return Poll::Ready(Ok(()));
        };
        let written = ready!(Pin::new(to).poll_write(cx, buffer.pending()))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        buffer.consume(written);
        self.written += written as u64;
        self.unflushed = true;
        self.buffer = self.buffer.take().filter(|buffer| !buffer.is_empty());
        Poll::Ready(Ok(()))
    }

    fn poll_close<W>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        ready!(Pin::new(to).poll_shutdown(cx))?;
        self.phase = Phase::Closed;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_buffer_is_held_only_while_bytes_wait() {
        let (mut source, mut from) = duplex(64);
        let (mut to, mut sink) = duplex(4);
        let mut lane = CopyLane::new(64);
        let mut cx = Context::from_waker(Waker::noop());

        assert!(lane.poll_move(&mut cx, &mut from, &mut to).is_pending());
        assert!(lane.buffer.is_none());

        source.write_all(b"sixbyt").await.unwrap();
        assert!(lane.poll_move(&mut cx, &mut from, &mut to).is_pending());
        assert_eq!(lane.buffer.as_ref().map(Buffer::pending), Some(&b"yt"[..]));

        sink.read_exact(&mut [0; 4]).await.unwrap();
        assert!(lane.poll_move(&mut cx, &mut from, &mut to).is_pending());
        assert!(lane.buffer.is_none());
        assert_eq!((lane.read, lane.written), (6, 6));
    }
}
