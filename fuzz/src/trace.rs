//! Trace contexts, beside a naive reading of them. The first line is a `traceparent`, the others are `tracestate`.

use std::collections::HashSet;

use proxy_core::fuzzing::{is_tracestate, traceparent};

use crate::feedback;
use crate::mutate::Mutator;

/// Both fields are what a naive reading finds in them.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let parent = lines.next().unwrap_or_default();
    let states: Vec<_> = lines.collect();
    let (read, expected) = (traceparent(parent), naive_parent(parent));
    feedback::note(("parent", &read));
    if read != expected {
        return Err(format!("{} is {expected:?}, and was read as {read:?}", parent.escape_ascii()));
    }
    let (read, expected) = (is_tracestate(states.iter().copied()), naive_state(&states));
    feedback::note(("state", read, states.len().min(8)));
    if read != expected {
        return Err(format!("whether the state is one was read as {read}"));
    }
    Ok(())
}

fn naive_parent(field: &[u8]) -> Option<(Vec<u8>, Vec<u8>, u8)> {
    let text = std::str::from_utf8(field).ok()?;
    let parts: Vec<_> = text.splitn(5, '-').collect();
    let [version, trace, span, flags] = *parts.get(..4)? else { return None };
    let digits = |text: &str, count| text.len() == count && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    let is_id = |text: &str, count| digits(text, count) && text.contains(|c| c != '0');
    let fits = digits(version, 2) && version != "ff" && (version != "00" || parts.len() == 4);
    let good = fits && is_id(trace, 32) && is_id(span, 16) && digits(flags, 2);
    good.then(|| (trace.into(), span.into(), u8::from_str_radix(flags, 16).unwrap_or_default() & 3))
}

fn naive_state(fields: &[&[u8]]) -> bool {
    let members = fields.iter().flat_map(|field| field.split(|byte| *byte == b','));
    let members: Option<Vec<_>> = members.map(|member| std::str::from_utf8(member).ok()).collect();
    let Some(members) = members else { return false };
    let members =
        members.into_iter().map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty());
    let mut keys = HashSet::new();
    for member in members {
        let Some((key, value)) = member.split_once('=') else { return false };
        let of_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-*/@".contains(c);
        let is_key =
            (1..=256).contains(&key.len()) && key.chars().all(of_key) && !key.starts_with(['_', '-', '*', '/', '@']);
        let is_value = (1..=256).contains(&value.len()) && value.chars().all(|c| (' '..='~').contains(&c) && c != '=');
        if !is_key || !is_value || !keys.insert(key) {
            return false;
        }
    }
    keys.len() <= 32
}

/// Fields, or nearly.
pub(crate) fn grow(random: &mut Mutator) -> Vec<u8> {
    let mut text = String::new();
    text += random.pick(&["00", "01", "ff", "fe", "0", "0x"]);
    text += random.pick(&[
        "-4bf92f3577b34da6a3ce929d0e0e4736",
        "-00000000000000000000000000000000",
        "-00000000000000000000000000000001",
        "-4bf92f3577b34da6a3ce929d0e0e473",
        "-4BF92F3577B34DA6A3CE929D0E0E4736",
    ]);
    text += random.pick(&["-00f067aa0ba902b7", "-0000000000000000", "-00f067aa0ba902b", "-00f067aa0ba902bg", "-"]);
    text += random.pick(&["-00", "-01", "-ff", "-1", "-0g", "", "-01-", "-01-more"]);
    for _ in 0..random.below(40) {
        text += random.pick(&["\n", ",", ", ", "a=1", "b=2", "c", "=", "a@b=x y", "k=", " ", "\t"]);
        if random.below(3) == 0 {
            text += &format!(",k{}=v", random.below(40));
        }
    }
    text.into_bytes()
}
