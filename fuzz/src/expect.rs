//! What has to reach an origin: the requests the proxy accepts, no fewer and no more.

use proxy_core::fuzzing::{self, Parsed};

use crate::forwarded;
use crate::strict::{self, Request};

/// The whole requests in these bytes, in order, and the method of one that is begun behind them. The
/// heads are those that the parser accepts, which has targets of its own; bodies are read naively.
/// Answers of `unknown` length end an HTTP/1.0 client's connection.
pub(crate) fn requests(mut bytes: &[u8], unknown: bool) -> (Vec<Request>, Option<Vec<u8>>) {
    let mut whole = Vec::new();
    loop {
        let Parsed::Complete(head) = fuzzing::request_head(bytes) else { return (whole, None) };
        let rest = &bytes[head.consumed..];
        let method = head.start.0.clone().into_bytes();
        let body = match head.chunked {
            true => fuzzing::chunked(&[rest]).map(|(body, behind)| (body, &rest[rest.len() - behind..])),
            false => strict::counted(rest, head.length.unwrap_or(0)),
        };
        // Nobody serves CONNECT here, and nothing behind it is a request.
        let Some((body, rest)) = body.filter(|_| method != b"CONNECT") else { return (whole, Some(method)) };
        whole.push(Request {
            method: method.clone(),
            target: head.start.1.clone(),
            fields: strict::lower_case(&head.fields),
            body: Some(body),
        });
        let line = bytes.strip_prefix(b"\r\n").unwrap_or(bytes).split(|byte| *byte == b'\r').next();
        let old = line.is_some_and(|line| line.ends_with(b" HTTP/1.0"));
        if !head.keep_alive || (unknown && old && method != b"HEAD") {
            return (whole, None);
        }
        bytes = rest;
    }
}

/// Whether origins got these requests, and behind them at most the beginning of one more.
pub(crate) fn check_received(expected: &[Request], received: &[Vec<u8>]) -> Result<(), String> {
    let found: Vec<_> = received.iter().flat_map(|bytes| strict::requests(bytes).0).collect();
    let whole: Vec<_> = found.iter().filter(|request| request.body.is_some()).collect();
    let same = whole.len() == expected.len()
        && whole.iter().zip(expected).all(|(got, expected)| forwarded::covers(expected, got));
    match same && found.len() <= expected.len() + 1 {
        true => Ok(()),
        false => Err(format!("the client sent {expected:?}, the origin got {found:?}")),
    }
}
