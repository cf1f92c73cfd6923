//! The lines of a head, tokenised in one strict pass.
//!
//! `httparse` would do most of this, but it accepts bare line feeds and fragments, says too little
//! about what is wrong, and its heads must be walked again to be checked and indexed: here one pass
//! does all of it. A fuzz target holds it against httparse.

use crate::ErrorKind;
use crate::head::{Field, Known, RawHead, Span};

/// Where the next line begins; `None` where this one is not complete.
type Line = Result<Option<usize>, ErrorKind>;

/// Longer than any registered method.
const MAX_METHOD: usize = 64;

/// RFC 9110 §5.6.2.
static TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/// What a request target may hold: ASCII without spaces, controls and the `#` of a fragment.
pub(crate) static TARGET: [bool; 256] =
    table(b"!\"$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~");

/// A table of bytes.
pub(crate) const fn table(members: &[u8]) -> [bool; 256] {
    let (mut table, mut i) = ([false; 256], 0);
    while i < members.len() {
        table[members[i] as usize] = true;
        i += 1;
    }
    table
}

/// A request line.
#[derive(Debug)]
pub(crate) struct RequestLine {
    pub(crate) method: Span,
    pub(crate) target: Span,
    /// The minor version: 0 or 1.
    pub(crate) minor: u8,
    /// Where the next line begins.
    pub(crate) end: usize,
}

/// `method SP request-target SP HTTP-version CRLF`; `None` where it is not complete.
pub(crate) fn request_line(bytes: &[u8], max_target: usize) -> Result<Option<RequestLine>, ErrorKind> {
    let method = run(bytes, 0, &TOKEN);
    if method > MAX_METHOD {
        return Err(ErrorKind::BadRequestLine);
    }
    match bytes.get(method) {
        None => return Ok(None),
        Some(b' ') if method > 0 => {}
        Some(_) => return Err(ErrorKind::BadRequestLine),
    }
    let start = method + 1;
    let target = run(bytes, start, &TARGET);
    if target - start > max_target {
        return Err(ErrorKind::TargetTooLong);
    }
    match bytes.get(target) {
        None => return Ok(None),
        Some(b' ') if target > start => {}
        Some(b' ' | b'\r' | b'\n') => return Err(ErrorKind::BadRequestLine),
        Some(_) => return Err(ErrorKind::BadTarget),
    }
    let Some(minor) = version(&bytes[target + 1..])? else { return Ok(None) };
    let (method, target) = (Span::new(0, method), Span::new(start, target));
    Ok(Some(RequestLine { method, target, minor, end: target.end as usize + 1 + b"HTTP/1.1\r\n".len() }))
}

/// `HTTP/1.0` or `HTTP/1.1`, and the CRLF behind it.
fn version(bytes: &[u8]) -> Result<Option<u8>, ErrorKind> {
    match bytes {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b'\r', b'\n', ..] => Ok(Some(minor - b'0')),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b'\n', ..] => Err(ErrorKind::BareLineEnd),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b'\r', ..] if is_other(*major, *minor) => {
            Err(ErrorKind::BadVersion)
        }
        _ if is_begun(bytes) => Ok(None),
        _ => Err(ErrorKind::BadRequestLine),
    }
}

fn is_other(major: u8, minor: u8) -> bool {
    major.is_ascii_digit() && minor.is_ascii_digit() && !(major == b'1' && matches!(minor, b'0' | b'1'))
}

/// Whether more bytes can still make a version of it.
fn is_begun(bytes: &[u8]) -> bool {
    let fits = |(byte, form): (&u8, &u8)| byte == form || (*form == b'#' && byte.is_ascii_digit());
    bytes.len() < b"HTTP/#.#\r\n".len() && bytes.iter().zip(b"HTTP/#.#\r\n").all(fits)
}

/// `HTTP-version SP status-code SP [ reason-phrase ] CRLF`, the second space optional, as many an
/// origin has it. Returns minor version, status and where the next line begins.
pub(crate) fn status_line(bytes: &[u8]) -> Result<Option<(u8, u16, usize)>, ErrorKind> {
    const FORM: &[u8] = b"HTTP/1.1 200";
    if bytes.len() < FORM.len() + 2 {
        let begun = bytes.iter().zip(b"HTTP/1.").all(|(byte, form)| byte == form);
        return if begun { Ok(None) } else { Err(ErrorKind::BadResponse) };
    }
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', a, b, c, rest @ ..] = bytes else {
        return Err(ErrorKind::BadResponse);
    };
    let digits = [*a, *b, *c];
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(rest[0], b' ' | b'\r') {
        return Err(ErrorKind::BadResponse);
    }
    let status = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let end = line_end(bytes, FORM.len()).map_err(|_| ErrorKind::BadResponse)?;
    Ok(end.map(|end| (minor - b'0', status, end)))
}

/// The field lines from `at` on, into the index. Returns where the head ends, its empty line
/// included; `None` where it is not complete.
pub(crate) fn fields(bytes: &[u8], mut at: usize, max: usize, raw: &mut RawHead) -> Line {
    loop {
        match bytes.get(at) {
            Some(b'!'..) if raw.fields.len() < max => {}
            _ => return end_of_fields(&bytes[at..], raw.fields.len() < max).map(|taken| Some(at + taken?)),
        }
        let mut unusual = matches!(bytes[at], b'x' | b'X');
        let colon = name_end(bytes, at, &mut unusual);
        match bytes.get(colon) {
            None => return Ok(None),
            Some(b':') if colon > at => {}
            Some(_) => return Err(ErrorKind::BadHeader),
        }
        // Nearly always there is one space.
        let start = colon + 1 + usize::from(bytes.get(colon + 1) == Some(&b' '));
        let Some(end) = line_end(bytes, start)? else { return Ok(None) };
        let name = Span::new(at, colon);
        let value = trim(bytes, start, end - 2);
        let mut known = Known::of_usual(name.of(bytes));
        if unusual {
            known = Known::of(name.of(bytes));
        }
        raw.index_field(Field { name, value, end: end as u32, known });
        at = end;
    }
}

/// What is there instead of another field: how long the empty line is that ends the head.
#[cold]
fn end_of_fields(bytes: &[u8], has_room: bool) -> Line {
    match bytes {
        [b'\r', b'\n', ..] => Ok(Some(2)),
        [] | [b'\r'] => Ok(None),
        [b'\n', ..] => Err(ErrorKind::BareLineEnd),
        _ if !has_room => Err(ErrorKind::TooManyHeaders),
        _ => Err(ErrorKind::BadHeader),
    }
}

/// Where the bytes that are members of `table` end.
fn run(bytes: &[u8], start: usize, table: &[bool; 256]) -> usize {
    let rest = bytes[start..].iter();
    start + rest.take_while(|byte| table[usize::from(**byte)]).count()
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = ONES << 7;

/// Where a field name ends. Letters and dashes are taken eight at a time; the rest has its table, and
/// is `unusual`.
fn name_end(bytes: &[u8], mut at: usize, unusual: &mut bool) -> usize {
    while let Some(eight) = bytes[at..].first_chunk() {
        let others = !letters_and_dashes(u64::from_le_bytes(*eight)) & HIGHS;
        if others == 0 {
            at += 8;
            continue;
        }
        at += others.trailing_zeros() as usize / 8;
        if bytes[at] == b':' || !TOKEN[usize::from(bytes[at])] {
            return at;
        }
        *unusual = true;
        at += 1;
    }
    *unusual = true;
    run(bytes, at, &TOKEN)
}

/// Sets the high bit of each byte that is a letter or a dash. No sum below leaves its byte.
fn letters_and_dashes(word: u64) -> u64 {
    let low = (word | (ONES * 0x20)) & !HIGHS;
    let from_a = low + ONES * (0x80 - b'a' as u64);
    let beyond_z = low + ONES * (0x7f - b'z' as u64);
    let differs = word ^ (ONES * b'-' as u64);
    let no_dash = ((differs & !HIGHS) + ONES * 0x7f) | differs;
    (from_a & !beyond_z & !word) | !no_dash
}

/// Where the line behind this one begins. Text may hold anything but controls; a tab is none.
fn line_end(bytes: &[u8], mut at: usize) -> Line {
    loop {
        at = skip_text(bytes, at);
        match bytes[at..] {
            [b'\r', b'\n', ..] => return Ok(Some(at + 2)),
            [b'\t', ..] => at += 1,
            [] | [b'\r'] => return Ok(None),
            [b'\n', ..] => return Err(ErrorKind::BareLineEnd),
            _ => return Err(ErrorKind::BadHeader),
        }
    }
}

/// Where the next control byte is, or the end. Eight bytes at a time.
fn skip_text(bytes: &[u8], mut at: usize) -> usize {
    let (words, rest) = bytes[at..].as_chunks();
    for eight in words {
        let word = u64::from_le_bytes(*eight);
        let below_space = word.wrapping_sub(ONES * 0x20) & !word;
        let deletes = word ^ (ONES * 0x7f);
        // A borrow can only mark bytes above the first that is one: the lowest mark is right.
        let marks = (below_space | (deletes.wrapping_sub(ONES) & !deletes)) & HIGHS;
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + rest.iter().take_while(|byte| **byte >= 0x20 && **byte != 0x7f).count()
}

/// The value without the spaces and tabs around it.
fn trim(bytes: &[u8], start: usize, end: usize) -> Span {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    match &bytes[start..end] {
        [] => Span::new(start, end),
        [first, .., last] if !blank(first) && !blank(last) => Span::new(start, end),
        value => {
            let before = value.iter().take_while(|byte| blank(byte)).count();
            let behind = value[before..].iter().rev().take_while(|byte| blank(byte)).count();
            Span::new(start + before, end - behind)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What httparse makes of it, with the bare line feeds it takes refused.
    fn reference(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let Ok(httparse::Status::Complete((_, parsed))) = httparse::parse_headers(bytes, &mut fields) else {
            return None;
        };
        let bare = memchr::memchr_iter(b'\n', bytes).any(|feed| feed == 0 || bytes[feed - 1] != b'\r');
        (!bare).then(|| parsed.iter().map(|field| (field.name.into(), field.value.into())).collect())
    }

    fn ours(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut raw = RawHead::default();
        let end = fields(bytes, 0, 16, &mut raw).ok()??;
        assert_eq!(end, bytes.len());
        assert!(raw.fields.iter().all(|field| field.known == Known::of(field.name.of(bytes))), "the shortcut is none");
        Some(raw.fields.iter().map(|field| (field.name.of(bytes).into(), field.value.of(bytes).into())).collect())
    }

    proptest! {
        #[test]
        fn fields_are_those_of_httparse(lines in prop::collection::vec("[ -~\\t\\r\\n\\x00\\x7fa-c:é]{0,12}(: ?|:)[ -~\\té]{0,20}", 0..5)) {
            let text = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>() + "\r\n";
            // A line that is empty ends the head early: then the two do not see the same bytes.
            prop_assume!(text == "\r\n" || !text.starts_with("\r\n") && text.find("\r\n\r\n") == Some(text.len() - 4));
            prop_assert_eq!(ours(text.as_bytes()), reference(text.as_bytes()));
        }

        #[test]
        fn names_end_where_tokens_end(bytes in prop::collection::vec(prop_oneof![prop::sample::select(b"abzAZ-,.:`{@[_0".to_vec()), any::<u8>()], 0..40)) {
            let mut unusual = false;
            let end = name_end(&bytes, 0, &mut unusual);
            prop_assert_eq!(end, run(&bytes, 0, &TOKEN));
            prop_assert!(unusual || bytes[..end].iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'-'));
        }

        #[test]
        fn control_bytes_are_found_wherever_they_are(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let naive = bytes.iter().position(|byte| *byte < 0x20 || *byte == 0x7f).unwrap_or(bytes.len());
            prop_assert_eq!(skip_text(&bytes, 0), naive);
        }
    }
}
