//! Variables in strings: `${NAME}`, and `${NAME:-default}` for one that may be missing or empty.

use std::ffi::OsString;

use crate::decode::{Report, quote};
use crate::error::{ConfigError, ErrorKind};
use crate::json::{Node, Value};
use crate::path::Path;

/// Finds the value of a variable by its name.
pub(crate) type Variables = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// Where `${…}` means something else: what a request has.
const TEMPLATES: [&str; 1] = ["access_log.format.template"];

/// Puts values in the place of variables, in every string that is a value but templates; keys stay as they are.
///
/// What cannot be found is reported, and no decoder complains about it again.
pub(crate) fn expand(node: &mut Node, path: &Path<'_>, report: &Report, variables: &Variables) {
    match &mut node.value {
        Value::String(text) if text.contains("${") && !TEMPLATES.contains(&&*path.to_string()) => {
            match expanded(text, variables) {
                Ok(expanded) => *text = expanded,
                Err(message) => {
                    let error = ConfigError::new(ErrorKind::Invalid, message);
                    report.push(error.at(node.position).under(path.to_string()));
                    node.value = Value::Unknown;
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                expand(item, &Path::Index(path, index), report, variables);
            }
        }
        Value::Object(members) => {
            for member in members {
                expand(&mut member.node, &Path::Key(path, &member.key), report, variables);
            }
        }
        _ => {}
    }
}

fn expanded(text: &str, variables: &Variables) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded += before;
            expanded += "${";
            rest = after;
            continue;
        }
        let (reference, after) = after.split_once('}').ok_or_else(|| {
            format!("{} has a \"${{\" without a \"}}\"; write \"$${{\" where these characters are meant", quote(text))
        })?;
        expanded += before;
        expanded += &value(reference, variables)?;
        rest = after;
    }
    Ok(expanded + rest)
}

/// The value of `NAME` or `NAME:-default`.
fn value(reference: &str, variables: &Variables) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_name(name) {
        return Err(format!(
            "{} is not the name of a variable; write \"$${{\" where the characters \"${{\" are meant",
            quote(name)
        ));
    }
    match (variables(name), default) {
        (Some(value), _) if !value.is_empty() => {
            value.into_string().map_err(|_| format!("the value of the variable {name} is not UTF-8"))
        }
        (_, Some(default)) => Ok(default.to_owned()),
        (Some(_), None) => Ok(String::new()),
        (None, None) => Err(format!("the variable {name} is not set; \"${{{name}:-…}}\" would give it a default")),
    }
}

/// As POSIX has names: letters, digits and underscores, not beginning with a digit.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, String> {
        expanded(text, &|name| match name {
            "HOST" => Some("::1".into()),
            "EMPTY" => Some(OsString::new()),
            "NESTED" => Some("${HOST}".into()),
            _ => None,
        })
    }

    #[test]
    fn values_take_the_place_of_variables() {
        let check = |text, expected: &str| assert_eq!(of(text), Ok(expected.to_owned()), "{text}");
        check("plain $ $$ $HOST } {", "plain $ $$ $HOST } {");
        check("[${HOST}]:80", "[::1]:80");
        check("${HOST}${HOST}", "::1::1");
        check("${NONE:-a}-${EMPTY:-b}-${HOST:-c}", "a-b-::1");
        check("${NONE:-}${EMPTY}", "");
        check("${NONE:-a:-b}", "a:-b");
        check("$${HOST} $$${HOST}", "${HOST} $${HOST}");
        // A value is not looked at again: whoever sets it cannot read others.
        check("${NESTED}", "${HOST}");
    }

    #[test]
    fn what_cannot_be_found() {
        let check = |text: &str, expected: &str| assert_eq!(of(text), Err(expected.to_owned()), "{text}");
        check("${NONE}", r#"the variable NONE is not set; "${NONE:-…}" would give it a default"#);
        check("a${HOST", r#""a${HOST" has a "${" without a "}"; write "$${" where these characters are meant"#);
        for name in ["", "1A", "A-B", "A B", "Ä", "$HOST"] {
            let message = format!(
                "{name:?} is not the name of a variable; write \"$${{\" where the characters \"${{\" are meant"
            );
            check(&format!("${{{name}}}"), &message);
        }
    }
}
