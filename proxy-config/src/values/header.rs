//! Names and values of header fields, methods and cookies.

use crate::decode::{Cursor, quote};

/// What [`is_token`] accepts.
const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// A field name in lower case.
pub(crate) fn field_name(name: &str) -> Result<String, String> {
    if is_token(name) {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(format!("{} is not a legal field name", quote(name)))
    }
}

/// A field value: visible ASCII with spaces and tabs between. More is legal on the wire and nowhere needed.
pub(crate) fn field_value(cursor: Cursor<'_>) -> Option<String> {
    cursor.like("^[\\t -~]*$").parsed("a string", |text| {
        let legal = text.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~'));
        let trimmed = text.trim_matches(['\t', ' ']) == text;
        if legal && trimmed { Ok(text.to_owned()) } else { Err(format!("{} is not a legal field value", quote(text))) }
    })
}

/// A request method, in the case that was given: methods differ by case (RFC 9110 §9.1).
pub(crate) fn method(cursor: Cursor<'_>) -> Option<String> {
    token(cursor, r#"a method such as "GET""#)
}

/// A field name as the value of a key.
pub(crate) fn named_field(cursor: Cursor<'_>) -> Option<String> {
    cursor.like(TOKEN).parsed("a field name", field_name)
}

/// A token of RFC 9110 §5.6.2, which cookie names and methods are.
pub(crate) fn token(cursor: Cursor<'_>, what: &str) -> Option<String> {
    cursor.like(TOKEN).parsed(what, |text| {
        if is_token(text) { Ok(text.to_owned()) } else { Err(format!("expected {what}, found {}", quote(text))) }
    })
}

pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
