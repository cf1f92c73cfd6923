//! A body that is still the raw stream of a connection.

use std::task::{Context as Task, Poll, ready};

use http::HeaderMap;
use proxy_zerocopy::splice::{Ended, Pump};

use super::{Pace, Pacer};
use crate::clock::Instant;
use crate::http1::buffer::Buffer;
use crate::http1::chunked::{ChunkError, Event};
use crate::http1::decode::Decoder;
use crate::http1::reader::{Parked, Reader};
use crate::http1::stream::Stream;
use crate::pool::Lease;
use crate::{Error, ErrorKind, Result};

/// Whose bytes they are.
pub(crate) enum Source {
    /// The client's: the reader goes home to its connection when the body is dropped.
    Client(Reader),
    /// An upstream's: the lease goes back to the pool at the end, or closes.
    Upstream {
        lease: Lease,
        reusable: bool,
    },
    /// The rest is here, the connection is back in its pool already.
    Detached(Buffer),
    Gone,
}

/// A body read from a connection as it is asked for.
pub(crate) struct RawBody {
    source: Source,
    decoder: Decoder,
    /// What may still come before the body is too large.
    allowance: u64,
    pacer: Pacer,
}

impl RawBody {
    pub(crate) fn new(source: Source, decoder: Decoder, pace: Pace) -> Self {
        let mut body = RawBody { source, decoder, allowance: u64::MAX, pacer: Pacer::new(pace) };
        body.settle();
        body
    }

    pub(crate) fn with_allowance(mut self, allowance: u64) -> Self {
        self.allowance = allowance;
        self
    }

    pub(crate) fn exact_length(&self) -> Option<u64> {
        self.decoder.exact()
    }

    pub(crate) fn poll_data(&mut self, cx: &mut Task<'_>) -> Poll<Result<Option<usize>>> {
        loop {
            let Some(buffer) = self.source.buffer() else { return Poll::Ready(Ok(None)) };
            match self.decoder.next(buffer) {
                Err(error) => return Poll::Ready(Err(self.malformed(error))),
                Ok(Event::Data(len)) if len as u64 > self.allowance => {
                    return Poll::Ready(Err(ErrorKind::BodyTooLarge.into()));
                }
                Ok(Event::Data(len)) => return Poll::Ready(Ok(Some(len))),
                Ok(Event::End) => {
                    self.settle();
                    return Poll::Ready(Ok(None));
                }
                Ok(Event::NeedMore) => match ready!(self.poll_more(cx))? {
                    true => self.settle(),
                    false => return Poll::Ready(Ok(None)),
                },
            }
        }
    }

    pub(crate) fn data(&self) -> &[u8] {
        match &self.source {
            Source::Client(reader) => reader.buffer.filled(),
            Source::Upstream { lease, .. } => lease.filled(),
            Source::Detached(buffer) => buffer.filled(),
            Source::Gone => &[],
        }
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.allowance -= count as u64;
        self.decoder.consume(count);
        if let Some(buffer) = self.source.buffer() {
            buffer.consume(count);
        }
    }

    pub(crate) fn trailers(&self) -> Option<HeaderMap> {
        match &self.decoder {
            Decoder::Chunked(decoder) if decoder.is_end() => decoder.trailers(),
            _ => None,
        }
    }

    pub(crate) fn owes_continue(&self) -> bool {
        matches!(&self.source, Source::Client(reader) if reader.owes_continue())
    }

    pub(crate) fn forget_continue(&mut self) {
        if let Source::Client(reader) = &mut self.source {
            reader.forget_continue();
        }
    }

    /// Reads more; `false` where the end of the connection is the end of the body.
    fn poll_more(&mut self, cx: &mut Task<'_>) -> Poll<Result<bool>> {
        let Some(reader) = self.source.reader() else {
            return Poll::Ready(Err(self.source.error(ErrorKind::BodyAborted, ErrorKind::UpstreamGone)));
        };
        let count = match reader.poll_fill(cx) {
            Poll::Pending => return self.poll_pace(cx),
            Poll::Ready(Ok(count)) => count,
            Poll::Ready(Err(error)) => {
                let broken = self.source.error(ErrorKind::ClientGone, ErrorKind::UpstreamIo);
                return Poll::Ready(Err(broken.with_source(error)));
            }
        };
        let whole = count == 0 && !reader.stream.is_reset();
        self.pacer.progress(count as u64);
        match (count, &self.decoder) {
            (1.., _) => Poll::Ready(Ok(true)),
            (0, Decoder::UntilClose) if whole => {
                self.source = Source::Gone;
                Poll::Ready(Ok(false))
            }
            (0, _) => Poll::Ready(Err(self.source.error(ErrorKind::BodyAborted, ErrorKind::UpstreamGone))),
        }
    }

    /// What is left of it, where all of that is still to come, over TCP.
    pub(crate) fn spliceable(&mut self) -> Option<u64> {
        let left = self.decoder.exact()?;
        let reader = self.source.reader()?;
        (reader.buffer.is_empty() && reader.stream.is_tcp() && left <= self.allowance).then_some(left)
    }

    /// Moves the rest of it to a socket, within the kernel.
    pub(crate) fn poll_pump(&mut self, cx: &mut Task<'_>, pump: &mut Pump, to: &Stream) -> Poll<Result<()>> {
        let before = pump.moved() + pump.in_flight() as u64;
        let moved = pump.moved();
        let Some(from) = self.source.reader().map(|reader| reader.stream.clone()) else { return Poll::Ready(Ok(())) };
        let polled = from.with_tcp(|from| to.with_tcp(|to| pump.poll_pump(cx, from, to)));
        let polled = polled.flatten().unwrap_or(Poll::Ready(Ok(Ended::Eof)));
        let taken = pump.moved() - moved;
        self.allowance -= taken;
        self.decoder.consume_many(taken);
        let read = pump.moved() + pump.in_flight() as u64 - before;
        if read > 0 {
            self.pacer.progress(read);
        }
        match polled {
            Poll::Ready(Ok(Ended::Limit)) => {
                self.settle();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(Ended::Eof)) => {
                Poll::Ready(Err(self.source.error(ErrorKind::BodyAborted, ErrorKind::UpstreamGone)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.pump_error(error))),
            Poll::Pending if pump.in_flight() > 0 => Poll::Pending,
            Poll::Pending => self.poll_pace(cx).map_ok(|_| ()),
        }
    }

    fn pump_error(&self, error: proxy_zerocopy::Error) -> Error {
        let kind = match error.side() {
            Some(proxy_zerocopy::Side::B) => Error::new(ErrorKind::ClientGone),
            _ => self.source.error(ErrorKind::ClientGone, ErrorKind::UpstreamIo),
        };
        kind.with_source(error)
    }

    /// Waits for more, but not longer than the pace allows.
    fn poll_pace(&mut self, cx: &mut Task<'_>) -> Poll<Result<bool>> {
        ready!(self.pacer.poll(cx));
        Poll::Ready(Err(self.source.error(ErrorKind::BodyTimeout, ErrorKind::ResponseStalled)))
    }

    /// Gives the connection back as soon as the rest of the body is here: before the client has it.
    fn settle(&mut self) {
        let Source::Upstream { lease, reusable } = &mut self.source else { return };
        let buffer = &mut lease.connection().reader().buffer;
        let complete = match &self.decoder {
            Decoder::Exact(left) => buffer.len() as u64 >= *left,
            decoder => decoder.is_end(),
        };
        if !complete {
            return;
        }
        let rest = usize::try_from(self.decoder.exact().unwrap_or(0)).unwrap_or(usize::MAX);
        let clean = *reusable && buffer.len() == rest && !lease.is_uploading();
        let mut buffer = std::mem::take(&mut lease.connection().reader().buffer);
        buffer.truncate(rest);
        if let Source::Upstream { lease, .. } = std::mem::replace(&mut self.source, Source::Detached(buffer))
            && clean
        {
            lease.release(Instant::now());
        }
    }

    fn malformed(&self, error: ChunkError) -> Error {
        let client = match error {
            ChunkError::Chunk => ErrorKind::BadChunk,
            ChunkError::Trailer => ErrorKind::BadTrailer,
        };
        self.source.error(client, ErrorKind::BadResponseBody)
    }
}

impl Source {
    fn reader(&mut self) -> Option<&mut Reader> {
        match self {
            Source::Client(reader) => Some(reader),
            Source::Upstream { lease, .. } => Some(lease.connection().reader()),
            Source::Detached(_) | Source::Gone => None,
        }
    }

    fn buffer(&mut self) -> Option<&mut Buffer> {
        match self {
            Source::Detached(buffer) => Some(buffer),
            source => source.reader().map(|reader| &mut reader.buffer),
        }
    }

    fn error(&self, client: ErrorKind, upstream: ErrorKind) -> Error {
        Error::new(if matches!(self, Source::Client(_)) { client } else { upstream })
    }
}

impl Drop for RawBody {
    fn drop(&mut self) {
        if let Source::Client(mut reader) = std::mem::replace(&mut self.source, Source::Gone) {
            let decoder = std::mem::replace(&mut self.decoder, Decoder::Exact(0));
            // A body that came unasked is complete: `100 Continue` would follow the final response.
            if decoder.is_end() && reader.owes_continue() {
                reader.forget_continue();
            }
            reader.stream.clone().park(Parked { reader, decoder });
        }
    }
}
