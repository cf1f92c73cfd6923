//! Telling PROXY headers from other bytes.

use crc::{CRC_32_ISCSI, Crc};
use proxy_header::{ParseConfig, Protocol};

use super::ProxyHeader;
use super::header::Values;

pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const GREETING: &[u8] = b"PROXY ";
/// The longest line of version 1, with its end (§2.1).
const MAX_LINE: usize = 107;

pub(super) const AUTHORITY: u8 = 0x02;
pub(super) const CHECKSUM: u8 = 0x03;
const PADDING: u8 = 0x04;
pub(super) const UNIQUE_ID: u8 = 0x05;
/// §2.2.5 bounds it.
const MAX_UNIQUE_ID: usize = 128;

/// CRC32c of RFC 4960, appendix B.
pub(super) const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// They may become a header.
    Incomplete,
    /// A header, and how many bytes it took.
    Header(ProxyHeader, usize),
    /// They are the connection's own.
    Other,
    /// They begin as a header does, and are none.
    Malformed,
}

/// Looks at the first bytes of a connection; a header has at most `max`.
pub(crate) fn start(bytes: &[u8], max: usize) -> Start {
    if is_prefix(bytes, SIGNATURE) {
        return second(bytes, max).unwrap_or(Start::Malformed);
    }
    match is_prefix(bytes, GREETING) {
        true => first(bytes).unwrap_or(Start::Malformed),
        false => Start::Other,
    }
}

fn is_prefix(bytes: &[u8], of: &[u8]) -> bool {
    let common = bytes.len().min(of.len());
    bytes[..common] == of[..common]
}

/// Version 1: a line.
fn first(bytes: &[u8]) -> Option<Start> {
    let line = &bytes[..bytes.len().min(MAX_LINE)];
    // The first CR is that of the end, whatever stands behind `UNKNOWN`.
    let Some(end) = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return (line.len() < MAX_LINE).then_some(Start::Incomplete);
    };
    match line.get(end..).unwrap_or_default() {
        [b'\r'] if line.len() < MAX_LINE => return Some(Start::Incomplete),
        [b'\r', b'\n', ..] => {}
        _ => return None,
    }
    let text = &line[GREETING.len()..end];
    if let Some(behind) = text.strip_prefix(b"UNKNOWN") {
        let ends_there = behind.is_empty() || behind[0] == b' ';
        return ends_there.then(|| Start::Header(ProxyHeader::default(), end + 2));
    }
    if text.split(|byte| *byte == b' ').skip(3).any(|port| !is_port(port)) {
        return None;
    }
    let (header, length) = proxy_header::ProxyHeader::parse(&line[..end + 2], CONFIG).ok()?;
    let addresses = header.proxied_address().map(|address| (address.source, address.destination));
    (length == end + 2).then(|| Start::Header(ProxyHeader { addresses, ..ProxyHeader::default() }, length))
}

/// Digits without a plus sign or leading zeros, which the library takes.
fn is_port(text: &[u8]) -> bool {
    let digits = (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    digits && (text.len() == 1 || text[0] != b'0')
}

const CONFIG: ParseConfig = ParseConfig { include_tlvs: true, allow_v1: true, allow_v2: true };

/// Version 2: a head of 16 bytes that says how long the rest is.
fn second(bytes: &[u8], max: usize) -> Option<Start> {
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..SIGNATURE.len() + 4) else {
        return Some(Start::Incomplete);
    };
    let total = SIGNATURE.len() + 4 + usize::from(u16::from_be_bytes([high, low]));
    // Before it is whole: nobody waits for the rest of what will be refused.
    let addresses = match family {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return None,
    };
    if !matches!(command, 0x20 | 0x21) || total > max {
        return None;
    }
    let Some(whole) = bytes.get(..total) else { return Some(Start::Incomplete) };
    // §2.2: of a LOCAL one the block is thrown away, the family included. Without a family it can still be read.
    if command == 0x20 && family != 0x00 {
        return Some(Start::Header(ProxyHeader::default(), total));
    }
    // "Too short" is what the library says of a whole header that its addresses do not fit into.
    let (header, length) = proxy_header::ProxyHeader::parse(whole, CONFIG).ok()?;
    if header.tlvs().any(|tlv| tlv.is_err()) {
        return None;
    }
    let values = values(whole, &whole[SIGNATURE.len() + 4 + addresses..])?;
    // Of a client on a datagram socket the addresses are not those of a connection.
    let stream = header.proxied_address().filter(|address| address.protocol == Protocol::Stream);
    let addresses = stream.map(|address| (address.source, address.destination));
    (length == total).then_some(Start::Header(ProxyHeader { addresses, values }, total))
}

/// The TLVs, which have to fill their place, with a checksum that is right where there is one.
fn values(whole: &[u8], mut rest: &[u8]) -> Option<Values> {
    let mut values = Vec::new();
    let mut checked = false;
    while let [kind, high, low, behind @ ..] = rest {
        let (value, next) = behind.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        match *kind {
            CHECKSUM if checked || !is_right(whole, value, whole.len() - next.len()) => return None,
            CHECKSUM => checked = true,
            PADDING => {}
            UNIQUE_ID if value.len() > MAX_UNIQUE_ID => return None,
            kind => values.push((kind, value.into())),
        }
        rest = next;
    }
    rest.is_empty().then(|| values.into())
}

/// Whether `sum`, which ends at `end` of the header, is that of the header with zeros in its place.
fn is_right(whole: &[u8], sum: &[u8], end: usize) -> bool {
    let Ok(sum) = <[u8; 4]>::try_from(sum) else { return false };
    let mut digest = CRC32C.digest();
    digest.update(&whole[..end - 4]);
    digest.update(&[0; 4]);
    digest.update(&whole[end..]);
    digest.finalize() == u32::from_be_bytes(sum)
}

#[cfg(test)]
mod tests;
