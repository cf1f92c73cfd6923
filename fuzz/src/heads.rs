//! The parsers of heads and chunks, beside httparse, hyper and naive references.

use proxy_core::fuzzing::{self, Head, Parsed};

use crate::strict::{self, Framing, Part, Request};
use crate::{feedback, forwarded, peer};

/// A request head: one meaning however it arrives, the same as httparse's and the strict reference's,
/// and hyper frames it alike. What the strict reference takes is refused for a reason of its own only.
pub(crate) fn request(bytes: &[u8]) -> Result<(), String> {
    let parsed = check_parser(bytes, fuzzing::request_head)?;
    note(&parsed);
    let head = match parsed {
        Parsed::Complete(head) => head,
        Parsed::Incomplete => return Ok(()),
        Parsed::Refused(reason) => return check_refused_request(bytes, reason),
    };
    let used = &bytes[..head.consumed];
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Request::new(&mut fields);
    if !theirs.parse(used).is_ok_and(|status| status.is_complete()) {
        return Err("httparse refuses an accepted head".into());
    }
    let start = (theirs.method.unwrap_or_default().to_owned(), theirs.path.unwrap_or_default().as_bytes().to_vec());
    check_equal(&head, &start, theirs.headers)?;
    check_lines(used)?;
    check_framing(&head, &strict::request_head(used))?;
    check_written(&head)?;
    check_hyper(used, &head)
}

/// What the strict reference does not look at.
fn check_refused_request(bytes: &[u8], reason: &str) -> Result<(), String> {
    const OWN: [&str; 8] = [
        "bad_target",
        "expectation",
        "head_too_large",
        "host_malformed",
        "host_mismatch",
        "length_malformed",
        "target_too_long",
        "too_many_headers",
    ];
    let Ok(Some(((request, _), _))) = strict::request_head(bytes) else { return Ok(()) };
    // A method that is too long has no reason of its own; long heads have limits of all kinds.
    match OWN.contains(&reason) || request.method.len() > 64 || bytes.len() > 1024 {
        true => Ok(()),
        false => Err(format!("refused with {reason}, but the strict reference reads {request:?}")),
    }
}

/// The origin gets the client's method and target.
fn check_written(head: &Head) -> Result<(), String> {
    let (method, target) = (head.start.0.as_bytes(), &head.start.1);
    let line = [method, b" ", &forwarded::origin_form(target, method), b" HTTP/1.1\r\n"].concat();
    match head.written.starts_with(&line) {
        true => Ok(()),
        false => Err(format!("{} is written as {}", line.escape_ascii(), head.written.escape_ascii())),
    }
}

/// Behind an accepted head comes its body and another request: hyper must find both, or refuse.
fn check_hyper(bytes: &[u8], head: &Head) -> Result<(), String> {
    let length = usize::try_from(head.length.unwrap_or(0)).unwrap_or(usize::MAX);
    if length > 4096 || head.start.0 == "CONNECT" {
        return Ok(());
    }
    let (body, coded) = match head.chunked {
        true => (b"abc".to_vec(), b"3\r\nabc\r\n0\r\n\r\n".to_vec()),
        false => (vec![b'A'; length], vec![b'A'; length]),
    };
    let sentinel = Request {
        method: b"GET".to_vec(),
        target: b"/sentinel".to_vec(),
        fields: vec![(b"host".to_vec(), b"s".to_vec())],
        body: Some(Vec::new()),
    };
    let fields = strict::lower_case(&head.fields);
    let first = Request { method: head.start.0.clone().into(), target: head.start.1.clone(), fields, body: Some(body) };
    peer::check(&[bytes, &coded, b"GET /sentinel HTTP/1.1\r\nHost: s\r\n\r\n"].concat(), &[first, sentinel])
}

/// A response head: one meaning however it arrives, the same as httparse's and the strict reference's.
pub(crate) fn response(bytes: &[u8]) -> Result<(), String> {
    let parsed = check_parser(bytes, fuzzing::response_head)?;
    note(&parsed);
    let head = match parsed {
        Parsed::Complete(head) => head,
        Parsed::Incomplete => return Ok(()),
        Parsed::Refused(reason) => return check_refused_response(bytes, reason),
    };
    let used = &bytes[..head.consumed];
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Response::new(&mut fields);
    if !theirs.parse(used).is_ok_and(|status| status.is_complete()) {
        return Err("httparse refuses an accepted head".into());
    }
    let start = (theirs.code.unwrap_or_default().to_string(), Vec::new());
    check_equal(&head, &start, theirs.headers)?;
    check_lines(used)?;
    check_framing(&head, &strict::response_head(used))
}

/// Only for a size or a length beyond a limit: a hundred fields have at least four hundred bytes.
fn check_refused_response(bytes: &[u8], reason: &str) -> Result<(), String> {
    match strict::response_head(bytes) {
        Ok(Some((read, _))) if bytes.len() <= 400 && !is_long(read.1) => {
            Err(format!("refused with {reason}, but the strict reference reads {read:?}"))
        }
        _ => Ok(()),
    }
}

/// Lengths have 63 bits.
fn is_long(framing: Framing) -> bool {
    matches!(framing, Framing::Counted(length) if length > i64::MAX as u64)
}

/// What tells parsed heads from one another.
fn note(parsed: &Parsed) {
    match parsed {
        Parsed::Complete(head) => feedback::note((
            head.fields.len().min(8),
            head.length.map(|length| length.min(1)),
            (head.chunked, head.keep_alive),
            (head.start.0.len().min(8), head.start.0.bytes().next()),
            head.start.1.first(),
        )),
        Parsed::Incomplete => {}
        Parsed::Refused(reason) => feedback::note(reason),
    }
}

/// The same result wherever the input is cut, and what is written again parses to the same.
fn check_parser(bytes: &[u8], parse: fn(&[u8]) -> Parsed) -> Result<Parsed, String> {
    let whole = parse(bytes);
    for cut in (0..bytes.len()).step_by(1 + bytes.len() / 40) {
        match (parse(&bytes[..cut]), &whole) {
            (Parsed::Incomplete, _) => {}
            (Parsed::Complete(part), Parsed::Complete(head)) if part == *head => {}
            (Parsed::Refused(_), Parsed::Refused(_)) => {}
            (part, _) => return Err(format!("cut at {cut}: {part:?}, whole: {whole:?}")),
        }
    }
    if let Parsed::Complete(head) = &whole {
        let again = parse(&[&head.written[..], b"\r\n"].concat());
        let same = matches!(&again, Parsed::Complete(again)
            if again.fields == head.fields && again.length == head.length && again.chunked == head.chunked);
        // Written as HTTP/1.1, what only HTTP/1.0 lets pass is refused; the engine mends both.
        if !same && !matches!(again, Parsed::Refused("host_missing" | "expectation")) {
            return Err(format!("written again: {again:?}, first: {head:?}"));
        }
    }
    Ok(whole)
}

fn check_equal(head: &Head, start: &(String, Vec<u8>), fields: &[httparse::Header<'_>]) -> Result<(), String> {
    let fields: Vec<_> = fields.iter().map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec())).collect();
    match head.start == *start && head.fields == fields {
        true => Ok(()),
        false => Err(format!("httparse reads {start:?} {fields:?}, we {head:?}")),
    }
}

/// No accepted head has a bare line feed or carriage return.
fn check_lines(bytes: &[u8]) -> Result<(), String> {
    let bare = |at: usize| match bytes[at] {
        b'\n' => at == 0 || bytes[at - 1] != b'\r',
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    match (0..bytes.len()).find(|at| bare(*at)) {
        Some(at) => Err(format!("a bare line end at {at} was accepted")),
        None => Ok(()),
    }
}

/// The strict reference reads an accepted head as well, to its end, and frames its body alike.
fn check_framing<T: std::fmt::Debug>(head: &Head, parsed: &Part<'_, (T, Framing)>) -> Result<(), String> {
    let same = match parsed {
        Ok(Some(((_, Framing::Chunked), []))) => head.chunked,
        Ok(Some(((_, Framing::Counted(length)), []))) => !head.chunked && head.length == Some(*length),
        // None in a request, and until the connection ends in a response.
        Ok(Some(((_, Framing::Undeclared), []))) => !head.chunked && matches!(head.length, None | Some(0)),
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("the strict reference reads {parsed:?}, we {head:?}")) }
}

/// A chunked body: the same however it arrives, and what a naive decoder makes of it.
pub(crate) fn chunked(bytes: &[u8]) -> Result<(), String> {
    let whole = fuzzing::chunked(&[bytes]);
    for step in [1, 2, 3, 7, 64] {
        let segments: Vec<_> = bytes.chunks(step).collect();
        if fuzzing::chunked(&segments) != whole {
            return Err(format!("in steps of {step} it is another body"));
        }
    }
    feedback::note((whole.as_ref().map(|(data, behind)| (data.len().min(9), *behind > 0)), bytes.len().min(20)));
    match (strict::chunks(bytes), whole) {
        (Ok(Some((theirs, rest))), Some((ours, behind))) if theirs == ours && rest.len() == behind => Ok(()),
        (Ok(Some(_)), None) if is_beyond_limits(bytes) => Ok(()),
        (Err(_) | Ok(None), None) => Ok(()),
        (theirs, ours) => Err(format!("the naive decoder reads {theirs:?}, we {ours:?}")),
    }
}

/// Sizes of many digits, long extensions and large trailer sections are refused.
fn is_beyond_limits(bytes: &[u8]) -> bool {
    let many_digits = bytes.windows(16).any(|window| window.iter().all(u8::is_ascii_hexdigit));
    many_digits || bytes.len() > 4096 || bytes.split(|byte| *byte == b'\n').count() > 32
}
