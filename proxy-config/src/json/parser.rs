//! The grammar of RFC 8259 by recursive descent.

use super::reader::Reader;
use super::{Member, Node, SyntaxError, Value, number, string};

/// Configurations nest some ten levels; the bound keeps hostile input from exhausting the stack.
const MAX_DEPTH: usize = 64;

/// Parses exactly one value with nothing but whitespace around it.
pub(crate) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut reader = Reader::new(text);
    let root = node(&mut reader, 0)?;
    reader.skip_whitespace();
    match reader.peek() {
        None => Ok(root),
        Some(_) => Err(reader.expected("the end of the file")),
    }
}

fn node(reader: &mut Reader<'_>, depth: usize) -> Result<Node, SyntaxError> {
    reader.skip_whitespace();
    let position = reader.position();
    value(reader, depth).map(|value| Node { position, value })
}

fn value(reader: &mut Reader<'_>, depth: usize) -> Result<Value, SyntaxError> {
    match reader.peek() {
        Some('{' | '[') if depth == MAX_DEPTH => Err(reader.error(format!("nested deeper than {MAX_DEPTH} levels"))),
        Some('{') => object(reader, depth + 1),
        Some('[') => array(reader, depth + 1),
        Some('"') => string::read(reader).map(Value::String),
        Some('-' | '0'..='9') => number::read(reader).map(Value::Number),
        _ => literal(reader),
    }
}

fn literal(reader: &mut Reader<'_>) -> Result<Value, SyntaxError> {
    if reader.eat_word("true") {
        Ok(Value::Bool(true))
    } else if reader.eat_word("false") {
        Ok(Value::Bool(false))
    } else if reader.eat_word("null") {
        Ok(Value::Null)
    } else {
        Err(reader.expected("a value"))
    }
}

fn array(reader: &mut Reader<'_>, depth: usize) -> Result<Value, SyntaxError> {
    let mut items = Vec::new();
    reader.eat('[');
    reader.skip_whitespace();
    if reader.eat(']') {
        return Ok(Value::Array(items));
    }
    loop {
        items.push(node(reader, depth)?);
        reader.skip_whitespace();
        if reader.eat(']') {
            return Ok(Value::Array(items));
        }
        if !reader.eat(',') {
            return Err(reader.expected("',' or ']'"));
        }
    }
}

fn object(reader: &mut Reader<'_>, depth: usize) -> Result<Value, SyntaxError> {
    let mut members = Vec::new();
    reader.eat('{');
    reader.skip_whitespace();
    if reader.eat('}') {
        return Ok(Value::Object(members));
    }
    loop {
        members.push(member(reader, depth)?);
        reader.skip_whitespace();
        if reader.eat('}') {
            return Ok(Value::Object(members));
        }
        if !reader.eat(',') {
            return Err(reader.expected("',' or '}'"));
        }
    }
}

fn member(reader: &mut Reader<'_>, depth: usize) -> Result<Member, SyntaxError> {
    reader.skip_whitespace();
    if reader.peek() != Some('"') {
        return Err(reader.expected("a key in double quotes"));
    }
    let key = string::read(reader)?;
    reader.skip_whitespace();
    if !reader.eat(':') {
        return Err(reader.expected("':'"));
    }
    node(reader, depth).map(|node| Member { key, node })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = parse(text).expect_err("must be refused");
        assert_eq!(format!("{}: {}", error.position, error.message), expected);
    }

    #[test]
    fn syntax_errors_name_place_expectation_and_finding() {
        check("", "1:1: expected a value, found the end of the file");
        check("{\n  \"a\": 1,\n}", "3:1: expected a key in double quotes, found '}'");
        check("[1 2]", "1:4: expected ',' or ']', found '2'");
        check("{\"é\" 1}", "1:6: expected ':', found '1'");
        check("{\"a\":1 \"b\"", "1:8: expected ',' or '}', found '\"'");
        check("// hello\n{}", "1:1: expected a value, found a comment, which JSON does not have");
        check("{} {}", "1:4: expected the end of the file, found '{'");
        check("nul", "1:1: expected a value, found 'n'");
        check("\u{feff}{}", "1:1: expected a value, found '\\u{feff}'");
        check(&"[".repeat(65), "1:65: nested deeper than 64 levels");
    }

    #[test]
    fn the_depth_bound_is_exact() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(parse(&nested(MAX_DEPTH + 1)).is_err());
    }

    /// Text that is nearly JSON: far more of it parses than of arbitrary text.
    fn jsonish() -> impl Strategy<Value = String> {
        let token = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\\u00e9\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud800\"",
            "\"\\x\"",
            "\"\t\"",
            "0",
            "-0",
            "01",
            "1.5",
            "1.",
            "-",
            "1e5",
            "1E+5",
            "1e",
            "1e999",
            "18446744073709551616",
            "true",
            "false",
            "null",
            " ",
            "\n",
            "\u{a0}",
        ]);
        prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn accepts_exactly_what_serde_json_accepts(text in prop_oneof![jsonish(), any::<String>()]) {
            let reference = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(parse(&text).is_ok(), reference.is_ok(), "{:?}: {:?}", text, reference);
        }

        #[test]
        fn reads_the_same_strings_as_serde_json(text in any::<String>()) {
            let quoted = serde_json::to_string(&text).unwrap();
            let Value::String(read) = parse(&quoted).unwrap().value else { panic!("not a string") };
            prop_assert_eq!(read, text);
        }
    }
}
