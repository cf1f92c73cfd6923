//! Where a body ends on the wire.

use super::buffer::Buffer;
use super::chunked::{self, ChunkError, Event};
use super::framing::Length;

/// The framing of a body and how much of it is still to come.
#[derive(Debug)]
pub(crate) enum Decoder {
    Exact(u64),
    Chunked(Box<chunked::Decoder>),
    UntilClose,
}

impl Decoder {
    pub(crate) fn new(length: Length) -> Self {
        match length {
            Length::Exact(length) => Decoder::Exact(length),
            Length::Chunked => Decoder::Chunked(Box::new(chunked::Decoder::new())),
            Length::UntilClose => Decoder::UntilClose,
        }
    }

    /// What comes next in the buffer; framing bytes before it are consumed.
    pub(crate) fn next(&mut self, buffer: &mut Buffer) -> Result<Event, ChunkError> {
        match self {
            Decoder::Exact(0) => Ok(Event::End),
            _ if buffer.is_empty() && !self.is_end() => Ok(Event::NeedMore),
            Decoder::Exact(left) => {
                Ok(Event::Data(usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()))))
            }
            Decoder::UntilClose => Ok(Event::Data(buffer.len())),
            Decoder::Chunked(decoder) => {
                let (skip, event) = decoder.decode(buffer.filled())?;
                buffer.consume(skip);
                Ok(event)
            }
        }
    }

    /// `count` bytes of data were taken.
    pub(crate) fn consume(&mut self, count: usize) {
        match self {
            Decoder::Exact(left) => *left -= count as u64,
            Decoder::Chunked(decoder) => decoder.consume(count),
            Decoder::UntilClose => {}
        }
    }

    /// The same for bytes of an exact length that never came through a buffer.
    pub(crate) fn consume_many(&mut self, count: u64) {
        if let Decoder::Exact(left) = self {
            *left -= count;
        }
    }

    /// Whether nothing of the body is still to be read or consumed.
    pub(crate) fn is_end(&self) -> bool {
        match self {
            Decoder::Exact(left) => *left == 0,
            Decoder::Chunked(decoder) => decoder.is_end(),
            Decoder::UntilClose => false,
        }
    }

    /// The length, where it is known beforehand.
    pub(crate) fn exact(&self) -> Option<u64> {
        match self {
            Decoder::Exact(left) => Some(*left),
            _ => None,
        }
    }
}
