//! Heads, from and to the codec's.

use std::hash::{BuildHasher, RandomState};

use h2::ext::Protocol;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use crate::head::{Known, KnownSet, MAX_FIELDS, RawHead, SharedHead, Span, Start};
use crate::http1::framing;
use crate::{Error, ErrorKind, Limits, RequestHead, ResponseHead, Result};

/// What a request asks for, held to the rules of HTTP/1: so may it be copied into one.
pub(super) struct Asked {
    pub(super) head: RequestHead,
    /// The body's length, where it was declared.
    pub(super) length: Option<u64>,
    pub(super) is_empty: bool,
    pub(super) expects_continue: bool,
    pub(super) options: framing::Options,
}

impl Asked {
    /// Whether what the client sends goes through a tunnel, if one opens.
    pub(super) fn tunnels(&self) -> bool {
        *self.head.method() == Method::CONNECT || self.options.upgrade
    }
}

/// Takes a request's head in. `ended`: no body follows.
pub(super) fn request(parts: &Parts, limits: &Limits, ended: bool) -> Result<Asked, ErrorKind> {
    let raw = SharedHead::build(|raw| fill(raw, parts, limits))?;
    let head = RequestHead::from_raw(raw);
    let checked = framing::check_request(&head)?;
    let length = match checked.length {
        _ if ended => Some(0),
        framing::Length::Exact(length) if head.headers().has(Known::ContentLength) => Some(length),
        _ => None,
    };
    let expects_continue = !ended && head.headers().has(Known::Expect);
    Ok(Asked { head, length, is_empty: ended, expects_continue, options: checked.options })
}

/// Whether the client asks for a WebSocket (RFC 8441): to us that is the upgrade it is in HTTP/1.
pub(super) fn asks_for_websocket(parts: &Parts) -> Result<bool, ErrorKind> {
    match parts.extensions.get::<Protocol>().map(Protocol::as_str) {
        None => Ok(false),
        Some("websocket") => Ok(true),
        Some(_) => Err(ErrorKind::Unsupported),
    }
}

fn fill(raw: &mut RawHead, parts: &Parts, limits: &Limits) -> Result<(), ErrorKind> {
    let websocket = asks_for_websocket(parts)?;
    let method = if websocket { Method::GET } else { parts.method.clone() };
    let target = target(parts, &method)?;
    if target.len() > limits.max_target_bytes {
        return Err(ErrorKind::TargetTooLong);
    }
    if !crate::head::is_target(target) {
        return Err(ErrorKind::BadTarget);
    }
    raw.bytes.extend_from_slice(method.as_str().as_bytes());
    raw.bytes.push(b' ');
    let start = raw.bytes.len();
    raw.bytes.extend_from_slice(target);
    let span = Span::new(start, raw.bytes.len());
    raw.bytes.extend_from_slice(b" HTTP/1.1\r\n");
    raw.line_end = raw.bytes.len() as u32;
    raw.start = Start::Request { method, target: span };
    raw.version = Version::HTTP_2;
    write_host(raw, parts)?;
    if websocket {
        write_upgrade(raw);
    }
    write_fields(raw, parts, limits)?;
    raw.bytes.extend_from_slice(b"\r\n");
    Ok(())
}

/// Of the forms of a target, two exist here (RFC 9113 §8.3.1, §8.5).
fn target<'a>(parts: &'a Parts, method: &Method) -> Result<&'a [u8], ErrorKind> {
    if *method == Method::CONNECT {
        return parts.uri.authority().map(|authority| authority.as_str().as_bytes()).ok_or(ErrorKind::BadTarget);
    }
    if parts.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(ErrorKind::BadTarget);
    }
    let path = parts.uri.path_and_query().ok_or(ErrorKind::BadTarget)?.as_str().as_bytes();
    // Anything else would be an absolute target, or none, in HTTP/1.
    match path.first() == Some(&b'/') || (path == b"*" && *method == Method::OPTIONS) {
        true => Ok(path),
        false => Err(ErrorKind::BadTarget),
    }
}

/// `:authority` is `Host` (RFC 9113 §8.3.1); where both are there they must agree.
fn write_host(raw: &mut RawHead, parts: &Parts) -> Result<(), ErrorKind> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(ErrorKind::HostRepeated);
    }
    let host = host.map(HeaderValue::as_bytes);
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(ErrorKind::HostMismatch),
        (Some(host), _) | (None, Some(host)) => {
            raw.write_field(b"host", host);
            Ok(())
        }
        (None, None) => Err(ErrorKind::HostMissing),
    }
}

fn write_fields(raw: &mut RawHead, parts: &Parts, limits: &Limits) -> Result<(), ErrorKind> {
    let max = limits.max_headers.min(MAX_FIELDS);
    let mut cookies = false;
    for (name, value) in &parts.headers {
        if *name == header::HOST {
            continue;
        }
        if *name == header::COOKIE {
            if !std::mem::replace(&mut cookies, true) {
                write_cookies(raw, &parts.headers)?;
            }
        } else {
            check_value(value)?;
            raw.write_field(name.as_str().as_bytes(), value.as_bytes());
        }
        if raw.fields.len() > max {
            return Err(ErrorKind::TooManyHeaders);
        }
        if raw.bytes.len() > limits.max_head_bytes {
            return Err(ErrorKind::HeadTooLarge);
        }
    }
    Ok(())
}

/// What RFC 6455 §4.1 has beyond the rest. The key stands for nothing here: it proves to a client that its
/// server means WebSocket, and this client has HTTP/2 for that.
fn write_upgrade(raw: &mut RawHead) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let random = [RandomState::new().hash_one(1), RandomState::new().hash_one(2), RandomState::new().hash_one(3)];
    let digits = random.iter().flat_map(|word| word.to_le_bytes()).map(|byte| DIGITS[usize::from(byte & 63)]);
    // Sixteen bytes in base64: of the last digit only the first two bits count.
    let mut key: Vec<u8> = digits.take(21).collect();
    key.extend_from_slice(b"A==");
    raw.write_field(b"connection", b"upgrade");
    raw.write_field(b"upgrade", b"websocket");
    raw.write_field(b"sec-websocket-key", &key);
}

/// Cookies may come apart, for the sake of compression; HTTP/1 has one field of them (RFC 9113 §8.2.3).
fn write_cookies(raw: &mut RawHead, headers: &HeaderMap) -> Result<(), ErrorKind> {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let (Some(first), rest) = (cookies.next(), cookies) else { return Ok(()) };
    check_value(first)?;
    let mut rest = rest.peekable();
    if rest.peek().is_none() {
        raw.write_field(b"cookie", first.as_bytes());
        return Ok(());
    }
    let mut joined = first.as_bytes().to_vec();
    for cookie in rest {
        check_value(cookie)?;
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    raw.write_field(b"cookie", &joined);
    Ok(())
}

/// The codec refuses control bytes; blanks at the ends are malformed, too (RFC 9113 §8.2.1).
fn check_value(value: &HeaderValue) -> Result<(), ErrorKind> {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let value = value.as_bytes();
    match blank(value.first()) || blank(value.last()) {
        true => Err(ErrorKind::BadHeader),
        false => Ok(()),
    }
}

/// Fields of HTTP/1's connections (RFC 9113 §8.2.2). They were removed; a filter may have brought one back.
pub(super) const FORBIDDEN: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::TransferEncoding,
    Known::Upgrade,
]);

/// The head of an answer that opens a tunnel: 101 is 2xx here (RFC 8441 §5.1).
pub(super) fn tunnel(head: &ResponseHead) -> Result<http::Response<()>> {
    let mut response = self::response(head, None)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
    }
    Ok(response)
}

/// A response's head for the codec. `length`: what the body has, where that is known.
pub(super) fn response(head: &ResponseHead, length: Option<u64>) -> Result<http::Response<()>> {
    let mut response = http::Response::new(());
    *response.status_mut() = head.status();
    *response.version_mut() = Version::HTTP_2;
    let headers = response.headers_mut();
    headers.reserve(head.headers().raw().fields.len() + 1);
    for (known, name, value) in head.headers().iter_known() {
        if FORBIDDEN.contains(known) {
            continue;
        }
        let bad = |source: http::Error| Error::new(ErrorKind::BadHeader).with_source(source);
        let name = HeaderName::from_bytes(name).map_err(|error| bad(error.into()))?;
        let value = HeaderValue::from_bytes(value).map_err(|error| bad(error.into()))?;
        headers.try_append(name, value).map_err(|error| Error::new(ErrorKind::TooManyHeaders).with_source(error))?;
    }
    if let Some(length) = length
        && !head.headers().has(Known::ContentLength)
    {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(response)
}
