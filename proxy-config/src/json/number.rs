//! Numbers, kept as text.

use super::SyntaxError;
use super::reader::Reader;

/// Reads `-?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?`, RFC 8259 §6.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<String, SyntaxError> {
    let start = reader.rest();
    reader.eat('-');
    if !reader.eat('0') {
        digits(reader)?;
    }
    if reader.eat('.') {
        digits(reader)?;
    }
    if reader.eat('e') || reader.eat('E') {
        let _ = reader.eat('+') || reader.eat('-');
        digits(reader)?;
    }
    let text = &start[..start.len() - reader.rest().len()];
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(text.to_owned()),
        _ => Err(reader.error("number out of range")),
    }
}

fn digits(reader: &mut Reader<'_>) -> Result<(), SyntaxError> {
    if !matches!(reader.peek(), Some('0'..='9')) {
        return Err(reader.expected("a digit"));
    }
    while matches!(reader.peek(), Some('0'..='9')) {
        reader.next();
    }
    Ok(())
}
