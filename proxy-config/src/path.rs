//! The way from the root to a value, printed only when something is wrong there.

use std::fmt;

/// A linked list on the stack: decoding a file without mistakes allocates no path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) if is_plain(key) => f.write_str(key),
            Path::Key(parent, key) if is_plain(key) => write!(f, "{parent}.{key}"),
            Path::Key(parent, key) => write!(f, "{parent}[{key:?}]"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Keys that hold dots or brackets are quoted, or two paths could look the same.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'))
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn prints_keys_indices_and_odd_keys() {
        let web = Path::Key(&Path::Root, "web-1");
        let dotted = Path::Key(&web, "a.b");
        let second = Path::Index(&dotted, 1);
        assert_eq!(Path::Root.to_string(), "");
        assert_eq!(Path::Key(&second, "x").to_string(), r#"web-1["a.b"][1].x"#);
    }
}
