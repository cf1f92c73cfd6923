//! Heads from bytes: `httparse` tokenises, our own strict checks decide.
//!
//! The heads that pass are copied onwards byte for byte (`Headers::write_to`); that is safe only
//! because every lenient spelling is refused here: bare line feeds, folded lines, spaces before a
//! colon, control bytes. Keep the two rules side by side.

use std::mem::MaybeUninit;

use http::{Method, StatusCode, Version};

use super::framing::{self, Length, Options};
use crate::head::{Field, Known, RawHead, SharedHead, Span, Start};
use crate::{ErrorKind, Limits, RequestHead, ResponseHead};

const MAX_FIELDS: usize = 128;

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
    let skipped = leading_line(bytes);
    let bytes = &bytes[skipped..];
    match bytes.first() {
        Some(b'\n') => return Err(ErrorKind::BareLineEnd),
        Some(b'\r') if bytes.len() > 1 || skipped > 0 => return Err(ErrorKind::BadRequestLine),
        _ => {}
    }
    let window = &bytes[..bytes.len().min(limits.max_head_bytes)];
    let mut end = None;
    let raw = SharedHead::build(|raw| {
        end = tokenise_request(window, limits, raw)?;
        Ok(())
    })?;
    let Some(end) = end else {
        check_partial_request(window, limits)?;
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
        end = tokenise_response(window, limits, raw)?;
        Ok(())
    })?;
    let Some(end) = end else {
        return if bytes.len() >= limits.max_head_bytes { Err(ErrorKind::BadResponse) } else { Ok(None) };
    };
    let head = ResponseHead::from_raw(raw);
    let (length, options) = framing::check_response(&head)?;
    Ok(Some(ParsedResponse { head, consumed: end, length, options }))
}

/// One empty line before a request line is skipped (RFC 9112 §2.2).
fn leading_line(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\r\n") { 2 } else { 0 }
}

/// What can be said before the head is complete: garbage is refused at once, not at the deadline.
fn check_partial_request(bytes: &[u8], limits: &Limits) -> Result<(), ErrorKind> {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    if !method.iter().all(|byte| is_token(*byte)) || method.len() > MAX_METHOD || line.first() == Some(&b' ') {
        return Err(ErrorKind::BadRequestLine);
    }
    check_target_length(line, limits)
}

/// Longer than any registered method.
const MAX_METHOD: usize = 64;

fn check_target_length(line: &[u8], limits: &Limits) -> Result<(), ErrorKind> {
    // Method and version take at most this much of a line.
    if line.len() <= limits.max_target_bytes {
        return Ok(());
    }
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    match target.len() > limits.max_target_bytes {
        true => Err(ErrorKind::TargetTooLong),
        false => Ok(()),
    }
}

/// Returns where the head ends, if it does.
fn tokenise_request(bytes: &[u8], limits: &Limits, raw: &mut RawHead) -> Result<Option<usize>, ErrorKind> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed
        .parse_with_uninit_headers(bytes, &mut fields[..limits.max_headers.min(MAX_FIELDS)])
        .map_err(|error| request_error(error, bytes, limits))?;
    let httparse::Status::Complete(end) = status else { return Ok(None) };
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    if target.len() > limits.max_target_bytes {
        return Err(ErrorKind::TargetTooLong);
    }
    if !crate::head::is_target(target.as_bytes()) {
        return Err(ErrorKind::BadTarget);
    }
    raw.version = version(parsed.version);
    raw.start = Start::Request {
        method: Method::from_bytes(method.as_bytes()).map_err(|_| ErrorKind::BadRequestLine)?,
        target: span_in(bytes, target.as_bytes()),
    };
    index_fields(&bytes[..end], parsed.headers, raw)?;
    Ok(Some(end))
}

/// Returns where the head ends, if it does.
fn tokenise_response(bytes: &[u8], limits: &Limits, raw: &mut RawHead) -> Result<Option<usize>, ErrorKind> {
    // httparse skips empty lines before a status line; there is no reason for one.
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return Err(ErrorKind::BadResponse);
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config
        .parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields[..limits.max_headers.min(MAX_FIELDS)])
        .map_err(|_| ErrorKind::BadResponse)?;
    let httparse::Status::Complete(end) = status else { return Ok(None) };
    let code = parsed.code.filter(|code| (100..600).contains(code)).ok_or(ErrorKind::BadResponse)?;
    let status = StatusCode::from_u16(code).map_err(|_| ErrorKind::BadResponse)?;
    raw.version = version(parsed.version);
    raw.start = Start::Response { status };
    index_fields(&bytes[..end], parsed.headers, raw).map_err(|_| ErrorKind::BadResponse)?;
    Ok(Some(end))
}

fn version(minor: Option<u8>) -> Version {
    match minor {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    }
}

/// Copies the head and indexes its fields. httparse takes a bare LF for a line end; here each line
/// must have its CR, or it would mean one thing to us and another to who reads the copy.
fn index_fields(bytes: &[u8], fields: &[httparse::Header<'_>], raw: &mut RawHead) -> Result<(), ErrorKind> {
    raw.bytes.extend_from_slice(bytes);
    raw.fields.reserve(fields.len());
    let end_of_lines = bytes.len().checked_sub(2).ok_or(ErrorKind::BareLineEnd)?;
    let start_of =
        |index: usize| fields.get(index).map_or(end_of_lines, |field| offset_in(bytes, field.name.as_bytes()));
    raw.line_end = start_of(0) as u32;
    let mut well_ended = ends_in_crlf(bytes, start_of(0)) && ends_in_crlf(bytes, bytes.len());
    for (index, field) in fields.iter().enumerate() {
        let name = span_in(bytes, field.name.as_bytes());
        let value = match field.value {
            b"" => Span::new(name.end as usize + 1, name.end as usize + 1),
            value => span_in(bytes, value),
        };
        let end = start_of(index + 1);
        well_ended &= ends_in_crlf(bytes, end);
        raw.index_field(Field { name, value, end: end as u32, known: Known::of(field.name.as_bytes()) });
    }
    if well_ended { Ok(()) } else { Err(ErrorKind::BareLineEnd) }
}

fn ends_in_crlf(bytes: &[u8], end: usize) -> bool {
    bytes[..end].ends_with(b"\r\n")
}

/// Where a part of `whole` begins, which `part` must be.
fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

fn span_in(whole: &[u8], part: &[u8]) -> Span {
    let start = offset_in(whole, part);
    Span::new(start, start + part.len())
}

fn request_error(error: httparse::Error, bytes: &[u8], limits: &Limits) -> ErrorKind {
    if let Err(kind) = check_target_length(bytes.split(|byte| *byte == b'\r').next().unwrap_or_default(), limits) {
        return kind;
    }
    match error {
        _ if has_bare_feed(bytes) => ErrorKind::BareLineEnd,
        httparse::Error::TooManyHeaders => ErrorKind::TooManyHeaders,
        httparse::Error::Version if names_other_version(bytes) => ErrorKind::BadVersion,
        httparse::Error::Version => ErrorKind::BadRequestLine,
        httparse::Error::Token | httparse::Error::NewLine => token_error(bytes),
        _ => ErrorKind::BadHeader,
    }
}

/// A line feed without its carriage return makes httparse stumble over what follows; name the cause.
fn has_bare_feed(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|feed| feed == 0 || bytes[feed - 1] != b'\r')
}

/// `HTTP/` digit `.` digit, but not a version we speak: 505 rather than 400.
fn names_other_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let words = line.split(|byte| *byte == b' ').count();
    words == 3
        && matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// httparse says "token" for a bad method and a bad target alike.
fn token_error(bytes: &[u8]) -> ErrorKind {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let bad_target = target.iter().any(|byte| !byte.is_ascii_graphic());
    let known = !method.is_empty() && method.iter().all(|byte| is_token(*byte));
    if known && !target.is_empty() && bad_target && words.count() == 1 {
        ErrorKind::BadTarget
    } else {
        ErrorKind::BadRequestLine
    }
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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
