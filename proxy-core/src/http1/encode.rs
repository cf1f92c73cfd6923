//! How a response leaves: its framing and the fields that declare it.

use http::{Method, StatusCode, Version};

use super::framing;
use crate::head::Known;
use crate::{Headers, Response};

/// The framing of a response on its way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// No body follows the head.
    None,
    /// So many bytes.
    Exact(u64),
    Chunked,
    /// The body ends with the connection.
    UntilClose,
}

/// What the response is an answer to.
pub(crate) struct Answering<'a> {
    pub(crate) method: &'a Method,
    pub(crate) version: Version,
}

#[cfg(feature = "http2")]
impl<'a> Answering<'a> {
    pub(crate) fn over_http2(method: &'a Method) -> Self {
        Answering { method, version: Version::HTTP_2 }
    }
}

/// Decides the framing, and removes the fields that contradict it.
pub(crate) fn framing(response: &mut Response, to: &Answering<'_>) -> Framing {
    let framing = decide(response, to);
    declare(response, to, framing);
    framing
}

/// Writes the whole head and decides the framing. `keep_alive` becomes false where the body can
/// only end with the connection.
pub(crate) fn head(response: &mut Response, to: &Answering<'_>, keep_alive: &mut bool, out: &mut Vec<u8>) -> Framing {
    let framing = self::framing(response, to);
    *keep_alive &= framing != Framing::UntilClose;
    response.head().write_to(out);
    match framing {
        Framing::Exact(length) if !response.head().headers().has(Known::ContentLength) => write_length(length, out),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        _ => {}
    }
    match (*keep_alive, to.version) {
        _ if response.has_tunnel() => {}
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (true, Version::HTTP_10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (true, _) => {}
    }
    out.extend_from_slice(b"\r\n");
    framing
}

fn decide(response: &Response, to: &Answering<'_>) -> Framing {
    let connected = *to.method == Method::CONNECT && response.has_tunnel();
    if connected || framing::has_no_body(to.method, response.head().status()) {
        return Framing::None;
    }
    match (response.body().exact_length(), to.version) {
        (Some(length), _) => Framing::Exact(length),
        (None, Version::HTTP_10) => Framing::UntilClose,
        (None, _) => Framing::Chunked,
    }
}

/// Removes framing fields that the framing contradicts. A `Content-Length` on the answer to HEAD, and on
/// a 304, tells of a body elsewhere and stays.
fn declare(response: &mut Response, to: &Answering<'_>, framing: Framing) {
    let status = response.head().status();
    let tells = *to.method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
    let headers = response.head_mut().headers_mut();
    match framing {
        Framing::None if tells => headers.remove_known(Known::TransferEncoding),
        Framing::Exact(length) => keep_length(headers, Some(length)),
        Framing::None | Framing::Chunked | Framing::UntilClose => keep_length(headers, None),
    }
}

/// Removes framing fields that are none of ours: a plugin may have set them, and whoever reads the
/// message believes them. One `Content-Length` that says this length stays as it was spelled.
pub(crate) fn keep_length(headers: &mut Headers, length: Option<u64>) {
    headers.remove_known(Known::TransferEncoding);
    if headers.may_have(Known::ContentLength) && !says_at_most(headers, length) {
        headers.remove_known(Known::ContentLength);
    }
}

/// Whether there is no `Content-Length`, or one that says this.
fn says_at_most(headers: &Headers, length: Option<u64>) -> bool {
    let mut declared = headers.all(Known::ContentLength);
    match (declared.next(), declared.next()) {
        (Some(value), None) => length.is_some_and(|length| framing::parse_length(value) == Ok(length)),
        (first, _) => first.is_none(),
    }
}

/// Methods whose requests have a body by meaning say so even where it is empty (RFC 9110 §8.6).
pub(crate) fn wants_length(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Writes a `Content-Length` line.
pub(crate) fn write_length(length: u64, out: &mut Vec<u8>) {
    use std::io::Write;
    let written = write!(out, "Content-Length: {length}\r\n");
    debug_assert!(written.is_ok(), "a vector takes every write");
}
