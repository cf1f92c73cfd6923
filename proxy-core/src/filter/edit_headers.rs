//! Sets, adds and removes fields.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;

use http::{HeaderName, HeaderValue, header};

use super::{Continue, Filter, Flow};
use crate::{Context, Headers, Request, Response, Result};

/// Sets, adds and removes fields of requests and responses.
///
/// Edits of the request are seen by filters behind this one, and by the upstream; edits of the
/// response by filters before it, and by the client. Our own answers (404, 502) are edited, too.
///
/// ```
/// use proxy_core::{EditHeaders, HeaderEdits};
///
/// let filter = EditHeaders::new()
///     .request(HeaderEdits::new().set("x-env", "prod")?.remove("x-debug")?)
///     .response(HeaderEdits::new().set("x-frame-options", "DENY")?.remove("server")?);
/// # let _: &dyn proxy_core::Filter = &filter;
/// # Ok::<(), proxy_core::HeaderEditError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct EditHeaders {
    request: HeaderEdits,
    response: HeaderEdits,
}

impl EditHeaders {
    /// No edits.
    pub fn new() -> Self {
        EditHeaders::default()
    }

    /// The edits of every request, in place of those given before.
    #[must_use]
    pub fn request(mut self, edits: HeaderEdits) -> Self {
        self.request = edits;
        self
    }

    /// The edits of every response, in place of those given before.
    #[must_use]
    pub fn response(mut self, edits: HeaderEdits) -> Self {
        self.response = edits;
        self
    }
}

impl Filter for EditHeaders {
    // Not `async`: it does not wait, so its future takes no memory. Not `on_forward`: filters behind
    // this one, routes and selectors are to see the edits.
    fn on_request<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        request: &'life1 mut Request,
        _: &'life2 mut Context,
    ) -> Pin<Box<dyn Future<Output = Result<Flow>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
    {
        self.request.apply(request.head_mut().headers_mut());
        Box::pin(Continue)
    }

    fn on_response(&self, response: &mut Response, _: &mut Context) -> Result<()> {
        self.response.apply(response.head_mut().headers_mut());
        Ok(())
    }
}

/// Edits of fields, made in the order they were given.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits(Vec<Edit>);

#[derive(Clone, Debug)]
enum Edit {
    Set(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
    Remove(HeaderName),
}

impl HeaderEdits {
    /// No edits.
    pub fn new() -> Self {
        HeaderEdits::default()
    }

    /// Sets the one field of this name: what was there of it goes.
    ///
    /// # Errors
    /// If it is no field name or no field value, or the engine's own: what frames a message
    /// (`Content-Length`, `Transfer-Encoding`, `Trailer`) or is for one connection only
    /// (`Connection`, `Keep-Alive`, `Proxy-Connection`, `TE`, `Upgrade`, `Expect`).
    pub fn set(self, name: &str, value: &str) -> Result<Self, HeaderEditError> {
        let edit = Edit::Set(parse_name(name)?, parse_value(name, value)?);
        Ok(self.and(edit))
    }

    /// Adds a field beside those of the same name.
    ///
    /// # Errors
    /// As for [`set`](Self::set); also for `Host`, of which there is one.
    pub fn add(self, name: &str, value: &str) -> Result<Self, HeaderEditError> {
        let edit = Edit::Add(parse_name(name).and_then(refuse_host)?, parse_value(name, value)?);
        Ok(self.and(edit))
    }

    /// Removes every field of this name.
    ///
    /// # Errors
    /// As for [`set`](Self::set); also for `Host`, which every request has.
    pub fn remove(self, name: &str) -> Result<Self, HeaderEditError> {
        let edit = Edit::Remove(parse_name(name).and_then(refuse_host)?);
        Ok(self.and(edit))
    }

    fn and(mut self, edit: Edit) -> Self {
        self.0.push(edit);
        self
    }

    fn apply(&self, headers: &mut Headers) {
        for edit in &self.0 {
            if let Edit::Set(name, _) | Edit::Remove(name) = edit {
                headers.remove(name);
            }
            if let Edit::Set(name, value) | Edit::Add(name, value) = edit {
                headers.add(name.as_str().as_bytes(), value.as_bytes());
            }
        }
    }
}

/// Why a field cannot be edited so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderEditError {
    name: String,
    reason: &'static str,
}

impl fmt::Display for HeaderEditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "header {:?}: {}", self.name, self.reason)
    }
}

impl StdError for HeaderEditError {}

fn parse_name(text: &str) -> Result<HeaderName, HeaderEditError> {
    const OURS: [&str; 9] = [
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let bad = |reason| HeaderEditError { name: text.to_owned(), reason };
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| bad("not a field name"))?;
    match OURS.contains(&name.as_str()) {
        true => Err(bad("the proxy itself decides about it")),
        false => Ok(name),
    }
}

fn refuse_host(name: HeaderName) -> Result<HeaderName, HeaderEditError> {
    match name == header::HOST {
        true => Err(HeaderEditError { name: name.to_string(), reason: "a request has exactly one: set it" }),
        false => Ok(name),
    }
}

fn parse_value(name: &str, text: &str) -> Result<HeaderValue, HeaderEditError> {
    let bad = |reason| HeaderEditError { name: name.to_owned(), reason };
    if text.trim_matches([' ', '\t']) != text {
        return Err(bad("the value begins or ends with white space"));
    }
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| bad("not a field value"))
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;
    use crate::{Body, RequestHead};

    fn edits(f: impl FnOnce(HeaderEdits) -> Result<HeaderEdits, HeaderEditError>) -> HeaderEdits {
        f(HeaderEdits::new()).unwrap()
    }

    fn after(edits: &HeaderEdits, fields: &[(&'static str, &'static str)]) -> String {
        let mut head = RequestHead::new(Method::GET, "/").unwrap();
        for (name, value) in fields {
            head.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        edits.apply(head.headers_mut());
        let mut out = Vec::new();
        head.headers().write_to(&mut out);
        String::from_utf8(out).unwrap().replace("\r\n", "\n")
    }

    #[test]
    fn edits_are_made_in_order() {
        let check = |edits: HeaderEdits, expected: &str| {
            assert_eq!(after(&edits, &[("a", "1"), ("b", "2"), ("a", "3")]), expected, "{edits:?}");
        };
        check(HeaderEdits::new(), "a: 1\nb: 2\na: 3\n");
        check(edits(|edits| edits.set("A", "4")), "b: 2\na: 4\n");
        check(edits(|edits| edits.add("a", "4")), "a: 1\nb: 2\na: 3\na: 4\n");
        check(edits(|edits| edits.remove("A")), "b: 2\n");
        check(edits(|edits| edits.add("a", "4")?.remove("a")?.set("b", "5")), "b: 5\n");
        check(edits(|edits| edits.set("host", "h")?.set("c", "ü")), "a: 1\nb: 2\na: 3\nhost: h\nc: ü\n");
    }

    #[test]
    fn what_is_no_edit_says_why() {
        let check = |result: Result<HeaderEdits, HeaderEditError>, expected: &str| {
            assert_eq!(result.unwrap_err().to_string(), expected);
        };
        let none = HeaderEdits::new;
        check(none().set("a b", "1"), r#"header "a b": not a field name"#);
        check(none().remove(""), r#"header "": not a field name"#);
        check(none().set("a", "1\r\nb: 2"), r#"header "a": not a field value"#);
        check(none().add("a", " 1"), r#"header "a": the value begins or ends with white space"#);
        check(none().set("Content-Length", "1"), r#"header "Content-Length": the proxy itself decides about it"#);
        check(none().remove("connection"), r#"header "connection": the proxy itself decides about it"#);
        check(none().add("Host", "h"), r#"header "host": a request has exactly one: set it"#);
        check(none().remove("host"), r#"header "host": a request has exactly one: set it"#);
    }

    #[tokio::test]
    async fn requests_and_responses_have_edits_of_their_own() {
        let filter = EditHeaders::new()
            .request(edits(|edits| edits.set("x-request", "1")))
            .response(edits(|edits| edits.set("x-response", "2")));
        let mut context = Context::internal();
        let mut request = Request::new(RequestHead::new(Method::GET, "/").unwrap(), Body::empty());
        assert!(matches!(filter.on_request(&mut request, &mut context).await, Ok(Flow::Continue)));
        let mut response = Response::status(StatusCode::OK);
        filter.on_response(&mut response, &mut context).unwrap();
        let names = |headers: &Headers| headers.iter().map(|(name, _)| name.to_vec()).collect::<Vec<_>>();
        assert_eq!(names(request.head().headers()), [b"x-request"]);
        assert_eq!(names(response.head().headers()), [b"x-response"]);
    }
}
