//! Who speaks it.

use super::{Settings, Sniffed};
use crate::Peer;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Looks at the first bytes of a plain connection: those that are no HTTP/1, so that nothing else pays for it.
pub(crate) fn sniff(settings: &Settings, bytes: &[u8]) -> Sniffed {
    let length = bytes.len().min(PREFACE.len());
    match settings.0.is_some() && bytes[..length] == PREFACE[..length] {
        false => Sniffed::Other,
        true if length == PREFACE.len() => Sniffed::Http2,
        true => Sniffed::Maybe,
    }
}

/// Whether the handshake agreed on it (RFC 9113 §3.2).
pub(crate) fn is_agreed(settings: &Settings, peer: &Peer) -> bool {
    settings.0.is_some() && peer.tls.as_ref().is_some_and(|tls| tls.alpn.as_deref() == Some(b"h2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_is_known_from_its_first_byte_on() {
        let on = Settings::default();
        for length in 1..PREFACE.len() {
            assert_eq!(sniff(&on, &PREFACE[..length]), Sniffed::Maybe, "{length}");
        }
        assert_eq!(sniff(&on, PREFACE), Sniffed::Http2);
        assert_eq!(sniff(&on, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"), Sniffed::Http2);
        assert_eq!(sniff(&on, b"PRI * HTTP/2.0\r\nHost: h\r\n\r\n"), Sniffed::Other);
        assert_eq!(sniff(&Settings(None), PREFACE), Sniffed::Other);
    }
}
