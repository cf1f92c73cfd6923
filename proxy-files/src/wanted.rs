//! From the path of a request to the path of a file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use percent_encoding::percent_decode_str;

/// What a request asks for, relative to the folder: every segment is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    path: Vec<u8>,
    is_folder: bool,
}

/// Why a request asks for nothing that could be there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoName;

impl Wanted {
    /// Reads a path as it stands in a request. Segments of `prefix` come first, and are taken off.
    pub(crate) fn parse(path: &str, prefix: &[Vec<u8>], hidden: bool) -> Result<Self, NoName> {
        let path = path.strip_prefix('/').ok_or(NoName)?;
        let (path, ends_in_slash) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, false),
        };
        let mut names = match path {
            // The root itself; "//" is none.
            "" if ends_in_slash => return Err(NoName),
            "" => Vec::new(),
            path => path.split('/').map(name).collect::<Result<Vec<_>, _>>()?,
        };
        if !names.starts_with(prefix) {
            return Err(NoName);
        }
        let is_folder = ends_in_slash || path.is_empty();
        names.drain(..prefix.len());
        if !hidden && names.iter().any(|name| name.starts_with(b".")) {
            return Err(NoName);
        }
        Ok(Wanted { path: names.join(&b'/'), is_folder })
    }

    /// The path beneath the folder; empty for the folder itself.
    pub(crate) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// Whether it asks for a folder: it ends in a slash.
    pub(crate) fn is_folder(&self) -> bool {
        self.is_folder
    }
}

/// The segments of a prefix such as `/static/`.
pub(crate) fn prefix(path: &str) -> Option<Vec<Vec<u8>>> {
    match path.strip_prefix('/')? {
        "" => Some(Vec::new()),
        path => path.strip_suffix('/').unwrap_or(path).split('/').map(|segment| name(segment).ok()).collect(),
    }
}

/// Whether this is a name that a file can have.
pub(crate) fn is_name(name: &[u8]) -> bool {
    let bad = |byte: &u8| matches!(byte, b'/' | b'\\') || byte.is_ascii_control();
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(bad)
}

/// A segment, decoded once.
fn name(segment: &str) -> Result<Vec<u8>, NoName> {
    if !is_well_escaped(segment.as_bytes()) {
        return Err(NoName);
    }
    let name: Vec<u8> = percent_decode_str(segment).collect();
    if is_name(&name) { Ok(name) } else { Err(NoName) }
}

/// Whether two digits follow every percent sign.
fn is_well_escaped(segment: &[u8]) -> bool {
    let mut pieces = segment.split(|byte| *byte == b'%');
    pieces.next();
    pieces.all(|piece| matches!(piece, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn parse(path: &str) -> Option<(String, bool)> {
        let wanted = Wanted::parse(path, &[], false).ok()?;
        Some((wanted.path().to_string_lossy().into_owned(), wanted.is_folder()))
    }

    #[test]
    fn good_paths_name_a_file_or_a_folder() {
        let check =
            |path: &str, name: &str, is_folder| assert_eq!(parse(path), Some((name.to_owned(), is_folder)), "{path}");
        check("/", "", true);
        check("/a", "a", false);
        check("/a/", "a", true);
        check("/a/b.html", "a/b.html", false);
        check("/a%20b/%C3%A9", "a b/é", false);
        check("/100%25", "100%", false);
        check("/%2561", "%61", false);
        check("/a..b/c...", "a..b/c...", false);
        check("/a:b;c=d", "a:b;c=d", false);
    }

    #[test]
    fn bad_paths_name_nothing() {
        let bad = [
            "",
            "*",
            "a",
            "//",
            "///",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/./a",
            "/../a",
            "/a/..",
            "/a/../b",
            "/a/.",
            "/%2e",
            "/%2e%2e",
            "/%2E%2e/a",
            "/.%2e/a",
            "/a/%2e%2e/%2e%2e/etc/passwd",
            "/a%2fb",
            "/a%2Fb",
            "/..%2f..%2fetc/passwd",
            "/%2fetc/passwd",
            "/a%00",
            "/a%00.html",
            "/%00",
            "/a\\b",
            "/a%5cb",
            "/..%5c..",
            "/..\\..",
            "/a%0d%0aX:b",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/%u002e%u002e",
            "/a%-1b",
            "/.git/config",
            "/.env",
            "/a/.htaccess",
            "/%2egit",
            "/.well-known/x",
        ];
        for path in bad {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn prefixes_are_taken_off_by_segment() {
        let check = |path: &str, expected: Option<(&str, bool)>| {
            let wanted = Wanted::parse(path, &prefix("/st/x/").unwrap(), false).ok();
            let seen = wanted.as_ref().map(|wanted| (wanted.path().to_str().unwrap(), wanted.is_folder()));
            assert_eq!(seen, expected, "{path}");
        };
        check("/st/x/a", Some(("a", false)));
        check("/%73t/x/a/", Some(("a", true)));
        check("/st/x/", Some(("", true)));
        check("/st/x", Some(("", false)));
        check("/st/xa", None);
        check("/st", None);
        check("/", None);
        check("/st/x/../a", None);
        for bad in ["", "st", "/a//b", "/..", "/a%2fb", "//"] {
            assert_eq!(prefix(bad), None, "{bad}");
        }
        assert_eq!(prefix("/"), Some(vec![]));
        assert_eq!(prefix("/.hidden"), Some(vec![b".hidden".to_vec()]));
    }

    #[test]
    fn hidden_names_are_there_where_they_are_wanted() {
        assert!(Wanted::parse("/.well-known/a", &[], true).is_ok());
        assert!(Wanted::parse("/../a", &[], true).is_err());
        assert!(Wanted::parse("/.%2e/a", &[], true).is_err());
    }

    proptest! {
        /// Whatever is asked for, no segment leads up, and none is empty or hidden.
        #[test]
        fn every_segment_is_a_name(path in "/([./%25c\\\\]|%2[eEfF]|%5c|%00|[a-c]|\u{e9}){0,12}") {
            if let Ok(wanted) = Wanted::parse(&path, &[], false) {
                let bytes = wanted.path().as_os_str().as_bytes();
                let mut segments = bytes.split(|byte| *byte == b'/').filter(|_| !bytes.is_empty());
                prop_assert!(segments.all(|segment| is_name(segment) && segment[0] != b'.'), "{path:?}");
                prop_assert!(!wanted.path().is_absolute());
            }
        }

        /// A name that is a name is found under its escaped spelling.
        #[test]
        fn every_name_has_a_path(name in proptest::collection::vec(any::<u8>(), 1..20)) {
            let path: String = std::iter::once("/".to_owned()).chain(name.iter().map(|byte| format!("%{byte:02x}"))).collect();
            let found = Wanted::parse(&path, &[], true).map(|wanted| wanted.path().as_os_str().as_bytes().to_vec());
            prop_assert_eq!(found.ok(), is_name(&name).then_some(name));
        }
    }
}
