//! The field `tracestate` (W3C Trace Context §3.3).

/// How many members a list may have.
const MEMBERS: usize = 32;
/// The longest key, and the longest value.
const LONGEST: usize = 256;

/// Whether fields of these values are a list of members with different keys, in the grammar of Level 2, which is
/// wider than that of Level 1.
pub(crate) fn is_state<'a>(fields: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut keys: [&[u8]; MEMBERS] = [&[]; MEMBERS];
    let mut count = 0;
    for member in fields.flat_map(|field| field.split(|byte| *byte == b',')).map(trim) {
        // An empty member is allowed (§3.3.1.1).
        if member.is_empty() {
            continue;
        }
        let Some(key) = key(member).filter(|key| !keys[..count].contains(key)) else { return false };
        let Some(place) = keys.get_mut(count) else { return false };
        *place = key;
        count += 1;
    }
    true
}

/// Optional white space (RFC 9110 §5.6.3).
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The key of a member, if that is one.
fn key(member: &[u8]) -> Option<&[u8]> {
    let split = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&member[..split], &member[split + 1..]);
    let starts = matches!(key.first(), Some(b'a'..=b'z' | b'0'..=b'9'));
    let of_key = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let of_value = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'=';
    let fits = key.len() <= LONGEST && (1..=LONGEST).contains(&value.len());
    (starts && fits && key.iter().all(of_key) && value.iter().all(of_value)).then_some(key)
}
