//! Bytes that a stranger chose, in a line that others parse.

/// As the inside of a JSON string. Valid UTF-8 stays, but for control characters; a byte that is none of it
/// is written as the character of that number: nothing is lost, and the line is valid JSON.
pub(super) fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    let plain = |byte: u8| (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    let mut rest = bytes;
    while let Some(special) = rest.iter().position(|byte| !plain(*byte)) {
        out.extend_from_slice(&rest[..special]);
        rest = &rest[special..];
        match rest[0] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte if byte < 0x80 => unicode(out, byte),
            _ => {
                rest = wide(out, rest);
                continue;
            }
        }
        rest = &rest[1..];
    }
    out.extend_from_slice(rest);
}

/// Writes the character that `bytes` begin with, which is not ASCII; returns what is left.
fn wide<'b>(out: &mut Vec<u8>, bytes: &'b [u8]) -> &'b [u8] {
    let most = &bytes[..bytes.len().min(4)];
    let valid = most.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    match valid {
        // U+0080 to U+009F move the cursor of some terminals.
        Some(character) if character > '\u{9f}' => {
            let (character, rest) = bytes.split_at(character.len_utf8());
            out.extend_from_slice(character);
            rest
        }
        Some(character) => {
            unicode(out, character as u32 as u8);
            &bytes[character.len_utf8()..]
        }
        None => {
            unicode(out, bytes[0]);
            &bytes[1..]
        }
    }
}

fn unicode(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(b"\\u00");
    hex(out, byte);
}

/// For text between spaces or quotes: printable ASCII stays, everything else, quotes and backslashes too, is
/// `\xNN`, as nginx does.
pub(super) fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => special(out, byte),
            b' '..=b'~' => out.push(byte),
            _ => special(out, byte),
        }
    }
}

fn special(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(b"\\x");
    hex(out, byte);
}

fn hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: fn(&mut Vec<u8>, &[u8]), bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write(&mut out, bytes);
        String::from_utf8(out).expect("what is written is text")
    }

    #[test]
    fn bad_bytes() {
        let table: [(&[u8], &str, &str); 8] = [
            (b"/plain?a=b", "/plain?a=b", "/plain?a=b"),
            (b"a\"b\\c", "a\\\"b\\\\c", "a\\x22b\\x5cc"),
            (b"a\r\nb\0\x7f", "a\\u000d\\u000ab\\u0000\\u007f", "a\\x0d\\x0ab\\x00\\x7f"),
            (b"\x1b[2J", "\\u001b[2J", "\\x1b[2J"),
            ("grüß".as_bytes(), "grüß", "gr\\xc3\\xbc\\xc3\\x9f"),
            ("\u{9b}2J".as_bytes(), "\\u009b2J", "\\xc2\\x9b2J"),
            (b"\xff\xfe", "\\u00ff\\u00fe", "\\xff\\xfe"),
            (b"\xe2\x82", "\\u00e2\\u0082", "\\xe2\\x82"),
        ];
        for (bytes, in_json, in_text) in table {
            assert_eq!((&*written(json, bytes), &*written(text, bytes)), (in_json, in_text));
        }
    }

    proptest! {
        #[test]
        fn json_is_valid_and_keeps_what_was_text(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let line = format!("\"{}\"", written(json, &bytes));
            prop_assert!(!line.contains(|c: char| c.is_control()));
            let read: String = serde_json::from_str(&line).expect("it is JSON");
            if let Ok(text) = std::str::from_utf8(&bytes) {
                prop_assert_eq!(read, text);
            }
        }

        #[test]
        fn text_is_printable_and_can_be_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let line = written(text, &bytes);
            prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"'));
            prop_assert_eq!(unescape(&line), bytes);
        }
    }

    fn unescape(line: &str) -> Vec<u8> {
        let mut parts = line.split("\\x");
        let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            let (code, rest) = part.split_at(2);
            bytes.push(u8::from_str_radix(code, 16).expect("two digits"));
            bytes.extend_from_slice(rest.as_bytes());
        }
        bytes
    }
}
