//! Inputs out of a grammar: mostly well formed, so that they get past the first check.

use crate::mutate::Mutator;

/// Makes one input.
pub(crate) type Generate = fn(&mut Mutator) -> Vec<u8>;

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "CONNECT", "x-own"];
const TARGETS: [&str; 8] = ["/", "/a?b=c", "/%00/..//", "*", "http://h/x", "http://h", "http://h?q", "h:80"];
const FIELDS: [&str; 16] = [
    "Connection: close",
    "Connection: x-a, cookie, x-forwarded-for",
    "Cookie: a=b",
    "Connection: keep-alive, x-a",
    "connection: Transfer-Encoding, Content-Length, Host",
    "Connection: upgrade\r\nUpgrade: websocket",
    "Expect: 100-continue",
    "Expect: 100-Continue",
    "TE: trailers",
    "Trailer: X-Sum",
    "X-A:",
    "x-a: \t v \t",
    "Transfer-Encoding: identity",
    "Content-Length: 0",
    "Keep-Alive: timeout=5",
    "Via: 1.1 a\r\nX-Forwarded-For: 1.2.3.4",
];
const HOSTS: [&str; 12] = [
    "a.example",
    "A.example.",
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "[::1]",
    "::1",
    "[::ffff:127.0.0.1]",
    "3com.com",
    "",
    "a..b",
    "_x.y",
];
const STATUSES: [&str; 9] = ["200", "100", "103", "101", "204", "304", "404", "599", "600"];

const SCALARS: [&str; 12] =
    ["0", "1", "-1", "1.5", "1e9", "true", "null", "18446744073709551616", "\"5s\"", "\"\\ud800\"", "[]", "{}"];
/// Values at the edge of what some key takes.
const VALUES: [&str; 20] = [
    "",
    "*",
    "*.a",
    "/",
    "~[",
    "0s",
    "5s",
    "18446744073709551615h",
    "18446744073709551616ms",
    "18446744073709551615GiB",
    "18446744073709551615/h",
    "0/s",
    "127.0.0.1:65536",
    "[::1]:0",
    "[::1%1]:80",
    "unix:",
    "1.2.3.4/33",
    "::/0",
    "299-200",
    "0-65535",
];
const WORDS: [&str; 36] = [
    "listeners",
    "upstreams",
    "workers",
    "listen",
    "http",
    "tcp",
    "udp",
    "tls",
    "routes",
    "upstream",
    "match",
    "path",
    "prefix",
    "host",
    "filters",
    "request_id",
    "headers",
    "set",
    "remove",
    "rate_limit",
    "backends",
    "address",
    "weight",
    "selector",
    "round_robin",
    "health",
    "timeouts",
    "connect",
    "retry",
    "pool",
    "split",
    "127.0.0.1:80",
    "[::1]:0",
    "10.0.0.0/8",
    "5s",
    "*.a",
];

/// A request's head alone.
pub(crate) fn request_head(random: &mut Mutator) -> Vec<u8> {
    let framing = framing(random).0;
    request_line_and_fields(random, &framing).into_bytes()
}

/// One to four requests behind each other.
pub(crate) fn requests(random: &mut Mutator) -> Vec<u8> {
    let mut text = String::new();
    for _ in 0..=random.below(4) {
        let (framing, body) = framing(random);
        text += &request_line_and_fields(random, &framing);
        text += &body;
    }
    text.into_bytes()
}

pub(crate) fn response_head(random: &mut Mutator) -> Vec<u8> {
    let status = random.pick(&STATUSES);
    let (framing, minor, reason) =
        (framing(random).0, random.pick(&["1", "1", "1", "0"]), random.pick(&[" OK", " ", ""]));
    format!("HTTP/1.{minor} {status}{reason}\r\n{}{framing}\r\n", fields(random)).into_bytes()
}

/// A response with its body, now and then interim ones before it.
pub(crate) fn responses(random: &mut Mutator) -> Vec<u8> {
    let mut text = String::new();
    for _ in 0..random.below(3) {
        text += random.pick(&["HTTP/1.1 103 Hints\r\nLink: <a>\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", ""]);
    }
    let (framing, body) = framing(random);
    let (status, minor) = (random.pick(&STATUSES), random.pick(&["1", "1", "1", "0"]));
    text += &format!("HTTP/1.{minor} {status} OK\r\n{}{framing}\r\n{body}", fields(random));
    text.into_bytes()
}

/// A handshake of SOCKS, or nearly one, with bytes behind it.
pub(crate) fn socks(random: &mut Mutator) -> Vec<u8> {
    let host = random.pick(&HOSTS).as_bytes();
    let port = [random.below(3) as u8, random.below(256) as u8];
    let command = [1, 1, 1, 2, 3, 0][random.below(6)];
    let mut bytes = Vec::new();
    if random.below(3) == 0 {
        bytes.extend([4, command, port[0], port[1], 0, 0, 0, random.below(3) as u8]);
        bytes.extend(b"me\0");
        bytes.extend(host);
        bytes.push(0);
    } else {
        bytes.extend([&[5, 1, 0][..], &[5, 2, 0, 2], &[5, 2, 2, 0], &[5, 1, 2]][random.below(4)]);
        bytes.extend([5, command, 0]);
        match random.below(4) {
            0 => bytes.extend([1, 127, 0, 0, 1]),
            1 => bytes.extend([4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1]),
            _ => {
                bytes.extend([3, host.len() as u8]);
                bytes.extend(host);
            }
        }
        bytes.extend(port);
    }
    bytes.extend(random.pick(&["", "x", "\x16\x03\x01", "GET / HTTP/1.1\r\n\r\n"]).as_bytes());
    bytes
}

/// A host and a port, or nearly.
pub(crate) fn destination(random: &mut Mutator) -> Vec<u8> {
    let mut text = random.pick(&HOSTS).to_owned();
    for _ in 0..random.below(4) {
        text += random.pick(&[".", "0x7f", "0177", "1", "255", "a", "-", "::", "]", "0", "4294967295", "x"]);
    }
    (text + random.pick(&["", ":80", ":0", ":", ":65536", ":443"])).into_bytes()
}

/// A configuration, or nearly one: grown, or a seed with some words replaced.
pub(crate) fn configuration(random: &mut Mutator) -> Vec<u8> {
    let mut text = String::new();
    match random.below(2) {
        0 => value(random, 5, &mut text),
        _ => {
            let seed = String::from_utf8_lossy(&random.seed()).into_owned();
            let words: Vec<_> = seed.split('"').collect();
            let replaced = [random.below(words.len()), random.below(words.len())];
            for (index, word) in words.iter().enumerate() {
                text += &match index {
                    // What lies between two strings.
                    _ if index % 2 == 0 => (*word).to_owned(),
                    _ if replaced.contains(&index) => replacement(random, &words),
                    _ => format!("\"{word}\""),
                };
            }
        }
    }
    text.into_bytes()
}

/// A string out of the same text, or a value of its own.
fn replacement(random: &mut Mutator, words: &[&str]) -> String {
    match random.below(4) {
        0 => random.pick(&SCALARS).to_owned(),
        1 => format!("\"{}\"", random.pick(&WORDS)),
        2 => format!("\"{}\"", words[random.below(words.len() / 2) * 2 + 1]),
        _ => format!("\"{}\"", random.pick(&VALUES)),
    }
}

fn value(random: &mut Mutator, depth: usize, out: &mut String) {
    let count = random.below(4);
    match random.below(if depth == 0 { 2 } else { 6 }) {
        0 => *out += random.pick(&SCALARS),
        1 => *out += &format!("\"{}\"", random.pick(&WORDS)),
        2 => {
            *out += "[";
            for index in 0..count {
                *out += if index == 0 { "" } else { "," };
                value(random, depth - 1, out);
            }
            *out += "]";
        }
        _ => {
            *out += "{";
            for index in 0..count {
                *out += if index == 0 { "" } else { ",\n " };
                *out += &format!("\"{}\":", random.pick(&WORDS));
                value(random, depth - 1, out);
            }
            *out += "}";
        }
    }
}

pub(crate) fn chunked(random: &mut Mutator) -> Vec<u8> {
    chunks(random).into_bytes()
}

fn request_line_and_fields(random: &mut Mutator, framing: &str) -> String {
    let target = if random.below(2) == 0 { "/" } else { random.pick(&TARGETS) };
    let (method, minor) = (random.pick(&METHODS), random.pick(&["1", "1", "1", "1", "1", "0"]));
    let host = random.pick(&["Host: h\r\n", "Host: h\r\n", "Host: h\r\n", "Host: h\r\n", "host:h\r\n", ""]);
    format!("{method} {target} HTTP/1.{minor}\r\n{host}{}{framing}\r\n", fields(random))
}

fn fields(random: &mut Mutator) -> String {
    let count = random.below(4);
    (0..count).map(|_| format!("{}\r\n", random.pick(&FIELDS))).collect()
}

/// The fields that frame a body, and the body; now and then it is another's.
fn framing(random: &mut Mutator) -> (String, String) {
    let size = random.below(40);
    match random.below(8) {
        0..3 => (String::new(), String::new()),
        3 | 4 => (format!("Content-Length: {size}\r\n"), "b".repeat(size)),
        5 | 6 => ("Transfer-Encoding: chunked\r\n".into(), chunks(random)),
        _ => (format!("Content-Length: {size}\r\n"), format!("{}GET /s HTTP/1.1\r\nHost: h\r\n\r\n", chunks(random))),
    }
}

fn chunks(random: &mut Mutator) -> String {
    let mut text = String::new();
    for _ in 0..random.below(4) {
        let (size, extension) = (1 + random.below(40), random.pick(&["", "", "", ";a", ";a=\"b\"", ";"]));
        text += &format!("{size:x}{extension}\r\n{}\r\n", "c".repeat(size));
    }
    let trailers = random.pick(&["", "", "X-Sum: 1\r\n", "Content-Length: 5\r\nHost: b\r\n"]);
    text + "0\r\n" + trailers + "\r\n"
}

#[cfg(test)]
mod tests {
    use proxy_core::fuzzing::{self, Parsed};

    use super::*;

    /// What is always refused at once tests nothing.
    #[test]
    fn a_fair_part_is_well_formed() {
        let mut random = Mutator::new(vec![vec![]], chunked, 1);
        let fair = |good: usize| assert!((400..=1000).contains(&good), "{good} of 1000");
        let mut count = |make: Generate, good: fn(&[u8]) -> bool| {
            fair((0..1000).filter(|_| good(&make(&mut random))).count());
        };
        count(request_head, |bytes| matches!(fuzzing::request_head(bytes), Parsed::Complete(_)));
        count(requests, |bytes| matches!(fuzzing::request_head(bytes), Parsed::Complete(_)));
        count(response_head, |bytes| matches!(fuzzing::response_head(bytes), Parsed::Complete(_)));
        count(chunked, |bytes| fuzzing::chunked(&[bytes]).is_some());
    }
}
