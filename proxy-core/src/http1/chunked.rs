//! The chunked coding (RFC 9112 §7.1), decoded strictly and encoded anew.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::head::Known;

/// Bytes of extensions a body may carry in all.
const MAX_EXTENSIONS: usize = 4 * 1024;
/// Bytes a trailer section may have.
const MAX_TRAILERS: usize = 8 * 1024;
/// Fields a trailer section may have.
const MAX_TRAILER_FIELDS: usize = 32;
/// Sixteen hex digits are a 64-bit size; more is an attack, not a chunk.
const MAX_SIZE_DIGITS: u8 = 15;

/// What is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkError {
    Chunk,
    Trailer,
}

/// What comes next in the buffer, behind the bytes skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// So many bytes of data are there.
    Data(usize),
    /// Nothing more can be said without more bytes.
    NeedMore,
    /// The message is complete.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        digits: u8,
    },
    Extension,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    Trailers,
    End,
    /// Malformed: nobody knows any more where the message ends, whoever asks again.
    Broken,
}

/// Decodes a body that arrives in pieces.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// The size being read, then what is left of the chunk.
    left: u64,
    extensions: usize,
    trailers: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Decoder { state: State::Size { digits: 0 }, left: 0, extensions: 0, trailers: Vec::new() }
    }

    /// Looks at the bytes at hand. Returns how many of them were framing and what follows them.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Result<(usize, Event), ChunkError> {
        let mut at = 0;
        loop {
            match self.state {
                State::End => return Ok((at, Event::End)),
                _ if at == bytes.len() => return Ok((at, Event::NeedMore)),
                State::Data => return Ok((at, Event::Data(self.available(bytes.len() - at)))),
                _ => {
                    self.step(bytes[at]).inspect_err(|_| self.state = State::Broken)?;
                    at += 1;
                }
            }
        }
    }

    /// `count` bytes of the data last reported were taken.
    pub(crate) fn consume(&mut self, count: usize) {
        self.left -= count as u64;
        if self.left == 0 {
            self.state = State::DataReturn;
        }
    }

    pub(crate) fn is_end(&self) -> bool {
        self.state == State::End
    }

    fn available(&self, len: usize) -> usize {
        usize::try_from(self.left).map_or(len, |left| left.min(len))
    }

    fn step(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (State::Size { digits }, byte) if byte.is_ascii_hexdigit() => self.digit(digits, byte)?,
            (State::Size { digits: 1.. } | State::Extension, b'\r') => State::SizeFeed,
            (State::Size { digits: 1.. }, b';') => State::Extension,
            (State::Extension, byte) => self.extension(byte)?,
            (State::SizeFeed, b'\n') if self.left == 0 => State::Trailers,
            (State::SizeFeed, b'\n') => State::Data,
            (State::DataReturn, b'\r') => State::DataFeed,
            (State::DataFeed, b'\n') => State::Size { digits: 0 },
            (State::Trailers, byte) => self.trailer(byte)?,
            _ => return Err(ChunkError::Chunk),
        };
        Ok(())
    }

    fn digit(&mut self, digits: u8, byte: u8) -> Result<State, ChunkError> {
        if digits == MAX_SIZE_DIGITS {
            return Err(ChunkError::Chunk);
        }
        let value = (byte as char).to_digit(16).map_or(0, u64::from);
        self.left = if digits == 0 { value } else { self.left << 4 | value };
        Ok(State::Size { digits: digits + 1 })
    }

    fn extension(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.extensions += 1;
        let control = byte.is_ascii_control() && byte != b'\t';
        match control || self.extensions > MAX_EXTENSIONS {
            true => Err(ChunkError::Chunk),
            false => Ok(State::Extension),
        }
    }

    /// Collects the trailer section up to and with its empty line.
    fn trailer(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.trailers.push(byte);
        if self.trailers.len() > MAX_TRAILERS || (byte == b'\n' && !self.trailers.ends_with(b"\r\n")) {
            return Err(ChunkError::Trailer);
        }
        let ended = self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n");
        if ended {
            self.check_trailers()?;
        }
        Ok(if ended { State::End } else { State::Trailers })
    }

    fn check_trailers(&self) -> Result<(), ChunkError> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
        let parsed = httparse::parse_headers(&self.trailers, &mut fields);
        match parsed {
            Ok(status) if status.is_complete() => Ok(()),
            _ => Err(ChunkError::Trailer),
        }
    }

    /// The trailers of a complete body that may be passed on (RFC 9110 §6.5.1); `None` where there are none.
    pub(crate) fn trailers(&self) -> Option<HeaderMap> {
        if self.trailers.len() <= 2 {
            return None;
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
        let Ok(httparse::Status::Complete((_, parsed))) = httparse::parse_headers(&self.trailers, &mut fields) else {
            return None;
        };
        let mut map = HeaderMap::new();
        for field in parsed {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            let value = HeaderValue::from_bytes(field.value).ok()?;
            if may_trail(&name) {
                map.try_append(name, value).ok()?;
            }
        }
        (!map.is_empty()).then_some(map)
    }
}

/// Fields that frame, route, authenticate or describe a message have no place in a trailer, and
/// neither have those that the engine knows, in any spelling.
pub(crate) fn may_trail(name: &HeaderName) -> bool {
    const REFUSED: [&str; 13] = [
        "authorization",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "cookie",
        "if-match",
        "if-none-match",
        "max-forwards",
        "pragma",
        "range",
        "set-cookie",
        "www-authenticate",
    ];
    Known::of(name.as_str().as_bytes()) == Known::Other && !REFUSED.contains(&name.as_str())
}

/// Writes the line before a chunk of `size` bytes.
pub(crate) fn write_size(size: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|digit| DIGITS[(size >> (digit * 4)) & 15]));
    out.extend_from_slice(b"\r\n");
}

/// Writes the last chunk, the trailers and the empty line.
pub(crate) fn write_end(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `text` in pieces of `step` bytes; returns the data and what is left behind the end.
    fn decode(text: &[u8], step: usize) -> Result<(Vec<u8>, usize), ChunkError> {
        let (mut decoder, mut data, mut buffer, mut rest) = (Decoder::new(), Vec::new(), Vec::new(), text);
        loop {
            let (skip, event) = decoder.decode(&buffer)?;
            buffer.drain(..skip);
            match event {
                Event::Data(count) => {
                    data.extend(buffer.drain(..count));
                    decoder.consume(count);
                }
                Event::End => return Ok((data, buffer.len() + rest.len())),
                Event::NeedMore if rest.is_empty() => return Err(ChunkError::Chunk),
                Event::NeedMore => {
                    let (piece, left) = rest.split_at(step.min(rest.len()));
                    buffer.extend_from_slice(piece);
                    rest = left;
                }
            }
        }
    }

    #[test]
    fn pieces_of_any_size_decode_alike() {
        let text = b"5\r\nhello\r\n1;a=b;c=\"d\"\r\n \r\n005\r\nworld\r\n0\r\nX: y\r\n\r\nGET";
        for step in 1..text.len() {
            assert_eq!(decode(text, step), Ok((b"hello world".to_vec(), 3)), "{step}");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let table = [
            "\r\n",
            ";a\r\n",
            "0x4\r\nabcd\r\n",
            "g\r\n",
            " 4\r\nabcd\r\n",
            "4 \r\nabcd\r\n",
            "-1\r\n",
            "+1\r\na\r\n",
            "4\nabcd\n",
            "4\r\nabcdX\r\n",
            "4\r\nabcd\n",
            "4;a\nabcd\r\n0\r\n\r\n",
            "4;\0\r\nabcd\r\n0\r\n\r\n",
            "4;a\rb\r\nabcd",
            "10000000000000000\r\n",
            "0\r\nA : b\r\n\r\n",
            "0\r\nA: b\n\r\n",
            "0\r\n A: b\r\n\r\n",
            "0\r\n: b\r\n\r\n",
            "4\r\rabcd",
        ];
        for text in table {
            assert!(decode(text.as_bytes(), text.len()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let many = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(MAX_EXTENSIONS + 1));
        assert_eq!(decode(many.as_bytes(), 100), Err(ChunkError::Chunk));
        let split: String = "1;xxxxxxxxxxxxxxx\r\na\r\n".repeat(MAX_EXTENSIONS / 16 + 1);
        assert_eq!(decode(split.as_bytes(), 100), Err(ChunkError::Chunk));
        let long = format!("0\r\nA: {}\r\n\r\n", "x".repeat(MAX_TRAILERS));
        assert_eq!(decode(long.as_bytes(), 100), Err(ChunkError::Trailer));
        let fields = format!("0\r\n{}\r\n", "A: b\r\n".repeat(MAX_TRAILER_FIELDS + 1));
        assert_eq!(decode(fields.as_bytes(), 100), Err(ChunkError::Trailer));
    }

    #[test]
    fn trailers_that_frame_or_route_are_dropped() {
        let mut decoder = Decoder::new();
        let refused = ["Content-Length", "Host", "Content_Length", "X-Forwarded-Proto", "X-Real-IP", "Set-Cookie"];
        let lines: String = refused.iter().map(|name| format!("{name}: 9\r\n")).collect();
        let end = decoder.decode(format!("0\r\nX-Sum: 1\r\n{lines}\r\n").as_bytes()).unwrap();
        assert_eq!(end.1, Event::End);
        let trailers = decoder.trailers().unwrap();
        assert_eq!((trailers.len(), trailers["x-sum"].as_bytes()), (1, &b"1"[..]));
    }

    #[test]
    fn sizes_are_written_in_hex() {
        for size in [0, 1, 15, 16, 255, 4096, 65_535, usize::MAX] {
            let mut out = Vec::new();
            write_size(size, &mut out);
            assert_eq!(out, format!("{size:x}\r\n").as_bytes());
        }
    }
}
