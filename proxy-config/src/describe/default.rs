//! Defaults: from the words of a description to the value one would write.

use super::docs;
use super::json::Json;
use crate::decode::Shape;

/// The default that a description names, as it would be written into a file.
pub(super) fn default(shape: &Shape, description: &str) -> Option<Json> {
    value(shape, docs::default_of(description)?)
}

fn value(shape: &Shape, text: &str) -> Option<Json> {
    match shape {
        Shape::Boolean => text.parse().ok().map(Json::Bool),
        Shape::Integer { .. } => number(text).map(Json::Number),
        Shape::String { .. } => quantity(text).or_else(|| quoted(text)).map(Json::String),
        Shape::Tagged(tagged) => {
            let name = quoted(text).unwrap_or_else(|| text.to_owned());
            tagged.variants.iter().any(|it| it.name == name).then_some(Json::String(name))
        }
        Shape::Either(shapes) => shapes.iter().find_map(|shape| value(shape, text)),
        _ => None,
    }
}

/// `100,000` is written `100000`.
fn number(text: &str) -> Option<String> {
    let digits = text.replace(',', "");
    digits.bytes().all(|b| b.is_ascii_digit()).then_some(digits)
}

/// `5 s` is written `"5s"`, `64 KiB` is written `"64KiB"`.
fn quantity(text: &str) -> Option<String> {
    let (amount, unit) = text.split_once(' ')?;
    let is_known = matches!(unit, "ms" | "s" | "m" | "h" | "B" | "KiB" | "MiB" | "GiB");
    number(amount).filter(|_| is_known).map(|amount| amount + unit)
}

/// A string in quotes, or a word.
fn quoted(text: &str) -> Option<String> {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inner) => Some(inner.to_owned()),
        None => Some(text.to_owned()).filter(|text| text.starts_with(char::is_alphabetic)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let check = |shape: &Shape, text, expected: Option<Json>| assert_eq!(value(shape, text), expected, "{text}");
        let integer = Shape::Integer { min: "0".to_owned(), max: "9".to_owned() };
        let string = Shape::String { what: "a string".to_owned(), pattern: None };
        check(&Shape::Boolean, "true", Some(Json::Bool(true)));
        check(&integer, "100,000", Some(Json::Number("100000".to_owned())));
        check(&integer, "5 s", None);
        check(&string, "5 s", Some(Json::string("5s")));
        check(&string, "\"up\"", Some(Json::string("up")));
        check(&string, "GET", Some(Json::string("GET")));
        check(&string, "200 to 399", None);
        check(&Shape::Either(vec![integer, string]), "64 KiB", Some(Json::string("64KiB")));
    }
}
