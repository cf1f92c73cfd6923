//! What is wrong with a route.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// What is wrong with a [`Route`](crate::Route).
///
/// ```
/// let error = proxy_core::Route::to("api").host("api.example.com:80").unwrap_err();
/// assert_eq!(error.to_string(), r#"host "api.example.com:80": routes take every port, leave it out"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    what: &'static str,
    text: String,
    reason: Cow<'static, str>,
}

impl RouteError {
    pub(super) fn host(text: &str, reason: &'static str) -> Self {
        RouteError { what: "host", text: text.into(), reason: reason.into() }
    }

    pub(super) fn path(text: &str) -> Self {
        RouteError { what: "path", text: text.into(), reason: "it has to begin with a slash".into() }
    }

    pub(super) fn regex(text: &str, error: &regex_lite::Error) -> Self {
        RouteError { what: "path expression", text: text.into(), reason: error.to_string().into() }
    }

    pub(super) fn header(text: &str) -> Self {
        RouteError { what: "header", text: text.into(), reason: "not a field name".into() }
    }

    pub(super) fn split(reason: &'static str) -> Self {
        RouteError { what: "split", text: String::new(), reason: reason.into() }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        if self.what != "split" {
            write!(f, " {:?}", self.text)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl StdError for RouteError {}
