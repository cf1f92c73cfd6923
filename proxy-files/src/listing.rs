//! The entries of a folder, for people.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustix::fs::{AtFlags, Dir, FileType, statat};

use crate::wanted::is_name;

/// What a folder holds: its name, as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Folders come first.
    pub(crate) is_file: bool,
    pub(crate) name: Vec<u8>,
}

/// A page that holds more is of no use to anybody, and a folder may hold millions.
const MOST: usize = 10_000;

/// Everything but what no reference and no page gives a meaning.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The files and folders that could be asked for, in order; the first 10,000 that the system names.
pub(crate) fn read(folder: &File, hidden: bool, follow_links: bool) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !is_name(name) || name.starts_with(b".") && !hidden {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => type_of(folder, name, AtFlags::SYMLINK_NOFOLLOW),
            kind => kind,
        };
        let kind = match kind {
            FileType::Symlink if follow_links => type_of(folder, name, AtFlags::empty()),
            kind => kind,
        };
        if matches!(kind, FileType::RegularFile | FileType::Directory) {
            entries.push(Entry { is_file: kind == FileType::RegularFile, name: name.to_owned() });
        }
        if entries.len() == MOST {
            break;
        }
    }
    entries.sort_unstable();
    Ok(entries)
}

fn type_of(folder: &File, name: &[u8], flags: AtFlags) -> FileType {
    let found = statat(folder, OsStr::from_bytes(name), flags);
    found.map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.st_mode))
}

/// A page of links. `path` is shown as the request spells it.
pub(crate) fn page(path: &str, entries: &[Entry], has_parent: bool) -> String {
    let title = text(path);
    let mut page = format!(
        "<!doctype html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head><body><h1>{title}</h1>\n<ul>\n"
    );
    if has_parent {
        page.push_str("<li><a href=\"../\">../</a></li>\n");
    }
    for entry in entries {
        // Behind "./" no name is taken for a scheme.
        let (target, slash) = (percent_encode(&entry.name, ESCAPED), if entry.is_file { "" } else { "/" });
        let name = text(&String::from_utf8_lossy(&entry.name));
        let _ = writeln!(page, "<li><a href=\"./{target}{slash}\">{name}{slash}</a></li>");
    }
    page.push_str("</ul>\n");
    if entries.len() == MOST {
        let _ = writeln!(page, "<p>There may be more than these {MOST}.</p>");
    }
    page.push_str("</body></html>\n");
    page
}

/// Text that is nothing but text in a page, in an attribute, too.
fn text(raw: &str) -> String {
    let mut safe = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn file(name: &[u8]) -> Entry {
        Entry { is_file: true, name: name.to_vec() }
    }

    #[test]
    fn names_are_links_and_nothing_else() {
        let entries = [
            Entry { is_file: false, name: b"a b".to_vec() },
            file(b"<script>alert(1)</script>"),
            file(b"javascript:alert(1)"),
            file(b"\"onclick='x'"),
            file(b"a?b#c%20&amp;"),
            file(b"\xff"),
        ];
        let page = page("/<x>/", &entries, true);
        for expected in [
            "<h1>/&lt;x&gt;/</h1>",
            "<a href=\"../\">../</a>",
            "<a href=\"./a%20b/\">a b/</a>",
            "<a href=\"./%3Cscript%3Ealert%281%29%3C%2Fscript%3E\">&lt;script&gt;alert(1)&lt;/script&gt;</a>",
            "<a href=\"./javascript%3Aalert%281%29\">javascript:alert(1)</a>",
            "<a href=\"./%22onclick%3D%27x%27\">&quot;onclick=&#39;x&#39;</a>",
            "<a href=\"./a%3Fb%23c%2520%26amp%3B\">a?b#c%20&amp;amp;</a>",
            "<a href=\"./%FF\">\u{fffd}</a>",
        ] {
            assert!(page.contains(expected), "{expected} in {page}");
        }
    }

    proptest! {
        /// A page has the same elements whatever names are in it.
        #[test]
        fn no_name_makes_an_element(name in proptest::collection::vec(any::<u8>(), 1..30)) {
            let tags = |page: &str| (page.matches('<').count(), page.matches('>').count(), page.matches('"').count());
            prop_assert_eq!(tags(&page("/", &[file(&name)], false)), tags(&page("/", &[file(b"x")], false)));
        }
    }
}
