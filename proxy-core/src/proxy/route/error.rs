//! What is wrong with a route.

use std::error::Error as StdError;
use std::fmt;

/// What is wrong with a [`Route`](crate::Route).
///
/// ```
/// let error = proxy_core::Route::to("api").host("api.example.com:80").unwrap_err();
/// assert_eq!(error.to_string(), r#"host "api.example.com:80": routes take every port, leave it out"#);
/// ```
#[derive(Debug)]
pub struct RouteError {
    what: &'static str,
    text: String,
    reason: &'static str,
    source: Option<regex_lite::Error>,
}

impl RouteError {
    pub(super) fn host(text: &str, reason: &'static str) -> Self {
        RouteError { what: "host", text: text.into(), reason, source: None }
    }

    pub(super) fn path(text: &str) -> Self {
        RouteError { what: "path", text: text.into(), reason: "it has to begin with a slash", source: None }
    }

    pub(super) fn regex(text: &str, source: regex_lite::Error) -> Self {
        RouteError { what: "regular expression", text: text.into(), reason: "not one", source: Some(source) }
    }

    pub(super) fn header(text: &str) -> Self {
        RouteError { what: "header", text: text.into(), reason: "not a field name", source: None }
    }

    pub(super) fn split(reason: &'static str) -> Self {
        RouteError { what: "split", text: String::new(), reason, source: None }
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

impl StdError for RouteError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
