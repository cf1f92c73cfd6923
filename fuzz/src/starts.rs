//! What a connection begins with before its own first byte, or that tells where it goes: PROXY headers and TLS
//! ClientHellos, beside the library and a naive reference.

use std::net::SocketAddr;

use proxy_core::fuzzing::{self, Hello, Start};

use crate::feedback;
use crate::mutate::Mutator;

/// A decision does not depend on how bytes arrive, takes no more than there are, and the library agrees on whom a
/// header names.
pub(crate) fn proxy_header(bytes: &[u8]) -> Result<(), String> {
    let all = fuzzing::proxy_header(bytes);
    feedback::note(format!("{all:?}").len());
    // The decision is made within a header's length; the rest are bytes of the connection.
    for end in 0..bytes.len().min(300) {
        let early = fuzzing::proxy_header(&bytes[..end]);
        if early != Start::Incomplete && early != all {
            return Err(format!("{early:?} of {end} bytes, and {all:?} of all"));
        }
    }
    let Start::Header { addresses, length } = all else { return Ok(()) };
    if length > bytes.len() {
        return Err(format!("a header of {length} bytes, of {}", bytes.len()));
    }
    let is_local = bytes[0] == b'\r' && bytes[12] == 0x20;
    if is_local {
        return if addresses.is_none() { Ok(()) } else { Err("a LOCAL header names a client".into()) };
    }
    let config = proxy_header::ParseConfig::default();
    let theirs = proxy_header::ProxyHeader::parse(&bytes[..length], config);
    let (theirs, taken) = theirs.map_err(|error| format!("the library refuses an accepted header: {error}"))?;
    let stream = theirs.proxied_address().filter(|it| it.protocol == proxy_header::Protocol::Stream);
    let expected: Option<(SocketAddr, SocketAddr)> = stream.map(|it| (it.source, it.destination));
    match (addresses, taken) == (expected, length) {
        true => Ok(()),
        false => Err(format!("{addresses:?} in {length} bytes; the library has {expected:?} in {taken}")),
    }
}

/// A decision does not depend on how bytes arrive, more bytes are asked for than there are, and the reference agrees.
pub(crate) fn client_hello(bytes: &[u8]) -> Result<(), String> {
    let all = fuzzing::client_hello(bytes);
    feedback::note(match &all {
        Hello::Whole { name, protocols } => (name.is_some(), protocols.len(), 0),
        Hello::Incomplete { .. } => (false, 0, 1),
        Hello::Refused(code) => (true, 0, code.len()),
    });
    for end in 0..bytes.len().min(300) {
        match fuzzing::client_hello(&bytes[..end]) {
            Hello::Incomplete { wanted } if wanted <= end => return Err(format!("{wanted} bytes wanted, of {end}")),
            Hello::Incomplete { .. } => {}
            early if early != all => return Err(format!("{early:?} of {end} bytes, and {all:?} of all")),
            _ => {}
        }
    }
    let Hello::Whole { name, protocols } = all else { return Ok(()) };
    match reference(bytes) {
        Some(theirs) if theirs == (name.clone(), protocols.clone()) => Ok(()),
        theirs => Err(format!("{name:?} {protocols:?}, but the reference has {theirs:?}")),
    }
}

type Asked = (Option<String>, Vec<Vec<u8>>);

/// Reads a hello that is there as a whole; knows nothing of limits and strictness.
fn reference(bytes: &[u8]) -> Option<Asked> {
    let mut message = Vec::new();
    let mut rest = bytes;
    while message.len() < 4 || message.len() < 4 + number(&message[1..4]) {
        let length = number(rest.get(3..5)?);
        message.extend_from_slice(rest.get(5..5 + length)?);
        rest = &rest[5 + length..];
    }
    let mut at = 4 + 34;
    at += 1 + number(message.get(at..at + 1)?);
    at += 2 + number(message.get(at..at + 2)?);
    at += 1 + number(message.get(at..at + 1)?);
    let mut asked = (None, Vec::new());
    at += 2; // how long the extensions are
    while let Some(head) = message.get(at..at + 4) {
        let body = message.get(at + 4..at + 4 + number(&head[2..]))?;
        match number(&head[..2]) {
            0 => asked.0 = Some(String::from_utf8_lossy(body.get(5..)?).trim_end_matches('.').to_lowercase()),
            16 => asked.1 = names(body.get(2..)?)?,
            _ => {}
        }
        at += 4 + body.len();
    }
    Some(asked)
}

fn names(mut list: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    while let [length, rest @ ..] = list {
        let (name, behind) = rest.split_at_checked((*length).into())?;
        names.push(name.to_vec());
        list = behind;
    }
    Some(names)
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// A header of either version, and something behind it.
pub(crate) fn grow_proxy_header(random: &mut Mutator) -> Vec<u8> {
    if random.below(2) == 0 {
        let family = random.pick(&["TCP4", "TCP6", "UNKNOWN", "UDP4"]);
        let address = random.pick(&["192.0.2.1 192.0.2.2", "::1 2001:db8::1", "192.0.2.1 ::1", "", "x"]);
        let ports = random.pick(&["1 2", "0 65535", "01 2", "1 65536", "+1 2", ""]);
        return format!("PROXY {family} {address} {ports}\r\nGET / HTTP/1.1\r\n\r\n").into_bytes();
    }
    let (command, family) = (random.below(3) as u8, [0, 0x11, 0x12, 0x21, 0x31, 0x41][random.below(6)]);
    let addresses = [0, 12, 12, 36, 216, 4][random.below(6)];
    let mut rest = vec![7; addresses];
    for _ in 0..random.below(4) {
        let length = random.below(9);
        rest.extend([[1, 2, 3, 4, 5, 0x20, 0xe0][random.below(7)], 0, length as u8]);
        rest.extend(vec![b'a'; length]);
    }
    let length = (rest.len() + random.below(8) / 7) as u16;
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 + command, family], &length.to_be_bytes(), &rest, b"GET"].concat()
}

/// A hello with some extensions, in one record or several.
pub(crate) fn grow_client_hello(random: &mut Mutator) -> Vec<u8> {
    let vector16 = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let mut extensions = Vec::new();
    for _ in 0..random.below(4) {
        let (kind, body) = match random.below(4) {
            0 => {
                let name = random.pick(&["a.example", "A.example.", "", "a b", "::1"]);
                (0_u16, vector16(&[&[0][..], &vector16(name.as_bytes())].concat()))
            }
            1 => (16, vector16(random.pick(&["\x02h2", "\x08http/1.1\x02h2", "\x03h2", "", "\0"]).as_bytes())),
            _ => (random.below(60) as u16, vec![0; random.below(30)]),
        };
        extensions.extend([&kind.to_be_bytes()[..], &vector16(&body)].concat());
    }
    let session = vec![8; [0, 0, 32, 33][random.below(4)]];
    let body =
        [&[3, 3][..], &[9; 32], &[session.len() as u8], &session, &[0, 2, 0x13, 1, 1, 0], &vector16(&extensions)]
            .concat();
    let message = [&[1, 0][..], &vector16(&body)].concat();
    let size = [message.len(), 1 + random.below(60)][random.below(2)];
    message.chunks(size).flat_map(|part| [&[22, 3, random.below(6) as u8][..], &vector16(part)].concat()).collect()
}
