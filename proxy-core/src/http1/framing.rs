//! Where a message ends: one decision, made once, from everything its head says.

use http::{Method, StatusCode, Version};

use super::tokens::table;
use crate::head::Known;
use crate::{ErrorKind, Headers, RequestHead, ResponseHead};

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// There is none, or it has this many bytes.
    Exact(u64),
    Chunked,
    /// It ends with the connection. Responses only.
    UntilClose,
}

/// What `Connection` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

/// What the fields of a request say.
#[derive(Debug)]
pub(crate) struct RequestFraming {
    pub(crate) length: Length,
    pub(crate) options: Options,
    pub(crate) expect_continue: bool,
}

/// RFC 9112 §6.3 for requests, without its leniencies.
pub(crate) fn check_request(head: &RequestHead) -> Result<RequestFraming, ErrorKind> {
    let (headers, http11) = (head.headers(), head.version() != Version::HTTP_10);
    check_host(head, http11)?;
    let length = declared_length(headers, http11)?.unwrap_or(Length::Exact(0));
    let expect = headers.first(Known::Expect).filter(|_| http11);
    let other = |value: &[u8]| !value.eq_ignore_ascii_case(b"100-continue") || headers.repeats(Known::Expect);
    if expect.is_some_and(other) {
        return Err(ErrorKind::Expectation);
    }
    Ok(RequestFraming {
        length,
        options: connection_options(headers, http11),
        expect_continue: expect.is_some() && length != Length::Exact(0),
    })
}

/// RFC 9112 §6.3 for responses: [`body_of`] then applies method and status.
pub(crate) fn check_response(head: &ResponseHead) -> Result<(Length, Options), ErrorKind> {
    let http11 = head.version() != Version::HTTP_10;
    let declared = declared_length(head.headers(), http11).map_err(|_| ErrorKind::BadResponse)?;
    let options = connection_options(head.headers(), http11);
    Ok((declared.unwrap_or(Length::UntilClose), options))
}

/// Whether a response has a body at all (RFC 9112 §6.3, rules 1 and 2).
pub(crate) fn body_of(declared: Length, method: &Method, status: StatusCode) -> Length {
    match has_no_body(method, status) {
        true => Length::Exact(0),
        false => declared,
    }
}

/// HEAD, 1xx, 204 and 304 never carry a body.
pub(crate) fn has_no_body(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

fn declared_length(headers: &Headers, http11: bool) -> Result<Option<Length>, ErrorKind> {
    if !headers.may_have(Known::ContentLength) && !headers.may_have(Known::TransferEncoding) {
        return Ok(None);
    }
    if headers.repeats(Known::ContentLength) {
        return Err(ErrorKind::LengthRepeated);
    }
    let length = headers.first(Known::ContentLength);
    let Some(coding) = headers.first(Known::TransferEncoding) else {
        return length.map(|value| parse_length(value).map(Length::Exact)).transpose();
    };
    if length.is_some() {
        return Err(ErrorKind::LengthAndChunked);
    }
    if !http11 {
        return Err(ErrorKind::ChunkedInHttp10);
    }
    match coding.eq_ignore_ascii_case(b"chunked") && !headers.repeats(Known::TransferEncoding) {
        true => Ok(Some(Length::Chunked)),
        false => Err(ErrorKind::TransferEncoding),
    }
}

/// `1*DIGIT` that fits 63 bits. Signs, spaces and lists are refused.
pub(crate) fn parse_length(value: &[u8]) -> Result<u64, ErrorKind> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(ErrorKind::LengthMalformed);
    }
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    let length = value.iter().try_fold(0, add).filter(|length| *length <= i64::MAX as u64);
    length.ok_or(ErrorKind::LengthMalformed)
}

fn connection_options(headers: &Headers, http11: bool) -> Options {
    let mut options = Options { keep_alive: http11, upgrade: false };
    match headers.first(Known::Connection) {
        None => return options,
        Some(b"keep-alive") if !headers.repeats(Known::Connection) => {
            return Options { keep_alive: true, upgrade: false };
        }
        Some(_) => {}
    }
    let mut close = false;
    for token in headers.all(Known::Connection).flat_map(tokens) {
        match token {
            token if token.eq_ignore_ascii_case(b"close") => close = true,
            token if token.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
            // HTTP/1.0 cannot upgrade (RFC 9110 §7.8).
            token if token.eq_ignore_ascii_case(b"upgrade") => options.upgrade = http11 && headers.has(Known::Upgrade),
            _ => {}
        }
    }
    options.keep_alive &= !close;
    options
}

/// The members of a comma-separated list.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// Exactly one `Host` in HTTP/1.1, well-formed, and the same as an absolute target's authority.
fn check_host(head: &RequestHead, http11: bool) -> Result<(), ErrorKind> {
    if head.headers().repeats(Known::Host) {
        return Err(ErrorKind::HostRepeated);
    }
    let Some(host) = head.headers().first(Known::Host) else {
        return if http11 { Err(ErrorKind::HostMissing) } else { check_target_form(head, None) };
    };
    if !is_authority(host) {
        return Err(ErrorKind::HostMalformed);
    }
    check_target_form(head, Some(host))
}

fn check_target_form(head: &RequestHead, host: Option<&[u8]>) -> Result<(), ErrorKind> {
    let target = head.target();
    if *head.method() == Method::CONNECT {
        return match is_authority(target) && !target.is_empty() {
            true => Ok(()),
            false => Err(ErrorKind::BadTarget),
        };
    }
    match crate::head::absolute_parts(target) {
        Some((authority, _)) if authority.is_empty() || !is_authority(authority) => Err(ErrorKind::BadTarget),
        Some((authority, _)) if host.is_some_and(|host| !authority.eq_ignore_ascii_case(host)) => {
            Err(ErrorKind::HostMismatch)
        }
        Some(_) => Ok(()),
        None if target.first() == Some(&b'/') => Ok(()),
        None if target == b"*" && *head.method() == Method::OPTIONS => Ok(()),
        None => Err(ErrorKind::BadTarget),
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2), by its characters; an empty `Host` is legal.
fn is_authority(bytes: &[u8]) -> bool {
    let (host, port) = match bytes {
        [b'[', rest @ ..] => match rest.iter().position(|byte| *byte == b']') {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => return false,
        },
        _ => {
            let colon = bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len());
            bytes.split_at(colon)
        }
    };
    let legal = if bytes.first() == Some(&b'[') { &ADDRESS } else { &NAME };
    let port_legal = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    port_legal && host.iter().all(|byte| legal[usize::from(*byte)])
}

/// `reg-name` of RFC 3986: unreserved, sub-delims and percent.
static NAME: [bool; 256] = table(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=%");
static ADDRESS: [bool; 256] = table(b"abcdefABCDEF0123456789:.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_all_digits_and_fit() {
        assert_eq!(parse_length(b"0"), Ok(0));
        assert_eq!(parse_length(b"9223372036854775807"), Ok(i64::MAX as u64));
        for bad in ["", "+1", "-1", " 1", "1 ", "0x10", "1,1", "9223372036854775808", "99999999999999999999"] {
            assert_eq!(parse_length(bad.as_bytes()), Err(ErrorKind::LengthMalformed), "{bad:?}");
        }
    }

    #[test]
    fn authorities_are_hosts_with_ports() {
        for good in ["a", "a.b-c:80", "[::1]", "[::1]:8080", "", "127.0.0.1", "a_b"] {
            assert!(is_authority(good.as_bytes()), "{good:?}");
        }
        for bad in ["a b", "u@h", "a:b", "[::1", "[::1]x", "a/b", "a:123456", "h\"", "a?b", "[g]"] {
            assert!(!is_authority(bad.as_bytes()), "{bad:?}");
        }
    }
}
