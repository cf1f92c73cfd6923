//! To and from the `http` crate's heads, at the tower seam only.

use http::{HeaderMap, HeaderName, HeaderValue, request, response};

use super::raw::{MAX_FIELDS, SharedHead, Span, Start};
use super::{Headers, RequestHead, ResponseHead};
use crate::{Error, ErrorKind, Result};

impl TryFrom<request::Parts> for RequestHead {
    type Error = Error;

    /// # Errors
    /// If the target has bytes this proxy refuses, or there are more than 128 fields.
    fn try_from(parts: request::Parts) -> Result<Self> {
        let target = match parts.method {
            http::Method::CONNECT => parts.uri.authority().map_or_else(String::new, ToString::to_string),
            _ => parts.uri.to_string(),
        };
        super::request::check_target(target.as_bytes())?;
        let raw = SharedHead::build(|raw| {
            raw.bytes.extend_from_slice(parts.method.as_str().as_bytes());
            raw.bytes.push(b' ');
            let start = raw.bytes.len();
            raw.bytes.extend_from_slice(target.as_bytes());
            let span = Span::new(start, raw.bytes.len());
            raw.bytes.extend_from_slice(b" HTTP/1.1\r\n");
            raw.line_end = raw.bytes.len() as u32;
            raw.start = Start::Request { method: parts.method, target: span };
            raw.version = parts.version;
            write_fields(raw, &parts.headers)
        })?;
        let mut head = RequestHead::from_raw(raw);
        *head.extensions_mut() = parts.extensions;
        Ok(head)
    }
}

impl TryFrom<response::Parts> for ResponseHead {
    type Error = Error;

    /// # Errors
    /// If there are more than 128 fields.
    fn try_from(parts: response::Parts) -> Result<Self> {
        let raw = SharedHead::build(|raw| {
            let line =
                format!("HTTP/1.1 {} {}\r\n", parts.status.as_str(), parts.status.canonical_reason().unwrap_or(""));
            raw.bytes.extend_from_slice(line.as_bytes());
            raw.line_end = raw.bytes.len() as u32;
            raw.start = Start::Response { status: parts.status };
            write_fields(raw, &parts.headers)
        })?;
        let mut head = ResponseHead::from_raw(raw);
        *head.extensions_mut() = parts.extensions;
        Ok(head)
    }
}

impl TryFrom<RequestHead> for request::Parts {
    type Error = Error;

    /// # Errors
    /// If the target is not one `http::Uri` can hold.
    fn try_from(mut head: RequestHead) -> Result<Self> {
        let mut parts = http::Request::new(()).into_parts().0;
        parts.method = head.method().clone();
        parts.uri =
            http::Uri::try_from(head.target()).map_err(|error| Error::new(ErrorKind::BadTarget).with_source(error))?;
        parts.headers = header_map(head.headers())?;
        parts.extensions = std::mem::take(head.extensions_mut());
        Ok(parts)
    }
}

impl TryFrom<ResponseHead> for response::Parts {
    type Error = Error;

    /// # Errors
    /// If a field is not one `http::HeaderMap` can hold.
    fn try_from(mut head: ResponseHead) -> Result<Self> {
        let mut parts = http::Response::new(()).into_parts().0;
        parts.status = head.status();
        parts.headers = header_map(head.headers())?;
        parts.extensions = std::mem::take(head.extensions_mut());
        Ok(parts)
    }
}

fn write_fields(raw: &mut super::RawHead, map: &HeaderMap) -> Result<()> {
    if map.len() > MAX_FIELDS {
        return Err(ErrorKind::TooManyHeaders.into());
    }
    for (name, value) in map {
        raw.write_field(name.as_str().as_bytes(), value.as_bytes());
    }
    Ok(())
}

/// `try_append`, since `HeaderMap` panics at 24,576 names.
pub(crate) fn header_map(headers: &Headers) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter() {
        let bad = |source: http::Error| Error::new(ErrorKind::BadHeader).with_source(source);
        let name = HeaderName::from_bytes(name).map_err(|error| bad(error.into()))?;
        let value = HeaderValue::from_bytes(value).map_err(|error| bad(error.into()))?;
        map.try_append(name, value).map_err(|error| Error::new(ErrorKind::TooManyHeaders).with_source(error))?;
    }
    Ok(map)
}
