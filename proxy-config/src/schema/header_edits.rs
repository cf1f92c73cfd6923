//! The filter that sets, adds and removes header fields.

use std::collections::BTreeMap;

use super::matcher::header_values;
use crate::decode::Cursor;
use crate::values::header::named_field;

/// `headers`: edits of header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Headers {
    /// `request`: on the way to the backend.
    pub request: HeaderEdits,
    /// `response`: on the way to the client.
    pub response: HeaderEdits,
}

/// `headers.request`, `headers.response`: names are in lower case, values are visible ASCII.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderEdits {
    /// `set`: replaces whatever is there.
    pub set: BTreeMap<String, String>,
    /// `add`: comes in addition to what is there.
    pub add: BTreeMap<String, String>,
    /// `remove`: goes away.
    pub remove: Vec<String>,
}

/// These say where a message ends, or are for one connection only. A wrong one lets a client smuggle requests, so
/// only the engine writes them.
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

pub(super) fn headers(cursor: Cursor<'_>) -> Option<Headers> {
    cursor.object("an object", |fields| {
        let request = fields.optional("request", edits).unwrap_or_default();
        let response = fields.optional("response", edits).unwrap_or_default();
        Some(Headers { request, response })
    })
}

fn edits(cursor: Cursor<'_>) -> Option<HeaderEdits> {
    cursor.object("an object", |fields| {
        let set = fields.optional("set", values).unwrap_or_default();
        let add = fields.optional("add", values).unwrap_or_default();
        let remove = fields.optional("remove", names).unwrap_or_default();
        refuse_host(HeaderEdits { set, add, remove }, cursor)
    })
}

/// RFC 9112 §3.2: a request has exactly one `Host`. A response has none.
fn refuse_host(edits: HeaderEdits, cursor: Cursor<'_>) -> Option<HeaderEdits> {
    let removed = edits.remove.iter().any(|name| name == "host");
    if edits.add.contains_key("host") || removed {
        return cursor.fail(r#"a request has exactly one "host"; only "set" can change it"#);
    }
    Some(edits)
}

fn values(cursor: Cursor<'_>) -> Option<BTreeMap<String, String>> {
    let values = header_values(cursor)?;
    values.keys().try_for_each(|name| refuse_ours(name, cursor))?;
    Some(values)
}

fn names(cursor: Cursor<'_>) -> Option<Vec<String>> {
    cursor.list("an array of field names", |item| {
        let name = named_field(item)?;
        refuse_ours(&name, item)?;
        Some(name)
    })
}

pub(super) fn refuse_ours(name: &str, cursor: Cursor<'_>) -> Option<()> {
    if OURS.contains(&name) {
        return cursor.fail(format!("{name:?} is written by the proxy itself and cannot be edited"));
    }
    Some(())
}
