//! What the fuzz targets and benches see of the parsers. Not part of the API.

use std::fmt;
use std::net::SocketAddr;

use crate::filter::{is_state, read_parent};
use crate::http1::chunked::{Decoder, Event};
use crate::http1::framing::{self, Length};
use crate::http1::parse;
use crate::tcp::client_hello::{self, Peeked};
use crate::{Limits, RequestHead, ResponseHead, proxy_protocol};

/// What a parser made of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole head.
    Complete(Head),
    /// More bytes are needed.
    Incomplete,
    /// It is malformed: the reason code.
    Refused(&'static str),
}

/// A head, as it was understood.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// Bytes it took.
    pub consumed: usize,
    /// Method and target, or the status and nothing.
    pub start: (String, Vec<u8>),
    /// Names and values, in order.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The bytes of the body, where they are counted; `None` for chunked or until close.
    pub length: Option<u64>,
    /// Whether the body is chunked.
    pub chunked: bool,
    /// Whether the connection goes on.
    pub keep_alive: bool,
    /// The head as it would be written again, without the empty line.
    pub written: Vec<u8>,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.start.0, self.start.1.escape_ascii())?;
        for (name, value) in &self.fields {
            write!(f, " | {}: {}", name.escape_ascii(), value.escape_ascii())?;
        }
        let Head { consumed, length, chunked, keep_alive, .. } = self;
        write!(f, " | {consumed} bytes, length {length:?}, chunked {chunked}, keep-alive {keep_alive}")
    }
}

/// Parses a request head with the default limits.
pub fn request_head(bytes: &[u8]) -> Parsed {
    match parse::request(bytes, &Limits::default()) {
        Err(kind) => Parsed::Refused(kind.code()),
        Ok(None) => Parsed::Incomplete,
        Ok(Some(parsed)) => {
            let mut written = Vec::new();
            parsed.head.write_to(&mut written);
            let start = (parsed.head.method().to_string(), parsed.head.target().to_vec());
            complete(parsed.consumed, start, parsed.head.headers(), parsed.length, parsed.options.keep_alive, written)
        }
    }
}

/// Parses a response head with the default limits.
pub fn response_head(bytes: &[u8]) -> Parsed {
    match parse::response(bytes, &Limits::default()) {
        Err(kind) => Parsed::Refused(kind.code()),
        Ok(None) => Parsed::Incomplete,
        Ok(Some(parsed)) => {
            let mut written = Vec::new();
            parsed.head.write_to(&mut written);
            let start = (parsed.head.status().as_str().to_owned(), Vec::new());
            complete(parsed.consumed, start, parsed.head.headers(), parsed.length, parsed.options.keep_alive, written)
        }
    }
}

fn complete(
    consumed: usize,
    start: (String, Vec<u8>),
    headers: &crate::Headers,
    length: Length,
    keep_alive: bool,
    written: Vec<u8>,
) -> Parsed {
    let fields = headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let chunked = length == Length::Chunked;
    let length = if let Length::Exact(length) = length { Some(length) } else { None };
    Parsed::Complete(Head { consumed, start, fields, length, chunked, keep_alive, written })
}

/// Decodes a chunked body that arrives in these segments: the data and how many bytes lie behind its
/// end. `None` where it is malformed or does not end.
pub fn chunked(segments: &[&[u8]]) -> Option<(Vec<u8>, usize)> {
    let (mut decoder, mut data, mut buffer) = (Decoder::new(), Vec::new(), Vec::new());
    for (index, segment) in segments.iter().enumerate() {
        buffer.extend_from_slice(segment);
        loop {
            let (skip, event) = decoder.decode(&buffer).ok()?;
            buffer.drain(..skip);
            match event {
                Event::Data(count) => {
                    data.extend(buffer.drain(..count));
                    decoder.consume(count);
                }
                Event::NeedMore => break,
                Event::End => {
                    let behind: usize = segments[index + 1..].iter().map(|segment| segment.len()).sum();
                    return Some((data, buffer.len() + behind));
                }
            }
        }
    }
    None
}

/// What a connection begins with, as to PROXY headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// It may become a header.
    Incomplete,
    /// A header, whom it names, and how many bytes it took.
    Header {
        /// Source and destination.
        addresses: Option<(SocketAddr, SocketAddr)>,
        /// Bytes it took.
        length: usize,
    },
    /// The connection's own bytes.
    Other,
    /// It begins as a header does, and is none.
    Malformed,
}

/// Looks for a PROXY header of at most 4 KiB.
pub fn proxy_header(bytes: &[u8]) -> Start {
    match proxy_protocol::start(bytes, 4096) {
        proxy_protocol::Start::Incomplete => Start::Incomplete,
        proxy_protocol::Start::Other => Start::Other,
        proxy_protocol::Start::Malformed => Start::Malformed,
        proxy_protocol::Start::Header(header, length) => {
            Start::Header { addresses: header.source().zip(header.destination()), length }
        }
    }
}

/// What a connection begins with, as to TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// So many bytes have to be there before it can be told.
    Incomplete {
        /// Bytes in all.
        wanted: usize,
    },
    /// A whole hello.
    Whole {
        /// The server's name.
        name: Option<String>,
        /// The protocols that are offered.
        protocols: Vec<Vec<u8>>,
    },
    /// It is none: the reason code.
    Refused(&'static str),
}

/// Looks for a ClientHello of at most 16 KiB.
pub fn client_hello(bytes: &[u8]) -> Hello {
    match client_hello::peek(bytes, 16 * 1024) {
        Peeked::Incomplete { wanted } => Hello::Incomplete { wanted },
        Peeked::Refused(kind) => Hello::Refused(kind.code()),
        Peeked::Hello(hello) => Hello::Whole {
            name: hello.server_name.map(Into::into),
            protocols: hello.protocols.into_iter().map(Into::into).collect(),
        },
    }
}

/// What a field `traceparent` says: the ids of trace and span, and the flags.
pub fn traceparent(field: &[u8]) -> Option<(Vec<u8>, Vec<u8>, u8)> {
    let parent = read_parent(field)?;
    Some((parent.trace_id.into(), parent.span_id.into(), parent.flags))
}

/// Whether fields `tracestate` are passed on.
pub fn is_tracestate<'a>(fields: impl Iterator<Item = &'a [u8]>) -> bool {
    is_state(fields)
}

/// Parses a request head with the default limits and nothing around it: for benches.
pub fn parse_request(bytes: &[u8]) -> Option<RequestHead> {
    Some(parse::request(bytes, &Limits::default()).ok()??.head)
}

/// Parses a response head with the default limits and nothing around it: for benches.
pub fn parse_response(bytes: &[u8]) -> Option<ResponseHead> {
    Some(parse::response(bytes, &Limits::default()).ok()??.head)
}

/// Appends a request head as it goes to an origin, without the empty line: for benches.
pub fn write_request(head: &RequestHead, out: &mut Vec<u8>) {
    head.write_to(out);
}

/// Decides where the message of this head ends, as the parser does at its end: for benches.
pub fn is_framed(head: &RequestHead) -> bool {
    framing::check_request(head).is_ok()
}

/// Decodes a chunked body that is here as a whole; how many bytes of data it has: for benches.
pub fn chunked_length(mut bytes: &[u8]) -> Option<u64> {
    let (mut decoder, mut length) = (Decoder::new(), 0);
    loop {
        let (skip, event) = decoder.decode(bytes).ok()?;
        let Event::Data(count) = event else { return (event == Event::End).then_some(length) };
        decoder.consume(count);
        length += count as u64;
        bytes = &bytes[skip + count..];
    }
}
