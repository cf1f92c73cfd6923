//! What gRPC means to a proxy: a client's deadline, and answers of ours that it understands.
//!
//! Everything else of it is HTTP/2 as it is: bodies both ways at once, and trailers.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::{ErrorKind, ResponseHead};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const TYPE: &[u8] = b"application/grpc";

/// What a client of gRPC asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grpc {
    /// How long it waits.
    pub(super) timeout: Option<Duration>,
}

impl Grpc {
    /// What this request asks for, if it is one of gRPC.
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Option<Grpc> {
        if *method != Method::POST || !headers.get(CONTENT_TYPE).is_some_and(|kind| is_type(kind.as_bytes())) {
            return None;
        }
        Some(Grpc { timeout: headers.get(TIMEOUT).and_then(|text| parse_timeout(text.as_bytes())) })
    }
}

/// `application/grpc`, with or without what messages are in; that of gRPC-Web is another.
pub(super) fn is_type(kind: &[u8]) -> bool {
    match kind.split_at_checked(TYPE.len()) {
        Some((start, rest)) => start.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';')),
        None => false,
    }
}

/// At most eight digits and a unit.
fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |count, digit| count * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(count * 3600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// The status in the fields of a response, where it has one.
pub(super) fn status(headers: &HeaderMap) -> Option<u32> {
    let text = headers.get(STATUS)?.to_str().ok()?;
    text.parse().ok()
}

/// Makes an answer of ours one of gRPC: a status and no body. What else it says stays.
pub(super) fn refuse(head: &mut ResponseHead, error: Option<ErrorKind>) {
    let (http, headers) = (head.status(), head.headers_mut());
    let code = code(http, error);
    let message = error.map_or_else(|| http.canonical_reason().unwrap_or("refused"), |kind| kind.text());
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, HeaderValue::from(code));
    headers.insert(MESSAGE, HeaderValue::from_static(message));
    head.set_status(StatusCode::OK);
}

/// The gRPC project's "HTTP to gRPC Status Code Mapping", but for a deadline, which has a code of its own.
fn code(http: StatusCode, error: Option<ErrorKind>) -> u32 {
    if matches!(error, Some(ErrorKind::TotalTimeout | ErrorKind::ResponseTimeout)) {
        return 4; // DEADLINE_EXCEEDED
    }
    match http.as_u16() {
        400 => 13,                   // INTERNAL
        401 => 16,                   // UNAUTHENTICATED
        403 => 7,                    // PERMISSION_DENIED
        404 => 12,                   // UNIMPLEMENTED
        413 => 8,                    // RESOURCE_EXHAUSTED
        429 | 502 | 503 | 504 => 14, // UNAVAILABLE
        _ => 2,                      // UNKNOWN
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        let check =
            |text: &str, expected: Option<Duration>| assert_eq!(parse_timeout(text.as_bytes()), expected, "{text}");
        check("1S", Some(Duration::from_secs(1)));
        check("250m", Some(Duration::from_millis(250)));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("2M", Some(Duration::from_secs(120)));
        check("7u", Some(Duration::from_micros(7)));
        check("00000001n", Some(Duration::from_nanos(1)));
        for wrong in ["", "S", "1", "1s", "123456789S", "-1S", "+1S", "1.5S", " 1S", "1S ", "1 S", "1SS", "١S"] {
            check(wrong, None);
        }
    }

    #[test]
    fn its_types_are_known() {
        for kind in ["application/grpc", "application/grpc+proto", "Application/GRPC;x=y"] {
            assert!(is_type(kind.as_bytes()), "{kind}");
        }
        for kind in ["application/grpc-web", "application/grpc-web+proto", "application/grp", "application/json", ""] {
            assert!(!is_type(kind.as_bytes()), "{kind}");
        }
    }

    #[test]
    fn refusals_have_the_code_that_clients_would_give_them() {
        let check = |status, error, expected: &str| {
            let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
            head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
            refuse(&mut head, error);
            assert_eq!((head.status(), head.headers().get_str("grpc-status")), (StatusCode::OK, Some(expected)));
            assert!(!head.headers().contains("content-length") && head.headers().contains("grpc-message"));
        };
        check(502, Some(ErrorKind::ConnectRefused), "14");
        check(504, Some(ErrorKind::TotalTimeout), "4");
        check(504, Some(ErrorKind::ConnectTimeout), "14");
        check(429, None, "14");
        check(401, None, "16");
        check(403, None, "7");
        check(404, Some(ErrorKind::NoRoute), "12");
        check(400, Some(ErrorKind::BadHeader), "13");
        check(500, Some(ErrorKind::Plugin), "2");
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in any::<Vec<u8>>()) {
            let _ = (parse_timeout(&text), is_type(&text));
        }
    }
}
