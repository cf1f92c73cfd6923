//! Names that users choose, and references to them.

use crate::decode::{Cursor, Leads};

/// The name of an upstream that exists.
pub(super) fn upstream_reference(cursor: Cursor<'_>) -> Option<String> {
    upstream_named(cursor.string("the name of an upstream")?, cursor)
}

/// The same when the name is a key; `cursor` is where to complain.
pub(super) fn upstream_named(name: &str, cursor: Cursor<'_>) -> Option<String> {
    match known(name, cursor)? {
        // It would go wherever a client's `Host` says.
        Some(Leads::Anywhere) => cursor.fail(format!("{name:?} has a \"proxy\": only \"parents\" can name it")),
        _ => Some(name.to_owned()),
    }
}

/// The name of an upstream of proxies.
pub(super) fn parent_reference(cursor: Cursor<'_>) -> Option<String> {
    let name = cursor.string("the name of an upstream with a \"proxy\"")?;
    match known(name, cursor)? {
        Some(Leads::Nowhere) => cursor.fail(format!("{name:?} has no \"proxy\": its backends are no proxies")),
        _ => Some(name.to_owned()),
    }
}

/// What an upstream of this name does, as far as that is known.
fn known(name: &str, cursor: Cursor<'_>) -> Option<Option<Leads>> {
    match cursor.report().upstreams() {
        Some(names) if !names.contains_key(name) => {
            cursor.unknown("no upstream named", name, names.keys().map(String::as_str))
        }
        names => Some(names.and_then(|names| names.get(name)).copied()),
    }
}

/// An entry whose key is a name of the user's choice. Names appear in logs and metrics, so they stay printable.
pub(super) fn named<T>(name: &str, value: Cursor<'_>, read: impl FnOnce(Cursor<'_>) -> Option<T>) -> Option<T> {
    if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        value.fail::<()>("a name must not be empty, nor hold spaces or control characters");
    }
    read(value)
}
