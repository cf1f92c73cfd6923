//! JSON, written as people indent it, with its keys in the order given.

use std::fmt::{self, Write as _};

use crate::json::write_string;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Bool(bool),
    /// A number, as text.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(super) fn string(text: impl Into<String>) -> Self {
        Json::String(text.into())
    }

    pub(super) fn object<const N: usize>(members: [(&str, Json); N]) -> Self {
        Json::Object(members.map(|(key, value)| (key.to_owned(), value)).into())
    }

    pub(super) fn strings<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Json::Array(texts.into_iter().map(Json::string).collect())
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(text) => f.write_str(text),
            Json::String(text) => write_string(f, text),
            Json::Array(items) => block(f, depth, ['[', ']'], items, |f, item| item.write(f, depth + 1)),
            Json::Object(members) => block(f, depth, ['{', '}'], members, |f, (key, value)| {
                write_string(f, key)?;
                f.write_str(": ")?;
                value.write(f, depth + 1)
            }),
        }
    }
}

/// Items between brackets, one a line.
fn block<T>(
    f: &mut fmt::Formatter<'_>,
    depth: usize,
    [open, close]: [char; 2],
    items: &[T],
    mut write: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_char(open)?;
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index == 0 { "\n" } else { ",\n" })?;
        indent(f, depth + 1)?;
        write(f, item)?;
    }
    if !items.is_empty() {
        f.write_char('\n')?;
        indent(f, depth)?;
    }
    f.write_char(close)
}

fn indent(f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
    (0..depth).try_for_each(|_| f.write_str("  "))
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let text = "a \"quoted\" \\ path\n\u{1} é";
        let json = Json::object([
            ("b", Json::strings([text])),
            ("a", Json::object([])),
            (text, Json::Array(vec![Json::Bool(true), Json::Number("7".to_owned()), Json::Array(vec![])])),
        ]);
        let expected = serde_json::json!({ "b": [text], "a": {}, text: [true, 7, []] });
        let written = json.to_string();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), expected);
        assert!(written.starts_with("{\n  \"b\": [\n    \"a "), "{written}");
    }
}
