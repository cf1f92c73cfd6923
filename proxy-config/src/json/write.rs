//! From the tree back to text.

use std::fmt::{self, Write};

use super::{Node, Value};

/// As short as it can be.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null | Value::Unknown => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(text) => f.write_str(text),
            Value::String(text) => write_string(f, text),
            Value::Array(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    item.fmt(f)?;
                }
                f.write_char(']')
            }
            Value::Object(members) => {
                f.write_char('{')?;
                for (index, member) in members.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    write_string(f, &member.key)?;
                    f.write_char(':')?;
                    member.node.fmt(f)?;
                }
                f.write_char('}')
            }
        }
    }
}

/// RFC 8259 §7.
pub(crate) fn write_string(f: &mut impl Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            control if control < ' ' => write!(f, "\\u{:04x}", u32::from(control))?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use crate::json;

    #[test]
    fn what_was_read_is_written() {
        let text = r#"{"a":[1,-2.5e3,true,null,"\\\"\n\u0001é"],"b":{},"c":[]}"#;
        let node = json::parse(text).unwrap_or_else(|error| panic!("{}", error.message));
        assert_eq!(node.to_string(), text);
    }
}
