//! Ids that a client can neither read nor forge.

use aes_siv::aead::{KeyInit, inout::InOutBuf};
use aes_siv::siv::Aes128Siv;
use sha2::{Digest, Sha256};

/// Encrypts ids deterministically: the same backend gives the same value, so that a response need not say
/// it again, and no random number has to be unique.
pub(super) struct Seal {
    key: [u8; 32],
    /// Authenticated with it, so that the cookie of one upstream is none of another's.
    cookie: Box<str>,
}

const TAG: usize = 16;

/// Ids are filled up to a multiple of this, so that their length says little.
const BLOCK: usize = 32;

/// The longest id: a domain name has 253 bytes, and a port and more fit beside it.
const LONGEST: usize = 320;

/// An id, opened.
pub(super) struct Id {
    bytes: [u8; TAG + LONGEST],
    end: usize,
}

impl Id {
    pub(super) fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes[TAG..self.end]).ok()
    }
}

impl Seal {
    pub(super) fn new(cookie: &str, secret: &[u8]) -> Self {
        // The prefix keeps the key apart from whatever else a site makes of its secret.
        let key = Sha256::new().chain_update(b"proxy-lb sticky cookie\0").chain_update(secret).finalize();
        Seal { key: key.into(), cookie: cookie.into() }
    }

    fn cipher(&self) -> Aes128Siv {
        Aes128Siv::new(&self.key.into())
    }

    /// The id as a cookie's value, in hexadecimal; `None` if it is too long.
    pub(super) fn seal(&self, id: &str) -> Option<String> {
        let mut padded = vec![0; id.len().next_multiple_of(BLOCK).max(BLOCK)];
        if padded.len() > LONGEST {
            return None;
        }
        padded[..id.len()].copy_from_slice(id.as_bytes());
        let sealed = self.cipher().encrypt([self.cookie.as_bytes()], &padded).ok()?;
        Some(sealed.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The id in a cookie's value, if it was sealed here. Allocates nothing.
    pub(super) fn open(&self, value: &str) -> Option<Id> {
        let mut id = Id { bytes: [0; TAG + LONGEST], end: value.len() / 2 };
        if !value.len().is_multiple_of(2) || id.end <= TAG || id.end > id.bytes.len() {
            return None;
        }
        for (byte, pair) in id.bytes.iter_mut().zip(value.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        let (tag, sealed) = id.bytes[..id.end].split_at_mut(TAG);
        let tag = <[u8; TAG]>::try_from(&*tag).ok()?.into();
        self.cipher().decrypt_inout_detached([self.cookie.as_bytes()], InOutBuf::from(sealed), &tag).ok()?;
        let padding = id.bytes[TAG..id.end].iter().rev().take_while(|byte| **byte == 0).count();
        id.end -= padding;
        Some(id)
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(seal: &Seal, value: &str) -> Option<String> {
        seal.open(value)?.as_str().map(str::to_owned)
    }

    #[test]
    fn what_was_sealed_opens() {
        let seal = Seal::new("lb", b"secret");
        for id in ["", "a", "127.0.0.1:9001", "unix:/run/ä.sock", &"x".repeat(32), &"y".repeat(LONGEST)] {
            let value = seal.seal(id).expect("short enough");
            assert_eq!(open(&seal, &value).as_deref(), Some(id));
            assert_eq!(open(&seal, &value.to_uppercase()).as_deref(), Some(id));
        }
        assert_eq!(seal.seal(&"x".repeat(LONGEST + 1)), None);
    }

    #[test]
    fn nothing_can_be_read_off_it() {
        let seal = Seal::new("lb", b"secret");
        let [a, b] = ["127.0.0.1:9001", "127.0.0.1:9002"].map(|id| seal.seal(id).expect("short enough"));
        assert_eq!((a.len(), b.len()), (96, 96));
        assert_eq!(seal.seal("unix:/run/backend.sock").map(|value| value.len()), Some(96));
        let same = a.bytes().zip(b.bytes()).filter(|(a, b)| a == b).count();
        assert!(same < 24, "{same} of 96 digits are the same in {a} and {b}");
    }

    #[test]
    fn what_was_not_sealed_here_does_not_open() {
        let seal = Seal::new("lb", b"secret");
        let value = seal.seal("127.0.0.1:9001").expect("short enough");
        assert_eq!(open(&Seal::new("lb", b"secreu"), &value), None, "another secret");
        assert_eq!(open(&Seal::new("la", b"secret"), &value), None, "another cookie");
        for at in 0..value.len() {
            let mut forged = value.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(open(&seal, std::str::from_utf8(&forged).expect("ASCII")), None, "digit {at}");
            assert_eq!(open(&seal, &value[..at]), None, "the first {at} digits");
        }
        for value in ["127.0.0.1:9001", "zz", "é", &format!("{value}00"), &"0".repeat(10_000)] {
            assert_eq!(open(&seal, value), None, "{value}");
        }
    }
}
