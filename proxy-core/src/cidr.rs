//! Ranges of addresses.

use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.
///
/// IPv4 addresses in IPv6 clothes (`::ffff:10.0.0.1`) are IPv4 addresses, in the range and in what is
/// asked of it. The families are apart otherwise: `::/0` has no IPv4 address in it.
///
/// ```
/// use proxy_core::Cidr;
///
/// let private: Cidr = "10.0.0.0/8".parse()?;
/// assert!(private.contains("10.1.2.3".parse().unwrap()));
/// assert!(private.contains("::ffff:10.1.2.3".parse().unwrap()));
/// assert!(!private.contains("11.0.0.1".parse().unwrap()));
/// # Ok::<(), proxy_core::CidrError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The range of the addresses whose first `prefix` bits are those of `network`.
    ///
    /// # Errors
    /// If `prefix` is longer than the address, or `network` has bits behind it.
    pub fn new(network: IpAddr, prefix: u8) -> Result<Self, CidrError> {
        let (network, prefix) = canonical(network, prefix);
        if prefix > width(network) {
            return Err(CidrError(Reason::PrefixTooLong { max: width(network) }));
        }
        match truncate(network, prefix) {
            start if start == network => Ok(Cidr { network, prefix }),
            start => Err(CidrError(Reason::HostBits(Cidr { network: start, prefix }))),
        }
    }

    /// Whether `address` is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// The first address of the range.
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// How many leading bits the addresses of the range share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl From<IpAddr> for Cidr {
    /// The range of this one address.
    fn from(address: IpAddr) -> Self {
        let network = address.to_canonical();
        Cidr { network, prefix: width(network) }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let address = |text: &str| text.parse::<IpAddr>().map_err(|_| CidrError(Reason::Address));
        let Some((network, prefix)) = text.split_once('/') else {
            return address(text).map(Cidr::from);
        };
        // `u8::from_str` takes a plus sign.
        let digits = (1..=3).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let length = prefix.parse().ok().filter(|_| digits);
        Cidr::new(address(network)?, length.ok_or(CidrError(Reason::Prefix))?)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Why a text is not a [`Cidr`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidrError(Reason);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Address,
    Prefix,
    PrefixTooLong { max: u8 },
    HostBits(Cidr),
}

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Address => f.write_str("not an IP address, nor a range such as 10.0.0.0/8"),
            Reason::Prefix => f.write_str("the prefix length behind the slash is not a number"),
            Reason::PrefixTooLong { max } => write!(f, "the prefix length is at most {max} here"),
            // One of the two was meant, and in a list of trusted proxies the guess would matter.
            Reason::HostBits(range) => {
                write!(f, "the address has bits behind its prefix: the range is {range}; one address has no slash")
            }
        }
    }
}

impl StdError for CidrError {}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn canonical(network: IpAddr, prefix: u8) -> (IpAddr, u8) {
    match (network, network.to_canonical()) {
        (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if (96..=128).contains(&prefix) => (mapped, prefix - 96),
        _ => (network, prefix),
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn truncate(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn ranges_have_the_addresses_of_their_prefix() {
        let check = |range: &str, address: &str, expected| {
            let range: Cidr = range.parse().unwrap();
            assert_eq!(range.contains(address.parse().unwrap()), expected, "{address} in {range}");
        };
        check("10.0.0.0/8", "10.255.255.255", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("::ffff:10.0.0.0/104", "10.9.9.9", true);
        check("::ffff:10.0.0.1", "10.0.0.1", true);
        check("0.0.0.0/0", "255.0.0.1", true);
        check("0.0.0.0/0", "::1", false);
        check("::/0", "1.2.3.4", false);
        check("::/0", "::ffff:1.2.3.4", false);
        check("::/0", "2001:db8::1", true);
        check("127.0.0.1", "127.0.0.1", true);
        check("127.0.0.1", "127.0.0.2", false);
        check("127.0.0.1/32", "127.0.0.1", true);
        check("2001:db8::/33", "2001:db8:7fff::", true);
        check("2001:db8::/33", "2001:db8:8000::", false);
    }

    #[test]
    fn what_is_no_range_says_why() {
        let check = |text: &str, part: &str| {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("", "not an IP address");
        check("10.0.0/8", "not an IP address");
        check("localhost", "not an IP address");
        check("10.0.0.0/", "not a number");
        check("10.0.0.0/+8", "not a number");
        check("10.0.0.0/8/8", "not a number");
        check("10.0.0.0/33", "at most 32");
        check("::/129", "at most 128");
        check("10.1.2.3/8", "the range is 10.0.0.0/8");
        check("2001:db8::1/32", "the range is 2001:db8::/32");
    }

    #[test]
    fn display_is_what_parses() {
        for text in ["10.0.0.0/8", "1.2.3.4/32", "0.0.0.0/0", "2001:db8::/32", "::/0"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn a_range_has_its_own_addresses_and_no_sibling(bits in any::<u32>(), prefix in 1_u8..=32) {
            let address = IpAddr::from(Ipv4Addr::from_bits(bits));
            let range = Cidr::new(truncate(address, prefix), prefix).unwrap();
            assert!(range.contains(address));
            let sibling = Ipv4Addr::from_bits(bits ^ (1 << (32 - u32::from(prefix))));
            assert!(!range.contains(sibling.into()));
        }
    }
}
