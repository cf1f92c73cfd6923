//! Answers, from what was found.

use std::ops::Range;
use std::time::SystemTime;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use proxy_core::{Body, RequestHead, Response, ResponseHead};

use crate::condition::{Validators, Verdict};
use crate::date;
use crate::list::single;
use crate::listing::{self, Entry};
use crate::look_up::FoundFile;
use crate::multipart::{Multipart, boundary};
use crate::range::Asked;

/// A file, or what the request's conditions and ranges make of it.
pub(crate) fn file(found: FoundFile, request: &RequestHead, now: SystemTime) -> Response {
    let validators = Validators::new(found.length, found.modified, found.coding, now);
    let headers = request.headers();
    let mut response = match validators.evaluate(headers) {
        Verdict::Failed => return empty(StatusCode::PRECONDITION_FAILED),
        Verdict::NotModified => empty(StatusCode::NOT_MODIFIED),
        Verdict::Send => match asked(&found, request, &validators) {
            Asked::Whole => whole(found),
            Asked::Nothing => return unsatisfiable(found.length),
            Asked::Parts(parts) => match &parts[..] {
                [part] => one(found, part.clone()),
                parts => several(&found, parts),
            },
        },
    };
    set(&mut response, header::ETAG, &validators.etag());
    if let Some(modified) = validators.modified().and_then(date::written) {
        response.head_mut().headers_mut().append(header::LAST_MODIFIED, modified);
    }
    response
}

fn asked(found: &FoundFile, request: &RequestHead, validators: &Validators) -> Asked {
    // RFC 9110 §14.2: only GET has ranges.
    if *request.method() != Method::GET || !validators.allow_range(request.headers()) {
        return Asked::Whole;
    }
    match single(request.headers(), "range").map_or(Asked::Whole, |field| Asked::parse(field, found.length)) {
        // `Content-Encoding` would speak of the parts and the lines between them.
        Asked::Parts(parts) if parts.len() > 1 && found.coding.is_some() => Asked::Whole,
        asked => asked,
    }
}

fn whole(found: FoundFile) -> Response {
    let length = found.length;
    let mut response = represented(StatusCode::OK, &found);
    response.replace_body(|_| Body::file(found.file, 0..length));
    set(&mut response, header::CONTENT_LENGTH, &length.to_string());
    response
}

fn one(found: FoundFile, part: Range<u64>) -> Response {
    let mut response = represented(StatusCode::PARTIAL_CONTENT, &found);
    let range = format!("bytes {}-{}/{}", part.start, part.end - 1, found.length);
    let length = part.end - part.start;
    response.replace_body(|_| Body::file(found.file, part));
    set(&mut response, header::CONTENT_RANGE, &range);
    set(&mut response, header::CONTENT_LENGTH, &length.to_string());
    response
}

fn several(found: &FoundFile, parts: &[Range<u64>]) -> Response {
    let boundary = boundary();
    let body = Multipart::new(&found.file, parts, found.length, &media_type(found), &boundary);
    let mut response = Response::new(ResponseHead::new(StatusCode::PARTIAL_CONTENT), Body::boxed(body));
    set(&mut response, header::CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}"));
    response
}

/// With what is said of the file in each answer that holds of it.
fn represented(status: StatusCode, found: &FoundFile) -> Response {
    let mut response = empty(status);
    set(&mut response, header::CONTENT_TYPE, &media_type(found));
    if let Some(coding) = found.coding {
        set(&mut response, header::CONTENT_ENCODING, coding.name());
    }
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    response
}

/// By the file's name. Text is UTF-8.
fn media_type(found: &FoundFile) -> String {
    match found.media_type {
        Some(text) if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        Some(other) => other.to_owned(),
        None => "application/octet-stream".to_owned(),
    }
}

fn unsatisfiable(length: u64) -> Response {
    let mut response = empty(StatusCode::RANGE_NOT_SATISFIABLE);
    set(&mut response, header::CONTENT_RANGE, &format!("bytes */{length}"));
    response
}

/// The links of a folder.
pub(crate) fn list(path: &str, entries: &[Entry], has_parent: bool) -> Response {
    let mut response =
        Response::new(ResponseHead::new(StatusCode::OK), Body::from(listing::page(path, entries, has_parent)));
    set(&mut response, header::CONTENT_TYPE, "text/html; charset=utf-8");
    set(&mut response, header::CONTENT_SECURITY_POLICY, "default-src 'none'");
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

/// To the same path with a slash at its end. Only to one that cannot be taken for another host.
pub(crate) fn moved(request: &RequestHead) -> Response {
    let (path, query) = (request.path(), request.query());
    let is_path = path.starts_with('/') && !path.starts_with("//") && !path.contains('\\');
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    match HeaderValue::from_str(&format!("{path}/{query}")) {
        Ok(location) if is_path => {
            let mut response = empty(StatusCode::MOVED_PERMANENTLY);
            response.head_mut().headers_mut().append(header::LOCATION, location);
            response
        }
        _ => failed(StatusCode::NOT_FOUND),
    }
}

/// Only GET and HEAD.
pub(crate) fn not_allowed() -> Response {
    let mut response = failed(StatusCode::METHOD_NOT_ALLOWED);
    set(&mut response, header::ALLOW, "GET, HEAD");
    response
}

/// A status, and the words for it.
pub(crate) fn failed(status: StatusCode) -> Response {
    Response::text(status, format!("{}\n", status.canonical_reason().unwrap_or_default()))
}

fn empty(status: StatusCode) -> Response {
    Response::status(status)
}

/// Adds a field whose value was made here, of what fields can hold.
pub(crate) fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.head_mut().headers_mut().append(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn only_paths_of_this_host_are_moved_to() {
        let location = |target: &str| {
            let response = moved(&RequestHead::new(Method::GET, target).unwrap());
            response.head().headers().get_str("location").map(str::to_owned)
        };
        assert_eq!(location("/a").as_deref(), Some("/a/"));
        assert_eq!(location("/a/b%20c?x=1").as_deref(), Some("/a/b%20c/?x=1"));
        assert_eq!(location("http://h/a").as_deref(), Some("/a/"));
        for evil in ["//evil.example", "//evil.example/a", "/\\evil.example", "http://h//evil.example"] {
            assert_eq!(location(evil), None, "{evil}");
        }
    }

    #[test]
    fn text_has_a_charset() {
        let found = |name: &str| FoundFile {
            file: Arc::new(std::fs::File::open("/dev/null").unwrap()),
            length: 0,
            modified: None,
            coding: None,
            media_type: mime_guess::from_path(name).first_raw(),
        };
        for (name, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.CSS", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.png", "image/png"),
            ("a.wasm", "application/wasm"),
            ("a.svg", "image/svg+xml"),
            ("a.nothing", "application/octet-stream"),
            ("a", "application/octet-stream"),
        ] {
            assert_eq!(media_type(&found(name)), expected, "{name}");
        }
    }
}
