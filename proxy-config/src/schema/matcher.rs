//! Which requests a route takes.

use std::collections::BTreeMap;

use crate::decode::{Cursor, Fields, quote};
use crate::values::header::{field_name, field_value, is_token, method};
use crate::values::host::host_pattern;

/// `listeners.<name>.http.routes[].match`: all that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Match {
    /// `host`: `example.com`, or `*.example.com` for everything below it; in lower case, without a port.
    pub host: Option<String>,
    /// `path`, `path_prefix` or `path_regex`; at most one of them.
    pub path: Option<PathMatch>,
    /// `method`: any of these; any method when empty. A single method may be written without brackets.
    pub methods: Vec<String>,
    /// `headers`: name in lower case and exact value.
    pub headers: BTreeMap<String, String>,
    /// `cookies`: name and exact value.
    pub cookies: BTreeMap<String, String>,
    /// `query`: parameter and exact value, both decoded.
    pub query: BTreeMap<String, String>,
}

/// How a route looks at the path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathMatch {
    /// `path`: exactly this; starts with `/`.
    Exact(String),
    /// `path_prefix`: begins with this; starts with `/`.
    Prefix(String),
    /// `path_regex`: matches this regular expression from end to end; syntax of the crate `regex-lite`.
    Regex(String),
}

pub(super) fn matcher(cursor: Cursor<'_>) -> Option<Match> {
    cursor.object("an object", |fields| {
        Some(Match {
            host: fields.optional("host", host_pattern),
            path: path_match(fields),
            methods: fields.optional("method", methods).unwrap_or_default(),
            headers: fields.optional("headers", header_values).unwrap_or_default(),
            cookies: fields.optional("cookies", cookies).unwrap_or_default(),
            query: fields.optional("query", query).unwrap_or_default(),
        })
    })
}

fn path_match(fields: &mut Fields<'_>) -> Option<PathMatch> {
    let exact = fields.optional("path", path).map(PathMatch::Exact);
    let prefix = fields.optional("path_prefix", path).map(PathMatch::Prefix);
    let regex = fields.optional("path_regex", regex).map(PathMatch::Regex);
    fields.at_most_one(&["path", "path_prefix", "path_regex"]);
    exact.or(prefix).or(regex)
}

fn path(cursor: Cursor<'_>) -> Option<String> {
    const WHAT: &str = r#"a path such as "/v1/""#;
    cursor.like("^/").parsed(WHAT, |text| {
        if !text.starts_with('/') {
            return Err(format!("a path starts with \"/\", found {}", quote(text)));
        }
        match text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '?' | '#')) {
            Some(foreign) => Err(format!("a request path never holds {foreign:?}, so this would match nothing")),
            None => Ok(text.to_owned()),
        }
    })
}

fn regex(cursor: Cursor<'_>) -> Option<String> {
    match cursor.string("a regular expression")? {
        "" => cursor.fail("must not be empty"),
        // Whoever compiles it for the requests says whether it can be compiled.
        expression => match proxy_core::Route::to("").path_regex(expression) {
            Ok(_) => Some(expression.to_owned()),
            Err(error) => cursor.fail(error.to_string()),
        },
    }
}

fn methods(cursor: Cursor<'_>) -> Option<Vec<String>> {
    if cursor.is_string() {
        return method(cursor).map(|method| vec![method]);
    }
    cursor.non_empty_list(r#"a method such as "GET", or an array of them"#, method)
}

/// Field names and values; names that differ only in case are one name.
pub(super) fn header_values(cursor: Cursor<'_>) -> Option<BTreeMap<String, String>> {
    let values = cursor.map("an object with a value per field name", |name, value| {
        let name = field_name(name).map_or_else(|message| value.fail(message), Some);
        let text = field_value(value);
        Some((name?, text?))
    })?;
    let mut folded = BTreeMap::new();
    for (written, (name, value)) in values {
        if folded.insert(name, value).is_some() {
            cursor.revisit_key(&written, |value| {
                value.fail::<()>("given twice; field names ignore case");
            });
        }
    }
    Some(folded)
}

fn cookies(cursor: Cursor<'_>) -> Option<BTreeMap<String, String>> {
    cursor.map("an object with a value per cookie", |name, value| {
        if !is_token(name) {
            value.fail::<()>(format!("{} is not a legal cookie name", quote(name)));
        }
        field_value(value)
    })
}

fn query(cursor: Cursor<'_>) -> Option<BTreeMap<String, String>> {
    cursor.map("an object with a value per parameter", |_, value| value.string("a string").map(str::to_owned))
}
