//! Parts of the schema that nothing stands behind yet.

use std::fmt;

use crate::error::Position;
use crate::json::{Node, Value};
use crate::path::Path;

/// Delete a line when its capability lands. `*` is any name or index; the last word may be a key, or a name
/// written as a string.
const ABSENT: &[&str] = &[
    #[cfg(not(feature = "dns"))]
    "upstreams.*.discovery.srv",
];

/// A valid part of a configuration that this build cannot serve.
///
/// `Display` prints `listeners.dns.udp: not in this build`; where a name makes the difference, it follows in
/// brackets: `listeners.web.http.filters[0]: not in this build ("rate_limit")`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    path: String,
    position: Position,
    name: Option<String>,
}

impl Unsupported {
    /// The part, such as `listeners.dns.udp`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where in the text it stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The name at `path`, when it is only this name that is missing.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: not in this build", self.path)?;
        match &self.name {
            Some(name) => write!(f, " ({name:?})"),
            None => Ok(()),
        }
    }
}

/// All parts of a valid file that are in the table.
pub(crate) fn unsupported(root: &Node) -> Vec<Unsupported> {
    let patterns: Vec<_> = ABSENT.iter().map(|pattern| pattern.split('.').collect()).collect();
    let mut found = Vec::new();
    visit(root, &Path::Root, &patterns, &mut found);
    found
}

/// What is left of a pattern below some value.
type Pattern<'p> = Vec<&'p str>;

fn visit(node: &Node, path: &Path<'_>, patterns: &[Pattern<'_>], found: &mut Vec<Unsupported>) {
    if patterns.iter().any(Vec::is_empty) {
        found.push(Unsupported { path: path.to_string(), position: node.position, name: None });
    } else if !patterns.is_empty() {
        descend(node, path, patterns, found);
    }
}

fn descend(node: &Node, path: &Path<'_>, patterns: &[Pattern<'_>], found: &mut Vec<Unsupported>) {
    match &node.value {
        Value::Object(members) => {
            for member in members {
                visit(&member.node, &Path::Key(path, &member.key), &below(patterns, &member.key), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(item, &Path::Index(path, index), &below(patterns, "*"), found);
            }
        }
        Value::String(name) if below(patterns, name).iter().any(Vec::is_empty) => {
            found.push(Unsupported { path: path.to_string(), position: node.position, name: Some(name.clone()) });
        }
        _ => {}
    }
}

/// The patterns that begin with `key`, without it.
fn below<'p>(patterns: &[Pattern<'p>], key: &str) -> Vec<Pattern<'p>> {
    let matching = patterns.iter().filter(|pattern| pattern[0] == "*" || pattern[0] == key);
    matching.map(|pattern| pattern[1..].to_vec()).collect()
}
