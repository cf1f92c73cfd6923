//! A tree as text again, without what nobody should read.

use super::{Node, Value};

/// As compact JSON, secrets hidden.
pub(crate) fn shown(node: &Node) -> String {
    let mut text = String::new();
    write(&mut text, &node.value, false);
    text
}

fn write(out: &mut String, value: &Value, hidden: bool) {
    match value {
        Value::Null | Value::Unknown => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(text) => out.push_str(text),
        Value::String(_) if hidden => out.push_str("\"…\""),
        Value::String(text) => string(out, text),
        Value::Array(items) => list(out, ['[', ']'], items, |out, item| write(out, &item.value, hidden)),
        Value::Object(members) => list(out, ['{', '}'], members, |out, member| {
            string(out, &member.key);
            out.push(':');
            write(out, &member.node.value, hidden || is_secret(&member.key, &member.node.value));
        }),
    }
}

fn list<T>(out: &mut String, [open, close]: [char; 2], items: &[T], mut item: impl FnMut(&mut String, &T)) {
    out.push(open);
    for (index, one) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        item(out, one);
    }
    out.push(close);
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\0'..='\x1f' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Keys of ours, header fields that hold credentials, and addresses with a password in them.
fn is_secret(key: &str, value: &Value) -> bool {
    const WORDS: [&str; 6] = ["token", "secret", "password", "authorization", "api-key", "set-cookie"];
    let key = key.to_ascii_lowercase();
    let has_password = matches!(value, Value::String(text) if text.contains("://") && text.contains('@'));
    // `token_bucket` and the like are names of things.
    has_password || (matches!(value, Value::String(_)) && WORDS.iter().any(|word| key.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::shown;

    #[test]
    fn the_same_without_secrets() {
        let check = |text: &str, expected: &str| assert_eq!(shown(&parse(text).unwrap()), expected);
        check(
            r#" { "a" : [ 1.50, null , true ], "b\n": "x\"\\\u0001é" } "#,
            "{\"a\":[1.50,null,true],\"b\\u000a\":\"x\\\"\\\\\\u0001é\"}",
        );
        check("[]", "[]");
        check(r#"{"token":"x","Secret":"y","max":{"token":1}}"#, r#"{"token":"…","Secret":"…","max":{"token":1}}"#);
        check(r#"{"set":{"Authorization":"Bearer x"}}"#, r#"{"set":{"Authorization":"…"}}"#);
        check(r#"{"url":"redis://u:p@h","b":"a@b"}"#, r#"{"url":"…","b":"a@b"}"#);
        check(r#"{"algorithm":"token_bucket"}"#, r#"{"algorithm":"token_bucket"}"#);
    }
}
