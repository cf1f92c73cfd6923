//! Strings and their escapes.

use super::SyntaxError;
use super::reader::Reader;

/// Reads a string that starts at the reader's `"`.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<String, SyntaxError> {
    let mut text = String::new();
    reader.eat('"');
    loop {
        match reader.peek() {
            None => return Err(reader.expected("a closing '\"'")),
            Some('\u{0}'..='\u{1f}') => {
                return Err(reader.error("a control character in a string must be written as an escape"));
            }
            Some('"') => {
                reader.next();
                return Ok(text);
            }
            Some('\\') => text.push(escape(reader)?),
            Some(plain) => {
                reader.next();
                text.push(plain);
            }
        }
    }
}

fn escape(reader: &mut Reader<'_>) -> Result<char, SyntaxError> {
    reader.eat('\\');
    let escaped = match reader.peek() {
        Some(same @ ('"' | '\\' | '/')) => same,
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => return unicode(reader),
        _ => return Err(reader.expected("an escape such as \\n or \\u00e9")),
    };
    reader.next();
    Ok(escaped)
}

/// `\uXXXX`, or two of them forming a surrogate pair (RFC 8259 §7).
fn unicode(reader: &mut Reader<'_>) -> Result<char, SyntaxError> {
    let first = code_unit(reader)?;
    let code = match first {
        0xd800..=0xdbff if reader.eat('\\') => join(first, code_unit(reader)?),
        other => Some(other),
    };
    code.and_then(char::from_u32).ok_or_else(|| reader.error("an unpaired surrogate in a \\u escape"))
}

fn join(high: u32, low: u32) -> Option<u32> {
    (0xdc00..=0xdfff).contains(&low).then(|| 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
}

fn code_unit(reader: &mut Reader<'_>) -> Result<u32, SyntaxError> {
    if !reader.eat('u') {
        return Err(reader.expected("the second half of a surrogate pair, \\uDC00 to \\uDFFF"));
    }
    let mut unit = 0;
    for _ in 0..4 {
        let Some(digit) = reader.peek().and_then(|c| c.to_digit(16)) else {
            return Err(reader.expected("a hexadecimal digit"));
        };
        reader.next();
        unit = unit * 16 + digit;
    }
    Ok(unit)
}
