//! The strict reference: heads and bodies out of a stream, read line by line and without a shortcut.

use std::fmt;

/// Names in lower case, and values.
pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A request that was found.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) fields: Fields,
    /// The body without its framing; `None` where it is malformed or not all there.
    pub(crate) body: Option<Vec<u8>>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = [&self.method[..], b" ", &self.target].concat();
        write_message(f, &start, &self.fields, self.body.as_deref())
    }
}

/// A message on one line, for reports.
pub(crate) fn write_message(
    f: &mut fmt::Formatter<'_>,
    start: &[u8],
    fields: &Fields,
    body: Option<&[u8]>,
) -> fmt::Result {
    write!(f, "{}", start.escape_ascii())?;
    for (name, value) in fields {
        write!(f, " | {}: {}", name.escape_ascii(), value.escape_ascii())?;
    }
    match body {
        Some(body) => write!(f, " | {} bytes: {}", body.len(), body.escape_ascii()),
        None => write!(f, " | not whole"),
    }
}

/// How a stream of requests ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a whole request, or within one.
    Open,
    Malformed(&'static str),
}

/// How a head says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Undeclared,
    Counted(u64),
    Chunked,
}

/// A part of a stream: what it is and what lies behind it; `Ok(None)` where it is not all there.
pub(crate) type Part<'a, T> = Result<Option<(T, &'a [u8])>, &'static str>;

/// The requests in these bytes up to the first that is malformed or not all there, that one included
/// if its head is whole.
pub(crate) fn requests(mut bytes: &[u8]) -> (Vec<Request>, End) {
    let mut found = Vec::new();
    loop {
        let (mut request, framing, rest) = match request_head(bytes) {
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

/// A request without its body, behind at most one empty line.
pub(crate) fn request_head(bytes: &[u8]) -> Part<'_, (Request, Framing)> {
    let Some((lines, rest)) = lines(bytes.strip_prefix(b"\r\n").unwrap_or(bytes)) else { return Ok(None) };
    let words: Vec<_> = lines[0].split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Err("not three words") };
    if !is_token(method) || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err("a malformed request line");
    }
    let is_http11 = is_http11(version)?;
    let fields = fields(&lines[1..])?;
    let hosts = values(&fields, b"host").count();
    if hosts > 1 || (is_http11 && hosts == 0) {
        return Err("not one host");
    }
    let framing = framing(&fields, is_http11)?;
    let request = Request { method: method.to_vec(), target: target.to_vec(), fields, body: None };
    Ok(Some(((request, framing), rest)))
}

/// The status and framing of a response.
pub(crate) fn response_head(bytes: &[u8]) -> Part<'_, (Vec<u8>, Framing)> {
    let Some((lines, rest)) = lines(bytes) else { return Ok(None) };
    let words: Vec<_> = lines[0].splitn(3, |byte| *byte == b' ').collect();
    let (version, status, reason) = match words[..] {
        [version, status] => (version, status, &b""[..]),
        [version, status, reason] => (version, status, reason),
        _ => return Err("not two words"),
    };
    match status {
        [b'1'..=b'5', rest @ ..] if rest.len() == 2 && rest.iter().all(u8::is_ascii_digit) && is_text(reason) => {}
        _ => return Err("a malformed status line"),
    }
    let is_http11 = is_http11(version)?;
    let framing = framing(&fields(&lines[1..])?, is_http11)?;
    Ok(Some(((status.to_vec(), framing), rest)))
}

/// The lines of a head, of which there is at least one, and what lies behind it.
fn lines(bytes: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut lines = Vec::new();
    let mut rest = &bytes[..end + 2];
    while let Some((line, behind)) = split_line(rest) {
        lines.push(line);
        rest = behind;
    }
    Some((lines, &bytes[end + 4..]))
}

fn is_http11(version: &[u8]) -> Result<bool, &'static str> {
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err("another version"),
    }
}

fn fields(lines: &[&[u8]]) -> Result<Fields, &'static str> {
    lines.iter().map(|line| field(line)).collect()
}

fn field(line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a line without a colon")?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    match is_token(name) && is_text(value) {
        true => Ok((name.to_ascii_lowercase(), trim(value).to_vec())),
        false => Err("a malformed field"),
    }
}

/// The same fields with their names in lower case.
pub(crate) fn lower_case(fields: &[(Vec<u8>, Vec<u8>)]) -> Fields {
    fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
}

/// The values of all fields of this name.
pub(crate) fn values<'a>(fields: &'a Fields, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |(candidate, _)| candidate == name).map(|(_, value)| &**value)
}

/// RFC 9112 §6, refusing what it lets a recipient mend.
fn framing(fields: &Fields, is_http11: bool) -> Result<Framing, &'static str> {
    let lengths: Vec<_> = values(fields, b"content-length").collect();
    let codings: Vec<_> = values(fields, b"transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Framing::Undeclared),
        ([length], []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(length).ok().and_then(|digits| digits.parse().ok());
            length.map(Framing::Counted).ok_or("a length beyond 64 bits")
        }
        ([], [coding]) if is_http11 && coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        _ => Err("ambiguous framing"),
    }
}

fn body(bytes: &[u8], framing: Framing) -> Part<'_, Vec<u8>> {
    match framing {
        Framing::Chunked => chunks(bytes),
        Framing::Counted(length) => Ok(counted(bytes, length)),
        Framing::Undeclared => Ok(Some((Vec::new(), bytes))),
    }
}

/// So many bytes, and what lies behind them; `None` where they are not all there.
pub(crate) fn counted(bytes: &[u8], length: u64) -> Option<(Vec<u8>, &[u8])> {
    let (body, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    Some((body.to_vec(), rest))
}

/// The data of all chunks, and what lies behind the last one and its trailers.
pub(crate) fn chunks(mut bytes: &[u8]) -> Part<'_, Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let Some((line, rest)) = split_line(bytes) else { return Ok(None) };
        let size = chunk_size(line)?;
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

/// The size before the extensions.
fn chunk_size(line: &[u8]) -> Result<usize, &'static str> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) || !is_text(line) {
        return Err("a malformed chunk");
    }
    let digits = std::str::from_utf8(digits).map_err(|_| "digits are ASCII")?;
    usize::from_str_radix(digits, 16).map_err(|_| "a chunk beyond 64 bits")
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

/// RFC 9110 §5.5, where a tab is no control character.
fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

/// Without the spaces and tabs around it.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
