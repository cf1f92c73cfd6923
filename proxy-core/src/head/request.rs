//! The head of a request.

use std::fmt;

use http::{Extensions, Method, Version};

use super::raw::{SharedHead, Start};
use super::{Headers, Known};
use crate::http1::tokens::TARGET;
use crate::{Error, ErrorKind, Result};

/// The head of a request: method, target, version and fields.
///
/// The target is kept byte for byte as the client sent it; nothing is normalised or re-encoded.
#[derive(Clone)]
pub struct RequestHead {
    headers: Headers,
    overrides: Option<Box<Overrides>>,
    extensions: Extensions,
}

/// Method and target where they are not the client's. Rare, so out of line.
#[derive(Clone, Default)]
struct Overrides {
    method: Option<Method>,
    target: Option<Box<[u8]>>,
}

impl RequestHead {
    /// A head with no fields, for requests a plugin makes itself.
    ///
    /// # Errors
    /// If the target is empty or has bytes a target cannot have.
    pub fn new(method: Method, target: &str) -> Result<Self> {
        check_target(target.as_bytes())?;
        let raw = SharedHead::build(|raw| {
            raw.bytes.extend_from_slice(method.as_str().as_bytes());
            raw.bytes.push(b' ');
            let start = raw.bytes.len();
            raw.bytes.extend_from_slice(target.as_bytes());
            let target = super::Span::new(start, raw.bytes.len());
            raw.bytes.extend_from_slice(b" HTTP/1.1\r\n");
            raw.line_end = raw.bytes.len() as u32;
            raw.start = Start::Request { method, target };
            Ok::<(), Error>(())
        })?;
        Ok(RequestHead::from_raw(raw))
    }

    pub(crate) fn from_raw(raw: SharedHead) -> Self {
        RequestHead { headers: Headers::new(raw), overrides: None, extensions: Extensions::new() }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        static GET: Method = Method::GET;
        let changed = self.overrides.as_ref().and_then(|overrides| overrides.method.as_ref());
        match (changed, &self.headers.raw().start) {
            (Some(method), _) | (None, Start::Request { method, .. }) => method,
            _ => &GET,
        }
    }

    /// The request target as it stands in the request line.
    pub fn target(&self) -> &[u8] {
        let changed = self.overrides.as_ref().and_then(|overrides| overrides.target.as_deref());
        match (changed, &self.headers.raw().start) {
            (Some(target), _) => target,
            (None, Start::Request { target, .. }) => target.of(&self.headers.raw().bytes),
            _ => b"/",
        }
    }

    /// The path of the target, still percent-encoded; `*` for `OPTIONS *`, empty for CONNECT.
    pub fn path(&self) -> &str {
        if *self.method() == Method::CONNECT {
            return "";
        }
        split_target(self.origin_form()).0
    }

    /// The query of the target, without the question mark.
    pub fn query(&self) -> Option<&str> {
        split_target(self.origin_form()).1
    }

    /// The version the client spoke.
    pub fn version(&self) -> Version {
        self.headers.raw().version
    }

    /// The host the request is for, without its port: of an absolute target, or else of `Host`.
    pub fn host(&self) -> Option<&str> {
        self.authority().map(without_port)
    }

    /// The host and port the request is for: of an absolute target, or else of `Host`.
    pub fn authority(&self) -> Option<&str> {
        std::str::from_utf8(self.authority_bytes()?).ok()
    }

    pub(crate) fn authority_bytes(&self) -> Option<&[u8]> {
        match absolute_parts(self.target()) {
            Some((authority, _)) => Some(authority),
            None if *self.method() == Method::CONNECT => Some(self.target()),
            None => self.headers.first(Known::Host),
        }
    }

    /// The fields.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The fields, to be edited.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// The value of a cookie, as it stands in `Cookie`.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let pairs = self.headers.get_all("cookie").filter_map(|value| std::str::from_utf8(value).ok());
        pairs
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(candidate, value)| (candidate == name).then_some(value))
    }

    /// The first value of a query parameter, still percent-encoded; empty where it has no `=`.
    pub fn query_param(&self, name: &str) -> Option<&str> {
        let pairs = self.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find_map(|(candidate, value)| (candidate == name).then_some(value))
    }

    /// Sends another method than the client's.
    pub fn set_method(&mut self, method: Method) {
        self.overrides.get_or_insert_default().method = Some(method);
    }

    /// Sends another target than the client's, byte for byte.
    ///
    /// # Errors
    /// If it is empty or has bytes a target cannot have.
    pub fn set_target(&mut self, target: &str) -> Result<()> {
        check_target(target.as_bytes())?;
        self.overrides.get_or_insert_default().target = Some(target.as_bytes().into());
        Ok(())
    }

    /// What plugins attach to this head.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// What plugins attach to this head, to be changed.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// The target in the form an origin takes (RFC 9112 §3.2.1): an absolute one loses its authority.
    pub(crate) fn origin_form(&self) -> &[u8] {
        match absolute_parts(self.target()) {
            Some((_, path)) => path,
            None => self.target(),
        }
    }

    /// The head as it arrived, without the edits.
    pub(crate) fn pristine(&self) -> RequestHead {
        RequestHead::from_raw(self.headers.shared().clone())
    }

    /// Writes request line and fields for an origin, without the empty line.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        self.write_with(self.origin_form(), out);
    }

    /// The same for a proxy, with the target as it is (RFC 9112 §3.2.2).
    pub(crate) fn write_absolute_to(&self, out: &mut Vec<u8>) {
        self.write_with(self.target(), out);
    }

    fn write_with(&self, form: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.method().as_str().as_bytes());
        out.push(b' ');
        match form {
            b"" if *self.method() == Method::OPTIONS => out.push(b'*'),
            form @ (b"" | [b'?', ..]) => {
                out.push(b'/');
                out.extend_from_slice(form);
            }
            form => out.extend_from_slice(form),
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.headers.write_to(out);
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", self.method())
            .field("target", &String::from_utf8_lossy(self.target()))
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// Refuses what the parser refuses.
pub(super) fn check_target(target: &[u8]) -> Result<()> {
    match is_target(target) {
        true => Ok(()),
        false => Err(ErrorKind::BadTarget.into()),
    }
}

pub(crate) fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.iter().all(|byte| TARGET[usize::from(*byte)])
}

/// Authority and the rest of an absolute target; `None` for every other form.
pub(crate) fn absolute_parts(target: &[u8]) -> Option<(&[u8], &[u8])> {
    if target.first() == Some(&b'/') {
        return None;
    }
    let colon = target.windows(3).position(|window| window == b"://")?;
    if !is_scheme(&target[..colon]) {
        return None;
    }
    let rest = &target[colon + 3..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// RFC 3986 §3.1.
fn is_scheme(bytes: &[u8]) -> bool {
    let rest = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.iter().all(rest)
}

fn split_target(form: &[u8]) -> (&str, Option<&str>) {
    let text = std::str::from_utf8(form).unwrap_or("/");
    match text.split_once('?') {
        Some((path, query)) => (if path.is_empty() { "/" } else { path }, Some(query)),
        None => (if text.is_empty() { "/" } else { text }, None),
    }
}

fn without_port(authority: &str) -> &str {
    let end_of_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[end_of_host..].find(':') {
        Some(colon) => &authority[..end_of_host + colon],
        None => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_split_into_path_and_query() {
        let check = |target, path, query| {
            let head = RequestHead::new(Method::GET, target).unwrap();
            assert_eq!((head.path(), head.query()), (path, query), "{target}");
        };
        check("/a/b?c=d?e", "/a/b", Some("c=d?e"));
        check("/", "/", None);
        check("*", "*", None);
        check("http://h:80?x", "/", Some("x"));
        check("http://h/a", "/a", None);
        check("/x?u=http://h/", "/x", Some("u=http://h/"));
    }

    #[test]
    fn hosts_lose_their_port() {
        assert_eq!(without_port("a.b:80"), "a.b");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("a"), "a");
    }

    #[test]
    fn cookies_and_parameters_are_found_by_name() {
        let mut head = RequestHead::new(Method::GET, "/?a=1&b&c=3=4").unwrap();
        head.headers_mut().insert(http::header::COOKIE, http::HeaderValue::from_static("x=1; yy=2"));
        assert_eq!(head.cookie("yy"), Some("2"));
        assert_eq!(head.cookie("y"), None);
        assert_eq!(head.query_param("b"), Some(""));
        assert_eq!(head.query_param("c"), Some("3=4"));
        assert_eq!(head.query_param("d"), None);
    }

    #[test]
    fn an_absolute_target_reaches_the_origin_in_origin_form() {
        let head = RequestHead::new(Method::GET, "http://h?x").unwrap();
        let mut out = Vec::new();
        head.write_to(&mut out);
        assert_eq!(out, b"GET /?x HTTP/1.1\r\n");
    }
}
