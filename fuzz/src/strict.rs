//! The strict reference: requests out of a stream, read line by line and without a shortcut.

use proxy_core::fuzzing::Head;

/// A request that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    /// The body without its framing; `None` where it is malformed or not all there.
    pub(crate) body: Option<Vec<u8>>,
}

/// How a stream of requests ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a whole request, or within one.
    Open,
    Malformed(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Counted(u64),
    Chunked,
}

/// A part of a stream: what it is and what lies behind it; `Ok(None)` where it is not all there.
type Part<'a, T> = Result<Option<(T, &'a [u8])>, &'static str>;

/// The requests in these bytes up to the first that is malformed or not all there, that one included
/// if its head is whole.
pub(crate) fn requests(mut bytes: &[u8]) -> (Vec<Request>, End) {
    let mut found = Vec::new();
    loop {
        bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        let (mut request, framing, rest) = match head(bytes) {
            Ok(Some(((request, framing), rest))) => (request, framing, rest),
            Ok(None) => return (found, End::Open),
            Err(reason) => return (found, End::Malformed(reason)),
        };
        let (read, end) = match body(rest, framing) {
            Ok(read) => (read, End::Open),
            Err(reason) => (None, End::Malformed(reason)),
        };
        request.body = read.as_ref().map(|(body, _)| body.clone());
        found.push(request);
        match read {
            Some((_, rest)) => bytes = rest,
            None => return (found, end),
        }
    }
}

/// An accepted head is one here as well, and frames its body alike.
pub(crate) fn check_framing(bytes: &[u8], head: &Head) -> Result<(), String> {
    let parsed = self::head(bytes.strip_prefix(b"\r\n").unwrap_or(bytes));
    let ours = if head.chunked { Framing::Chunked } else { Framing::Counted(head.length.unwrap_or(0)) };
    match parsed {
        Ok(Some(((_, framing), []))) if framing == ours => Ok(()),
        other => Err(format!("the strict reference reads {other:?}, we {head:?}")),
    }
}

/// Whether everything an origin got is well formed and a part of what the client sent, in order.
pub(crate) fn check_origin(client: &[u8], received: &[Vec<u8>]) -> Result<(), String> {
    let (sent, _) = requests(client);
    let mut left = &sent[..];
    for bytes in received {
        let (found, end) = requests(bytes);
        if let End::Malformed(reason) = end {
            return Err(format!("{reason} in what the origin got: {}", bytes.escape_ascii()));
        }
        for request in found {
            let Some(at) = left.iter().position(|sent| covers(sent, &request)) else {
                return Err(format!("the origin got {request:?}, the client sent {sent:?}"));
            };
            left = &left[at + 1..];
        }
    }
    Ok(())
}

/// Whether the origin's request is this one of the client's. It may have been broken off.
fn covers(sent: &Request, got: &Request) -> bool {
    let same_target = origin_form(&sent.target, &sent.method) == got.target;
    sent.method == got.method && same_target && (got.body.is_none() || sent.body == got.body)
}

/// RFC 9112 §3.2.1 and §3.2.4, for `scheme://authority` in front.
fn origin_form(target: &[u8], method: &[u8]) -> Vec<u8> {
    let Some(colon) = target.windows(3).position(|window| window == b"://").filter(|_| target[0] != b'/') else {
        return target.to_vec();
    };
    let rest = &target[colon + 3..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    match &rest[end..] {
        b"" if method == b"OPTIONS" => b"*".to_vec(),
        form @ (b"" | [b'?', ..]) => [b"/", form].concat(),
        form => form.to_vec(),
    }
}

fn head(bytes: &[u8]) -> Part<'_, (Request, Framing)> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let mut lines = Vec::new();
    let mut rest = &bytes[..end + 2];
    while let Some((line, behind)) = split_line(rest) {
        lines.push(line);
        rest = behind;
    }
    let (start, fields) = lines.split_first().ok_or("no line")?;
    let words: Vec<_> = start.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Err("not three words") };
    let visible = |byte: &u8| byte.is_ascii_graphic();
    if !is_token(method) || target.is_empty() || !target.iter().all(visible) {
        return Err("a malformed request line");
    }
    let http11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err("another version"),
    };
    let fields = fields.iter().map(|line| field(line)).collect::<Result<Vec<_>, _>>()?;
    let framing = framing(&fields, http11)?;
    let request = Request { method: method.to_vec(), target: target.to_vec(), body: None };
    Ok(Some(((request, framing), &bytes[end + 4..])))
}

fn field(line: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a line without a colon")?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let legal = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    match is_token(name) && value.iter().all(legal) {
        true => Ok((name.to_ascii_lowercase(), trim(value))),
        false => Err("a malformed field"),
    }
}

/// RFC 9112 §3.2 and §6, refusing what it lets a recipient mend.
fn framing(fields: &[(Vec<u8>, &[u8])], http11: bool) -> Result<Framing, &'static str> {
    let all = |wanted: &[u8]| fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| *value).collect();
    let (hosts, lengths, codings): (Vec<_>, Vec<_>, Vec<&[u8]>) =
        (all(b"host"), all(b"content-length"), all(b"transfer-encoding"));
    if hosts.len() > 1 || (http11 && hosts.is_empty()) {
        return Err("not one host");
    }
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Framing::Counted(0)),
        ([length], []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(length).ok().and_then(|digits| digits.parse().ok());
            length.map(Framing::Counted).ok_or("a length beyond 64 bits")
        }
        ([], [coding]) if http11 && coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        _ => Err("ambiguous framing"),
    }
}

fn body(bytes: &[u8], framing: Framing) -> Part<'_, Vec<u8>> {
    match framing {
        Framing::Chunked => chunks(bytes),
        Framing::Counted(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            Ok(bytes.split_at_checked(length).map(|(body, rest)| (body.to_vec(), rest)))
        }
    }
}

fn chunks(mut bytes: &[u8]) -> Part<'_, Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let Some((line, rest)) = split_line(bytes) else { return Ok(None) };
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let legal = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) || !line.iter().all(legal) {
            return Err("a malformed chunk");
        }
        let digits = std::str::from_utf8(digits).map_err(|_| "digits are ASCII")?;
        let size = usize::from_str_radix(digits, 16).map_err(|_| "a chunk beyond 64 bits")?;
        if size == 0 {
            return trailers(rest).map(|rest| rest.map(|rest| (data, rest)));
        }
        let Some((chunk, rest)) = rest.split_at_checked(size) else { return Ok(None) };
        let Some((feed, rest)) = rest.split_at_checked(2) else { return Ok(None) };
        if feed != b"\r\n" {
            return Err("a chunk without an end");
        }
        data.extend_from_slice(chunk);
        bytes = rest;
    }
}

/// What lies behind the trailer section and its empty line.
fn trailers(mut bytes: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    loop {
        let Some((line, rest)) = split_line(bytes) else { return Ok(None) };
        if line.is_empty() {
            return Ok(Some(rest));
        }
        field(line)?;
        bytes = rest;
    }
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|window| window == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

/// RFC 9110 §5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(legal)
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
