//! Patterns for paths.

use regex_lite::{Regex, RegexBuilder};

use super::RouteError;
use crate::proxy::router::canonical;

/// Searching takes time in proportion to this and to the path: a bound on what one rule may cost.
const MAX_REGEX_BYTES: usize = 64 * 1024;

/// Which paths a route is for. Texts are canonical.
#[derive(Clone, Debug)]
pub(crate) enum Path {
    Any,
    Regex(Regex),
    Prefix(Box<[u8]>),
    Exact(Box<[u8]>),
}

impl Path {
    pub(crate) fn exact(path: &str) -> Result<Self, RouteError> {
        canonical_rule(path).map(Path::Exact)
    }

    pub(crate) fn prefix(prefix: &str) -> Result<Self, RouteError> {
        canonical_rule(prefix).map(Path::Prefix)
    }

    pub(crate) fn regex(pattern: &str) -> Result<Self, RouteError> {
        // Compiled once without the frame: `a)(b` is no expression, though it is one within it.
        let framed = format!("^(?:{pattern})$");
        let compiled = compile(pattern).and_then(|_| compile(&framed));
        compiled.map(Path::Regex).map_err(|error| RouteError::regex(pattern, &error))
    }

    /// Whether a canonical path is one of these.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Path::Any => true,
            Path::Exact(exact) => **exact == *path,
            Path::Prefix(prefix) => has_prefix(path, prefix),
            Path::Regex(regex) => regex.is_match(&String::from_utf8_lossy(path)),
        }
    }

    /// The greater, the more specific.
    pub(crate) fn rank(&self) -> (u8, usize) {
        match self {
            Path::Any => (0, 0),
            Path::Regex(_) => (1, 0),
            Path::Prefix(prefix) => (2, prefix.len()),
            Path::Exact(_) => (3, 0),
        }
    }
}

fn compile(pattern: &str) -> Result<Regex, regex_lite::Error> {
    // Without line ends in the dot, `/admin/.*` would not match `/admin/%0A`.
    RegexBuilder::new(pattern).dot_matches_new_line(true).size_limit(MAX_REGEX_BYTES).build()
}

fn canonical_rule(path: &str) -> Result<Box<[u8]>, RouteError> {
    match path.starts_with('/') {
        true => Ok(canonical::with(path, |path| Box::from(path))),
        false => Err(RouteError::path(path)),
    }
}

/// On a segment boundary.
fn has_prefix(path: &[u8], prefix: &[u8]) -> bool {
    match path.strip_prefix(prefix) {
        Some([] | [b'/', ..]) => true,
        Some(_) => prefix.ends_with(b"/"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_by_segments() {
        let check = |path: &Path, text: &str, expected| {
            assert_eq!(path.matches(text.as_bytes()), expected, "{path:?} {text}");
        };
        let slash = Path::prefix("/v1/").unwrap();
        check(&slash, "/v1/x", true);
        check(&slash, "/v1/", true);
        check(&slash, "/v1", false);
        let bare = Path::prefix("/v1").unwrap();
        check(&bare, "/v1", true);
        check(&bare, "/v1/x", true);
        check(&bare, "/v12", false);
        check(&bare, "/V1", false);
        check(&Path::prefix("/").unwrap(), "/any", true);
        check(&Path::prefix("/").unwrap(), "*", false);
        check(&Path::exact("/a%20b/../c%2Fd").unwrap(), "/c/d", true);
        check(&Path::exact("/100%").unwrap(), "/100%", true);
        check(&Path::exact("/a").unwrap(), "/a/", false);
    }

    #[test]
    fn expressions_match_from_end_to_end() {
        let check = |pattern: &str, path: &[u8], expected| {
            assert_eq!(Path::regex(pattern).unwrap().matches(path), expected, "{pattern}");
        };
        check(r"/users/\d+", b"/users/42", true);
        check(r"/users/\d+", b"/users/42/x", false);
        check(r"/users/\d+", b"/x/users/42", false);
        check("/a|/b", b"/b", true);
        check("/a|/b", b"/bc", false);
        check("/a/.*", b"/a/\n", true);
        check("/a/.*", b"/a/\xff", true);
        check("(?i)/A", b"/a", true);
        check(r"/(?:api|internal)/v[0-9]{1,3}/[\w.-]+(?:/[^/]+){0,8}", b"/api/v12/users/1", true);
    }

    #[test]
    fn bad_rules_are_refused() {
        assert!(Path::regex("a)(b").is_err());
        assert!(Path::regex("(").is_err());
        assert!(Path::regex("(?:a{200}){200}").is_err());
        assert!(Path::prefix("v1").is_err());
        assert!(Path::exact("").is_err());
    }
}
