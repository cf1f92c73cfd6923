//! Networks: `"10.0.0.0/8"`, `"2001:db8::/32"`, or a single address.

use std::fmt;
use std::net::IpAddr;

use crate::decode::{Cursor, quote};

/// A network such as `10.0.0.0/8`. A single address is a network of one.
///
/// Bits after the prefix are always zero, so equal networks compare equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The first address of the network.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits all addresses of the network share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address` belongs to the network. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// What an error asks for.
const WHAT: &str = r#"a network such as "10.0.0.0/8" or an IP address"#;

pub(crate) fn cidr(cursor: Cursor<'_>) -> Option<Cidr> {
    cursor.like("^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$").parsed(WHAT, parse)
}

pub(crate) fn cidrs(cursor: Cursor<'_>) -> Option<Vec<Cidr>> {
    cursor.list(r#"an array of networks such as "10.0.0.0/8""#, cidr)
}

fn parse(text: &str) -> Result<Cidr, String> {
    let malformed = || format!("expected {WHAT}, found {}", quote(text));
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().map_err(|_| malformed())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| malformed())?,
        Some(_) => return Err(malformed()),
    };
    if prefix > longest {
        return Err(format!("a prefix of {prefix} bits is longer than the {longest} bits of the address"));
    }
    let network = masked(address, prefix);
    if network != address {
        // A typing error more often than not: 10.1.0.0/8 means either 10.0.0.0/8 or 10.1.0.0/16.
        return Err(format!("{} has bits set after its prefix; the network is \"{network}/{prefix}\"", quote(text)));
    }
    Ok(Cidr { address, prefix })
}

/// The address with everything after the prefix cleared.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership() {
        let check = |network, address: &str, expected| {
            assert_eq!(parse(network).unwrap().contains(address.parse().unwrap()), expected, "{address} in {network}");
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("10.0.0.0/8", "::", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "2001:db8::1", true);
        check("2001:db8::/33", "2001:db8:8000::", false);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.8", false);
    }

    #[test]
    fn refusals() {
        for text in
            ["", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0/8", "localhost/8", "10.0.0.0/999", "[::]/0"]
        {
            assert_eq!(parse(text), Err(format!("expected {WHAT}, found {text:?}")), "{text}");
        }
        let check = |text, expected: &str| assert_eq!(parse(text), Err(expected.to_owned()));
        check("10.0.0.0/33", "a prefix of 33 bits is longer than the 32 bits of the address");
        check("::/129", "a prefix of 129 bits is longer than the 128 bits of the address");
        check("10.1.0.0/8", r#""10.1.0.0/8" has bits set after its prefix; the network is "10.0.0.0/8""#);
    }
}
