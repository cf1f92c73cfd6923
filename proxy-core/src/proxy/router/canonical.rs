//! Paths and parameters as rules compare them.

use std::cell::RefCell;
use std::iter;

thread_local! {
    /// Grows to the longest path that was canonicalised; targets are limited.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with the path decoded once, slashes merged and dot segments resolved.
pub(crate) fn with<R>(path: &str, f: impl FnOnce(&[u8]) -> R) -> R {
    if is_canonical(path.as_bytes()) {
        return f(path.as_bytes());
    }
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        write(path.as_bytes(), scratch);
        f(scratch)
    })
}

/// Whether there is surely nothing to do. `*`, and the empty path of CONNECT, stay as they are.
fn is_canonical(path: &[u8]) -> bool {
    let mut before = 0;
    let plain = |byte: &u8| {
        let special = *byte == b'%' || (before == b'/' && matches!(byte, b'/' | b'.'));
        before = *byte;
        !special
    };
    path.first() != Some(&b'/') || path.iter().all(plain)
}

fn write(path: &[u8], out: &mut Vec<u8>) {
    for byte in decode(path) {
        if byte != b'/' {
            out.push(byte);
            continue;
        }
        end_segment(out);
        if out.last() != Some(&b'/') {
            out.push(b'/');
        }
    }
    end_segment(out);
}

/// Resolves the last segment if it is a dot segment (RFC 3986 §5.2.4); the slash before it stays.
fn end_segment(out: &mut Vec<u8>) {
    let start = last_slash(out).map_or(0, |slash| slash + 1);
    match &out[start..] {
        b"." => out.truncate(start),
        b".." => {
            out.truncate(start.saturating_sub(1));
            let parent = last_slash(out).unwrap_or(0);
            out.truncate(parent);
            out.push(b'/');
        }
        _ => {}
    }
}

fn last_slash(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte == b'/')
}

/// Percent-decoded once. What is no escape stays as it is.
fn decode(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    iter::from_fn(move || {
        let (byte, behind) = match rest {
            [] => return None,
            [b'%', high, low, behind @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, behind),
                _ => (b'%', &rest[1..]),
            },
            [byte, behind @ ..] => (*byte, behind),
        };
        rest = behind;
        Some(byte)
    })
}

/// As forms encode parameters: a plus sign is a space, too.
pub(crate) fn decode_form(text: &[u8]) -> impl Iterator<Item = u8> {
    let pieces = text.split(|byte| *byte == b'+').enumerate();
    pieces.flat_map(|(index, piece)| (index > 0).then_some(b' ').into_iter().chain(decode(piece)))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn canonical(path: &str) -> String {
        with(path, |path| String::from_utf8_lossy(path).into_owned())
    }

    #[test]
    fn paths_are_decoded_merged_and_resolved() {
        let check = |path: &str, expected: &str| assert_eq!(canonical(path), expected, "{path}");
        check("/", "/");
        check("/a/b", "/a/b");
        check("*", "*");
        check("", "");
        check("//a///b//", "/a/b/");
        check("/a/./b/.", "/a/b/");
        check("/a/../b", "/b");
        check("/a/b/..", "/a/");
        check("/a/..", "/");
        check("/..", "/");
        check("/../../a", "/a");
        check("/.../..a/a..", "/.../..a/a..");
        check("/.well-known/x", "/.well-known/x");
        check("/%61dmin", "/admin");
        check("/x/%2e%2e/admin", "/admin");
        check("/x/..%2Fadmin", "/admin");
        check("/x%2f.%2e%2fadmin", "/admin");
        check("/%252e%252e/a", "/%2e%2e/a");
        check("/100%", "/100%");
        check("/%zz/%4", "/%zz/%4");
        check("/%C3%A4", "/ä");
        check("/%ff", "/\u{fffd}");
    }

    #[test]
    fn forms_have_plus_signs_for_spaces() {
        let check = |text: &str, expected: &str| {
            let decoded: Vec<_> = decode_form(text.as_bytes()).collect();
            assert_eq!(String::from_utf8_lossy(&decoded), expected, "{text}");
        };
        check("a+b++", "a b  ");
        check("+%2B", " +");
        check("%2+0", "%2 0");
        check("", "");
    }

    /// The same by splitting into segments.
    fn model(path: &str) -> Vec<u8> {
        let decoded: Vec<_> = decode(path.as_bytes()).collect();
        let mut stack: Vec<&[u8]> = Vec::new();
        let segments: Vec<_> = decoded[1..].split(|byte| *byte == b'/').collect();
        for segment in &segments {
            match *segment {
                b"" | b"." => {}
                b".." => drop(stack.pop()),
                segment => stack.push(segment),
            }
        }
        let directory = matches!(segments.last(), Some(&(b"" | b"." | b"..")));
        let tail = if directory && !stack.is_empty() { "/" } else { "" };
        [b"/", &*stack.join(&b'/'), tail.as_bytes()].concat()
    }

    proptest! {
        #[test]
        fn it_is_what_splitting_into_segments_gives(path in "/([ab/.]|%2e|%2F|%25|%|%61){0,12}") {
            prop_assert_eq!(with(&path, <[u8]>::to_vec), model(&path));
        }

        #[test]
        fn a_canonical_path_without_escapes_stays(path in "/[ab/.]{0,12}") {
            let once = canonical(&path);
            prop_assert_eq!(canonical(&once), once);
        }
    }
}
