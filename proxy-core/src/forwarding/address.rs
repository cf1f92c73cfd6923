//! Addresses to and from text, without memory of their own.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// An address as text.
pub(super) struct Text {
    bytes: [u8; 45], // the longest: ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255
    len: usize,
}

impl Text {
    pub(super) fn of(address: IpAddr) -> Self {
        let mut text = Text { bytes: [0; 45], len: 0 };
        match address {
            IpAddr::V4(address) => text.push_octets(address.octets()),
            IpAddr::V6(address) => {
                let mut rest = &mut text.bytes[..];
                // It fits: see the length.
                let _ = write!(rest, "{address}");
                text.len = 45 - rest.len();
            }
        }
        text
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// By hand: every request writes one, and `fmt` takes ten times as long.
    fn push_octets(&mut self, octets: [u8; 4]) {
        for (index, octet) in octets.into_iter().enumerate() {
            if index > 0 {
                self.push(b'.');
            }
            if octet >= 100 {
                self.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                self.push(b'0' + octet / 10 % 10);
            }
            self.push(b'0' + octet % 10);
        }
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
}

/// An element of `X-Forwarded-For`: an address, with brackets and port or without.
pub(super) fn parse(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn elements_are_addresses_with_or_without_port() {
        let check = |text: &str, expected: Option<&str>| {
            let expected = expected.map(|address| address.parse::<IpAddr>().unwrap());
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        };
        check(" 1.2.3.4 ", Some("1.2.3.4"));
        check("1.2.3.4:80", Some("1.2.3.4"));
        check("2001:db8::1", Some("2001:db8::1"));
        check("[2001:db8::1]", Some("2001:db8::1"));
        check("[2001:db8::1]:443", Some("2001:db8::1"));
        check("::ffff:1.2.3.4", Some("1.2.3.4"));
        check("unknown", None);
        check("", None);
        check("1.2.3", None);
        check("[1.2.3.4", None);
    }

    proptest! {
        #[test]
        fn text_is_what_display_prints(v4 in any::<[u8; 4]>(), v6 in any::<[u16; 8]>()) {
            for address in [IpAddr::from(v4), IpAddr::from(v6)] {
                let text = Text::of(address);
                prop_assert_eq!(text.as_bytes().escape_ascii().to_string(), address.to_string());
            }
        }
    }
}
