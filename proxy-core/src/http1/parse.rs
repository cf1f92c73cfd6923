//! Heads from bytes.
//!
//! The heads that pass are copied onwards byte for byte (`Headers::write_to`); that is safe only
//! because every lenient spelling is refused here and in `tokens`: bare line feeds, folded lines,
//! spaces before a colon, control bytes. Keep the two rules side by side.

use http::{Method, StatusCode, Version};

use super::framing::{self, Length, Options};
use super::tokens;
use crate::head::{MAX_FIELDS, RawHead, SharedHead, Start};
use crate::{ErrorKind, Limits, RequestHead, ResponseHead};

/// A request head and what its fields say about the message around it.
#[derive(Debug)]
pub(crate) struct ParsedRequest {
    pub(crate) head: RequestHead,
    /// Bytes of the buffer the head took, a leading empty line included.
    pub(crate) consumed: usize,
    pub(crate) length: Length,
    pub(crate) options: Options,
    pub(crate) expect_continue: bool,
}

/// A response head and what its fields say about the message around it.
#[derive(Debug)]
pub(crate) struct ParsedResponse {
    pub(crate) head: ResponseHead,
    pub(crate) consumed: usize,
    /// The framing its fields declare, before the method and status have their say.
    pub(crate) length: Length,
    pub(crate) options: Options,
}

/// Parses a request head; `None` where it is not complete yet.
pub(crate) fn request(bytes: &[u8], limits: &Limits) -> Result<Option<ParsedRequest>, ErrorKind> {
    // One empty line before a request line is skipped (RFC 9112 §2.2).
    let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let bytes = &bytes[skipped..];
    match bytes {
        [b'\n', ..] => return Err(ErrorKind::BareLineEnd),
        [b'\r'] if skipped == 0 => return Ok(None),
        [b'\r', ..] => return Err(ErrorKind::BadRequestLine),
        _ => {}
    }
    let window = &bytes[..bytes.len().min(limits.max_head_bytes)];
    let mut end = None;
    let raw = SharedHead::build(|raw| {
        end = index_request(window, limits, raw)?;
        Ok(())
    })?;
    let Some(end) = end else {
        return if bytes.len() >= limits.max_head_bytes { Err(ErrorKind::HeadTooLarge) } else { Ok(None) };
    };
    let head = RequestHead::from_raw(raw);
    let checked = framing::check_request(&head)?;
    Ok(Some(ParsedRequest {
        head,
        consumed: skipped + end,
        length: checked.length,
        options: checked.options,
        expect_continue: checked.expect_continue,
    }))
}

/// Parses a response head; `None` where it is not complete yet.
pub(crate) fn response(bytes: &[u8], limits: &Limits) -> Result<Option<ParsedResponse>, ErrorKind> {
    let window = &bytes[..bytes.len().min(limits.max_head_bytes)];
    let mut end = None;
    let raw = SharedHead::build(|raw| {
        end = index_response(window, limits, raw).map_err(|_| ErrorKind::BadResponse)?;
        Ok(())
    })?;
    let Some(end) = end else {
        return if bytes.len() >= limits.max_head_bytes { Err(ErrorKind::BadResponse) } else { Ok(None) };
    };
    let head = ResponseHead::from_raw(raw);
    let (length, options) = framing::check_response(&head)?;
    Ok(Some(ParsedResponse { head, consumed: end, length, options }))
}

/// Returns where the head ends, if it does.
fn index_request(bytes: &[u8], limits: &Limits, raw: &mut RawHead) -> Result<Option<usize>, ErrorKind> {
    let Some(line) = tokens::request_line(bytes, limits.max_target_bytes)? else { return Ok(None) };
    let Some(end) = tokens::fields(bytes, line.end, limits.max_headers.min(MAX_FIELDS), raw)? else { return Ok(None) };
    raw.version = version(line.minor);
    raw.line_end = line.end as u32;
    let method = Method::from_bytes(line.method.of(bytes)).map_err(|_| ErrorKind::BadRequestLine)?;
    raw.start = Start::Request { method, target: line.target };
    raw.bytes.extend_from_slice(&bytes[..end]);
    Ok(Some(end))
}

/// Returns where the head ends, if it does.
fn index_response(bytes: &[u8], limits: &Limits, raw: &mut RawHead) -> Result<Option<usize>, ErrorKind> {
    let Some((minor, status, line_end)) = tokens::status_line(bytes)? else { return Ok(None) };
    let Some(end) = tokens::fields(bytes, line_end, limits.max_headers.min(MAX_FIELDS), raw)? else { return Ok(None) };
    raw.version = version(minor);
    raw.line_end = line_end as u32;
    let known = StatusCode::from_u16(status).ok().filter(|_| (100..600).contains(&status));
    raw.start = Start::Response { status: known.ok_or(ErrorKind::BadResponse)? };
    raw.bytes.extend_from_slice(&bytes[..end]);
    Ok(Some(end))
}

fn version(minor: u8) -> Version {
    if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Option<ErrorKind> {
        request(text.as_bytes(), &Limits::default()).err()
    }

    #[test]
    fn malformed_requests_are_refused_by_name() {
        use ErrorKind::*;
        let table = [
            ("GET / HTTP/1.1\nHost: h\n\n", BareLineEnd),
            ("GET / HTTP/1.1\r\nHost: h\n\r\n", BareLineEnd),
            ("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", BareLineEnd),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", BadRequestLine),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nnocolon\r\n\r\n", BadHeader),
            ("G(T / HTTP/1.1\r\nHost: h\r\n\r\n", BadRequestLine),
            ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", BadRequestLine),
            ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", BadRequestLine),
            ("GET /\r\nHost: h\r\n\r\n", BadRequestLine),
            ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", BadVersion),
            ("PRI * HTTP/2.0\r\n\r\n", BadVersion),
            ("GET / http/1.1\r\nHost: h\r\n\r\n", BadRequestLine),
            ("GET /#f HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget),
            ("GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget),
            ("GET a HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget),
            ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget),
            ("CONNECT /x HTTP/1.1\r\nHost: h\r\n\r\n", BadTarget),
            ("GET / HTTP/1.1\r\n\r\n", HostMissing),
            ("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", HostRepeated),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HostMalformed),
            ("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", HostMalformed),
            ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", HostMismatch),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", LengthAndChunked),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", LengthRepeated),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n", LengthMalformed),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", LengthMalformed),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\n", LengthMalformed),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", TransferEncoding),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", TransferEncoding),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", TransferEncoding),
            (
                "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                TransferEncoding,
            ),
            ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n", TransferEncoding),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", ChunkedInHttp10),
            ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\n", Expectation),
            ("\u{16}\u{3}\u{1}", BadRequestLine),
        ];
        for (text, kind) in table {
            assert_eq!(refused(text), Some(kind), "{text:?}");
        }
    }

    #[test]
    fn sizes_have_their_own_status() {
        let limits = Limits { max_headers: 2, max_head_bytes: 200, max_target_bytes: 20, ..Limits::default() };
        let check = |text: String, kind| assert_eq!(request(text.as_bytes(), &limits).err(), Some(kind), "{text}");
        check(format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "x".repeat(200)), ErrorKind::HeadTooLarge);
        check(format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}", "x".repeat(200)), ErrorKind::HeadTooLarge);
        check("GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\n\r\n".into(), ErrorKind::TooManyHeaders);
        check(format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(20)), ErrorKind::TargetTooLong);
        check(format!("GET /{}", "x".repeat(20)), ErrorKind::TargetTooLong);
    }

    #[test]
    fn good_requests_say_where_they_end() {
        let check = |text: &str, length, keep_alive| {
            let parsed = request(text.as_bytes(), &Limits::default()).unwrap().expect(text);
            assert_eq!((parsed.length, parsed.options.keep_alive), (length, keep_alive), "{text:?}");
            parsed
        };
        check("GET / HTTP/1.1\r\nHost: h\r\n\r\n", Length::Exact(0), true);
        check("\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n", Length::Exact(0), true);
        check("GET / HTTP/1.0\r\n\r\n", Length::Exact(0), false);
        check("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Length::Exact(0), true);
        check("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n", Length::Exact(0), false);
        check("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 007\r\n\r\n", Length::Exact(7), true);
        check("POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: Chunked\r\n\r\n", Length::Chunked, true);
        check("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", Length::Exact(0), true);
        check("GET http://H:80/a HTTP/1.1\r\nHost: h:80\r\n\r\n", Length::Exact(0), true);
        let text = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nX";
        let parsed = check(text, Length::Exact(1), true);
        assert!(parsed.expect_continue);
        assert_eq!(parsed.consumed, text.len() - 1);
    }

    #[test]
    fn a_head_split_anywhere_is_the_same_head() {
        let text = b"GET /a HTTP/1.1\r\nHost: h\r\nX-Y: z\r\n\r\n";
        for cut in 0..text.len() {
            assert!(request(&text[..cut], &Limits::default()).unwrap().is_none(), "cut at {cut}");
        }
        assert!(request(text, &Limits::default()).unwrap().is_some());
    }

    #[test]
    fn responses_are_held_to_the_same_rules() {
        let check = |text: &str, want: Option<Length>| {
            let got = response(text.as_bytes(), &Limits::default()).ok().flatten().map(|parsed| parsed.length);
            assert_eq!(got, want, "{text:?}");
        };
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Some(Length::Exact(3)));
        check("HTTP/1.1 200\r\n\r\n", Some(Length::UntilClose));
        check("HTTP/1.0 200 OK\r\n\r\n", Some(Length::UntilClose));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Some(Length::Chunked));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", None);
        check("HTTP/1.1 200 OK\nContent-Length: 3\n\n", None);
        check("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", None);
        check("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", None);
        check("HTTP/1.1 099 OK\r\n\r\n", None);
        check("HTTP/1.1 999 OK\r\n\r\n", None);
        check("ICY 200 OK\r\n\r\n", None);
    }
}
