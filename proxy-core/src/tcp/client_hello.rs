//! What the first message of a TLS handshake says about where it goes, without taking part in it.

use crate::ErrorKind;

/// Records that a hello may be spread over. Usually it is one; some clients split it so that middleboxes do not
/// see the name, in two or three.
const MAX_RECORDS: usize = 32;
/// RFC 8446 §5.1.
const MAX_RECORD: usize = 1 << 14;

/// What a ClientHello (RFC 8446 §4.1.2) asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientHello {
    /// The server's name, in lower case and without a final dot (RFC 6066 §3).
    pub(crate) server_name: Option<Box<str>>,
    /// The protocols the client offers, in its order (RFC 7301).
    pub(crate) protocols: Vec<Box<[u8]>>,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peeked {
    Hello(ClientHello),
    /// It cannot be whole before there are so many bytes.
    Incomplete {
        wanted: usize,
    },
    Refused(ErrorKind),
}

/// Looks for a hello of at most `max` bytes at the start of a connection.
pub(crate) fn peek(bytes: &[u8], max: usize) -> Peeked {
    match message(bytes, max) {
        Ok(Message::Whole(body)) => match hello(&body) {
            Some(hello) => Peeked::Hello(hello),
            None => Peeked::Refused(ErrorKind::BadClientHello),
        },
        Ok(Message::Incomplete { wanted }) if wanted > max => Peeked::Refused(ErrorKind::BadClientHello),
        Ok(Message::Incomplete { wanted }) => Peeked::Incomplete { wanted },
        Err(kind) => Peeked::Refused(kind),
    }
}

enum Message {
    /// The body of the message.
    Whole(Vec<u8>),
    Incomplete {
        wanted: usize,
    },
}

/// Puts the message together that the records at the start hold.
fn message(bytes: &[u8], max: usize) -> Result<Message, ErrorKind> {
    let mut message = Vec::new();
    let mut at = 0;
    for _ in 0..MAX_RECORDS {
        let rest = &bytes[at..];
        check_record(rest)?;
        let Some(header) = rest.first_chunk::<5>() else { return Ok(Message::Incomplete { wanted: at + 5 }) };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // RFC 8446 §5.1: no fragment of a handshake is empty.
        if length == 0 || length > MAX_RECORD || at + 5 + length > max {
            return Err(ErrorKind::BadClientHello);
        }
        // What there is of a record is looked at before it is whole: a message that is too long is refused at once.
        let fragment = &rest[5..rest.len().min(5 + length)];
        message.extend_from_slice(fragment);
        let whole = match whole(&message)? {
            Some(whole) if at + 5 + whole.saturating_sub(message.len() - fragment.len()) > max => {
                return Err(ErrorKind::BadClientHello);
            }
            whole => whole,
        };
        if fragment.len() < length {
            return Ok(Message::Incomplete { wanted: at + 5 + length });
        }
        match whole {
            Some(whole) if message.len() == whole => return Ok(Message::Whole(message.split_off(4))),
            // Nothing may follow it in its record: the client has to wait for the answer.
            Some(whole) if message.len() > whole => return Err(ErrorKind::BadClientHello),
            _ => at += 5 + length,
        }
    }
    Err(ErrorKind::BadClientHello)
}

/// A record of a handshake, of SSL 3.0 by its number or later, as far as it is there.
fn check_record(bytes: &[u8]) -> Result<(), ErrorKind> {
    match bytes {
        [] | [22] | [22, 3] => Ok(()),
        [22, 3, minor, ..] if *minor <= 4 => Ok(()),
        _ => Err(ErrorKind::NotTls),
    }
}

/// How long the message is with its head, once that can be told.
fn whole(message: &[u8]) -> Result<Option<usize>, ErrorKind> {
    match message {
        [1, a, b, c, ..] => Ok(Some(4 + (usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c)))),
        [] | [1, ..] => Ok(None),
        _ => Err(ErrorKind::BadClientHello),
    }
}

fn hello(body: &[u8]) -> Option<ClientHello> {
    let mut rest = Bytes(body);
    let version = rest.take(2)?;
    rest.take(32)?; // random
    let session = rest.vector8()?;
    let ciphers = rest.vector16()?;
    let compressions = rest.vector8()?;
    let odd = ciphers.0.is_empty() || ciphers.0.len() % 2 == 1;
    if version[0] != 3 || session.0.len() > 32 || odd || compressions.0.is_empty() {
        return None;
    }
    // TLS 1.2 knows hellos without extensions (RFC 5246 §7.4.1.2).
    if rest.0.is_empty() {
        return Some(ClientHello::default());
    }
    let extensions = rest.vector16()?;
    if rest.0.is_empty() { read_extensions(extensions) } else { None }
}

fn read_extensions(mut extensions: Bytes<'_>) -> Option<ClientHello> {
    let (mut name, mut protocols) = (None, None);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let body = extensions.vector16()?;
        // RFC 8446 §4.2: none comes twice.
        let twice = match kind {
            0 => name.replace(server_name(body)?).is_some(),
            16 => protocols.replace(protocol_names(body)?).is_some(),
            _ => false,
        };
        if twice {
            return None;
        }
    }
    Some(ClientHello { server_name: name, protocols: protocols.unwrap_or_default() })
}

/// RFC 6066 §3: a list with one name in it; no other kind of name was ever defined.
fn server_name(mut body: Bytes<'_>) -> Option<Box<str>> {
    let mut list = body.vector16()?;
    let kind = list.take(1)?;
    let name = list.vector16()?;
    if kind != [0] || !list.0.is_empty() || !body.0.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(name.0).ok()?;
    let text = text.strip_suffix('.').unwrap_or(text);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // Addresses are not names, but some clients send them: an IPv6 one has colons.
    let is_name = (1..=255).contains(&text.len()) && text.bytes().all(|byte| legal(byte) || byte == b':');
    // A name that is empty in places is no route's, and no certificate's.
    let is_whole = text.split('.').all(|label| !label.is_empty());
    (is_name && is_whole).then(|| text.to_ascii_lowercase().into())
}

/// RFC 7301 §3.1: names of 1 to 255 bytes, at least one.
fn protocol_names(mut body: Bytes<'_>) -> Option<Vec<Box<[u8]>>> {
    let mut list = body.vector16()?;
    let mut names = Vec::new();
    while !list.0.is_empty() {
        let name = list.vector8()?;
        if name.0.is_empty() {
            return None;
        }
        names.push(name.0.into());
    }
    (body.0.is_empty() && !names.is_empty()).then_some(names)
}

/// What is left to be read of some bytes.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Bytes behind their length of one byte.
    fn vector8(&mut self) -> Option<Bytes<'a>> {
        let length = self.take(1)?[0];
        self.take(length.into()).map(Bytes)
    }

    /// Bytes behind their length of two bytes.
    fn vector16(&mut self) -> Option<Bytes<'a>> {
        let length = self.u16()?;
        self.take(length.into()).map(Bytes)
    }
}

#[cfg(test)]
mod tests;
