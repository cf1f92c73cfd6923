//! HTTP/2: frames that are nearly right, through a proxy, to an origin of HTTP/1 that records.

use crate::connection;
use crate::mutate::Mutator;

/// Preface and empty settings: without them there is nothing to see.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const NAMES: [&str; 20] = [
    ":method",
    ":scheme",
    ":authority",
    ":path",
    ":protocol",
    ":status",
    "host",
    "content-length",
    "transfer-encoding",
    "te",
    "cookie",
    "expect",
    "x-a",
    "connection",
    "X-A",
    "content_length",
    "",
    "x:a",
    "trailer",
    "via",
];
const VALUES: [&str; 22] = [
    "GET",
    "POST",
    "CONNECT",
    "http",
    "https",
    "h",
    "h:80",
    "/",
    "/a?b",
    "*",
    "http://h/",
    "0",
    "5",
    "+5",
    "chunked",
    "trailers",
    "100-continue",
    "a=b",
    "a\r\nb: c",
    " a",
    "websocket",
    "",
];

/// It ends, nothing panics, each request ends once, and what reaches the origin is what HTTP/1 allows.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    connection::check_framed(&[OPENING, bytes].concat())
}

/// Some requests with bodies, and frames of any kind among them.
pub(crate) fn frames(random: &mut Mutator) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..=random.below(6) {
        let stream = 2 * number as u32 + 1;
        match random.below(4) {
            0 => {
                let (kind, flags, length) = (random.below(11), random.below(48), random.below(20));
                let payload: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
                frame(kind as u8, flags as u8, stream.saturating_sub(2), &payload, &mut bytes);
            }
            _ => request(random, stream, &mut bytes),
        }
    }
    bytes
}

fn request(random: &mut Mutator, stream: u32, bytes: &mut Vec<u8>) {
    let mut block = Vec::new();
    let method = random.pick(&["GET", "GET", "POST", "POST", "HEAD", "CONNECT"]);
    for (name, value) in [(":method", method), (":scheme", "http"), (":authority", "h"), (":path", "/x")] {
        if random.below(16) > 0 {
            field(name, value, &mut block);
        }
    }
    for _ in 0..random.below(4) {
        field(random.pick(&NAMES), random.pick(&VALUES), &mut block);
    }
    let pieces = random.below(4);
    frame(1, if pieces == 0 { 5 } else { 4 }, stream, &block, bytes);
    for piece in 0..pieces {
        let last = piece + 1 == pieces && random.below(8) > 0;
        frame(
            0,
            u8::from(last),
            stream,
            random.pick(&["hello", "", "0\r\n\r\nGET / HTTP/1.1\r\n\r\n"]).as_bytes(),
            bytes,
        );
    }
}

/// Literal, without an index, uncompressed (RFC 7541 §6.2.2).
fn field(name: &str, value: &str, block: &mut Vec<u8>) {
    block.push(0);
    for text in [name, value] {
        block.push(text.len() as u8);
        block.extend_from_slice(text.as_bytes());
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}
