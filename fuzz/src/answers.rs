//! What a client got, read by its own rules.

use std::fmt;

use proxy_core::fuzzing::{self, Head, Parsed};

use crate::forwarded;
use crate::strict::{self, Fields};

/// A final response, and the statuses of the interim ones before it.
pub(crate) struct Answer {
    pub(crate) interim: Vec<String>,
    pub(crate) status: String,
    pub(crate) fields: Fields,
    /// `None` where it is malformed or broken off.
    pub(crate) body: Option<Vec<u8>>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = [&self.interim.join(" "), " ", &self.status].concat();
        strict::write_message(f, start.trim_start().as_bytes(), &self.fields, self.body.as_deref())
    }
}

impl Answer {
    pub(crate) fn is_error(&self) -> bool {
        self.status.starts_with('5') && self.body.is_some()
    }

    /// Whether this is what a client gets of the origin's answer: all of it, or as much as there is.
    pub(crate) fn is(&self, said: &Answer) -> bool {
        let same_head = self.status == said.status && forwarded::same_fields(&said.fields, &self.fields);
        self.interim == said.interim && same_head && self.body == said.body
    }
}

/// The answer to a request of this method, and what lies behind it. A switch of protocols is one,
/// with everything behind it as its body.
pub(crate) fn next<'a>(mut bytes: &'a [u8], method: &[u8]) -> Option<(Answer, &'a [u8])> {
    let mut interim = Vec::new();
    loop {
        let Parsed::Complete(head) = fuzzing::response_head(bytes) else { return None };
        let rest = &bytes[head.consumed..];
        let status = head.start.0.clone();
        if status.starts_with('1') && status != "101" {
            interim.push(status);
            bytes = rest;
            continue;
        }
        let (body, rest) = match body(rest, &head, method) {
            Some((body, rest)) => (Some(body), rest),
            None => (None, &[][..]),
        };
        let fields = strict::lower_case(&head.fields);
        return Some((Answer { interim, status, fields, body }, rest));
    }
}

/// Whether there is nothing but interim responses.
pub(crate) fn are_interim(mut bytes: &[u8]) -> bool {
    while let Parsed::Complete(head) = fuzzing::response_head(bytes) {
        if !head.start.0.starts_with('1') {
            return false;
        }
        bytes = &bytes[head.consumed..];
    }
    bytes.is_empty()
}

/// RFC 9112 §6.3.
fn body<'a>(rest: &'a [u8], head: &Head, method: &[u8]) -> Option<(Vec<u8>, &'a [u8])> {
    match (&*head.start.0, head.length) {
        ("101", _) => Some((rest.to_vec(), &[])),
        ("204" | "304", _) => Some((Vec::new(), rest)),
        _ if method == b"HEAD" => Some((Vec::new(), rest)),
        _ if head.chunked => fuzzing::chunked(&[rest]).map(|(body, behind)| (body, &rest[rest.len() - behind..])),
        (_, Some(length)) => strict::counted(rest, length),
        (_, None) => Some((rest.to_vec(), &[])),
    }
}

/// Whether there is one whole answer, `200 ok`, to each request, and behind them at most one refusal
/// of what the client sent next.
pub(crate) fn check(mut bytes: &[u8], methods: &[&[u8]], next_method: &[u8]) -> Result<(), String> {
    for method in methods {
        let (answer, rest) = next(bytes, method).ok_or_else(|| format!("no answer in {}", bytes.escape_ascii()))?;
        let body: &[u8] = if *method == b"HEAD" { b"" } else { b"ok" };
        if answer.status != "200" || answer.body.as_deref() != Some(body) {
            return Err(format!("{answer:?} for an answer of 200 ok"));
        }
        bytes = rest;
    }
    match next(bytes, next_method) {
        None if bytes.is_empty() => Ok(()),
        Some((refusal, [])) if refusal.status.starts_with(['4', '5']) && refusal.body.is_some() => Ok(()),
        _ => Err(format!("behind the answers there is {}", bytes.escape_ascii())),
    }
}
