//! The field `traceparent` (W3C Trace Context §3.2).

use std::ops::Range;

/// The length of a field of version 0.
pub(crate) const LEN: usize = 55;

pub(super) const TRACE_ID: Range<usize> = 3..35;
pub(super) const SPAN_ID: Range<usize> = 36..52;
pub(super) const FLAGS: Range<usize> = 53..55;

/// Somebody who came before may have recorded the trace.
const SAMPLED: u8 = 1;
/// The last seven bytes of the trace's id are random (Level 2, §3.2.2.5.2).
const RANDOM: u8 = 2;

/// What a request says about its trace, digits as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) trace_id: [u8; 32],
    pub(crate) span_id: [u8; 16],
    /// Those that have a meaning: others must not be passed on (§3.2.2.5).
    pub(crate) flags: u8,
}

impl Parent {
    /// That of a trace that begins here.
    pub(super) fn new(id: u128, sampled: bool) -> Self {
        let mut trace_id = [0; 32];
        write_hex(&mut trace_id, id);
        let flags = if sampled { RANDOM | SAMPLED } else { RANDOM };
        Parent { trace_id, span_id: [b'0'; 16], flags }
    }
}

/// Reads a field to the letter. `None`: it is as if there were none.
pub(crate) fn parse(field: &[u8]) -> Option<Parent> {
    let (known, rest) = field.split_first_chunk::<LEN>()?;
    let version = byte(&known[..2])?;
    // A later version may say more, behind another dash (§4.3); 255 is none.
    let fits = rest.is_empty() || (version > 0 && rest[0] == b'-');
    let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    if version == u8::MAX || !fits || !dashes {
        return None;
    }
    let trace_id = known[TRACE_ID].try_into().ok()?;
    let span_id = known[SPAN_ID].try_into().ok()?;
    if !is_id(&trace_id) || !is_id(&span_id) {
        return None;
    }
    let flags = byte(&known[FLAGS])? & (SAMPLED | RANDOM);
    Some(Parent { trace_id, span_id, flags })
}

/// Digits, not all of them zeros.
fn is_id<const N: usize>(id: &[u8; N]) -> bool {
    id.iter().all(|digit| value(*digit).is_some()) && id.iter().any(|digit| *digit != b'0')
}

fn byte(digits: &[u8]) -> Option<u8> {
    Some(value(digits[0])? << 4 | value(digits[1])?)
}

/// Of a digit of lower-case hexadecimal: no other is allowed.
fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// The last digits of a number, as many as there is room for.
pub(super) fn write_hex(room: &mut [u8], mut number: u128) {
    for digit in room.iter_mut().rev() {
        *digit = b"0123456789abcdef"[number as usize & 15];
        number >>= 4;
    }
}
