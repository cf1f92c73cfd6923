//! Names that users choose, and references to them.

use crate::decode::Cursor;

/// The name of an upstream that exists.
pub(super) fn upstream_reference(cursor: Cursor<'_>) -> Option<String> {
    upstream_named(cursor.string("the name of an upstream")?, cursor)
}

/// The name of an upstream that has connections to give: one of backends.
pub(super) fn cluster_reference(cursor: Cursor<'_>) -> Option<String> {
    let name = upstream_reference(cursor)?;
    match cursor.report().is_folder(&name) {
        true => cursor.fail(format!("{name:?} is a folder of files, which only answers HTTP requests")),
        false => Some(name),
    }
}

/// The same when the name is a key; `cursor` is where to complain.
pub(super) fn upstream_named(name: &str, cursor: Cursor<'_>) -> Option<String> {
    match cursor.report().upstreams() {
        Some(names) if !names.contains(name) => {
            cursor.unknown("no upstream named", name, names.iter().map(String::as_str))
        }
        _ => Some(name.to_owned()),
    }
}

/// An entry whose key is a name of the user's choice. Names appear in logs and metrics, so they stay printable.
pub(super) fn named<T>(name: &str, value: Cursor<'_>, read: impl FnOnce(Cursor<'_>) -> Option<T>) -> Option<T> {
    if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        value.fail::<()>("a name must not be empty, nor hold spaces or control characters");
    }
    read(value)
}
