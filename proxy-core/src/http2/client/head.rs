//! Heads, to and from the codec's, towards backends.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header, response};

use crate::head::{Known, MAX_FIELDS, RawHead, SharedHead, Start};
use crate::http1::{encode, framing};
use crate::http2::head::FORBIDDEN;
use crate::{Error, ErrorKind, Limits, RequestHead, ResponseHead, Result};

/// A request's head for the codec. `length`: what the body has, where that is known.
pub(super) fn request(head: &mut RequestHead, length: Option<u64>, secure: bool) -> Result<Request<()>> {
    encode::keep_length(head.headers_mut(), length);
    let mut request = Request::new(());
    *request.method_mut() = head.method().clone();
    *request.uri_mut() = uri(head, secure)?;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.reserve(head.headers().raw().fields.len() + 1);
    for (known, name, value) in head.headers().iter_known() {
        // RFC 9113 §8.2.2, §8.3.1.
        let goes = match known {
            Known::Host => false,
            Known::Te => value.eq_ignore_ascii_case(b"trailers"),
            known => !FORBIDDEN.contains(known),
        };
        if !goes {
            continue;
        }
        let bad = |source: http::Error| Error::new(ErrorKind::BadHeader).with_source(source);
        let name = HeaderName::from_bytes(name).map_err(|error| bad(error.into()))?;
        let value = HeaderValue::from_bytes(value).map_err(|error| bad(error.into()))?;
        headers.try_append(name, value).map_err(|error| Error::new(ErrorKind::TooManyHeaders).with_source(error))?;
    }
    if let Some(length) = length
        && (length > 0 || encode::wants_length(head.method()))
    {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(request)
}

/// `Host` is `:authority` (RFC 9113 §8.3.1); an absolute target has said the same.
fn uri(head: &RequestHead, secure: bool) -> Result<Uri> {
    let host = head.headers().first(Known::Host).ok_or(ErrorKind::HostMissing)?;
    let bad_host = |error| Error::new(ErrorKind::HostMalformed).with_source(error);
    let authority = Authority::try_from(host).map_err(bad_host)?;
    let bad_target = |error: http::Error| Error::new(ErrorKind::BadTarget).with_source(error);
    let path = match head.origin_form() {
        b"" if *head.method() == Method::OPTIONS => PathAndQuery::from_static("*"),
        b"" => PathAndQuery::from_static("/"),
        path => PathAndQuery::try_from(path).map_err(|error| bad_target(error.into()))?,
    };
    let scheme = if secure { Scheme::HTTPS } else { Scheme::HTTP };
    Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().map_err(bad_target)
}

/// Takes a response's head in, held to the rules of HTTP/1: so may it be copied into one. With it comes the body's
/// length, where it was declared.
pub(super) fn response(parts: &response::Parts, limits: &Limits) -> Result<(ResponseHead, Option<u64>)> {
    let raw = SharedHead::build(|raw| fill(raw, parts, limits))?;
    let mut declared = parts.headers.get_all(header::CONTENT_LENGTH).iter();
    let length = match (declared.next(), declared.next()) {
        (None, _) => None,
        (Some(length), None) => Some(framing::parse_length(length.as_bytes()).map_err(|_| ErrorKind::BadResponse)?),
        (Some(_), Some(_)) => return Err(ErrorKind::BadResponse.into()),
    };
    Ok((ResponseHead::from_raw(raw), length))
}

fn fill(raw: &mut RawHead, parts: &response::Parts, limits: &Limits) -> Result<(), ErrorKind> {
    let reason = parts.status.canonical_reason().unwrap_or("");
    for part in ["HTTP/1.1 ", parts.status.as_str(), " ", reason, "\r\n"] {
        raw.bytes.extend_from_slice(part.as_bytes());
    }
    raw.line_end = raw.bytes.len() as u32;
    raw.start = Start::Response { status: parts.status };
    raw.version = Version::HTTP_2;
    let max = limits.max_headers.min(MAX_FIELDS);
    for (name, value) in &parts.headers {
        raw.write_field(name.as_str().as_bytes(), value.as_bytes());
        if raw.fields.len() > max || raw.bytes.len() > limits.max_head_bytes {
            return Err(ErrorKind::BadResponse);
        }
    }
    raw.bytes.extend_from_slice(b"\r\n");
    Ok(())
}
