//! Which zone a client is in.

use std::net::IpAddr;

use proxy_core::Cidr;

/// Networks and their zones.
#[derive(Debug, Default)]
pub(super) struct Networks(Vec<(Cidr, Box<str>)>);

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) zone: Option<&'a str>,
    /// All addresses with as many first bits in common with the client's are in the same zone.
    pub(super) scope: u8,
}

impl Networks {
    pub(super) fn insert(&mut self, network: Cidr, zone: &str) {
        self.0.push((network, zone.into()));
    }

    /// The zone of the narrowest network that holds all addresses which begin with these bits. The answer holds for
    /// what lies around them up to the next network that is another's (RFC 7871 §7.2.1).
    pub(super) fn place(&self, address: IpAddr, prefix: u8) -> Place<'_> {
        let (mut zone, mut widest) = (None, None);
        for (network, name) in &self.0 {
            let holds = network.prefix() <= prefix && network.contains(address);
            if holds && widest.is_none_or(|widest| network.prefix() > widest) {
                (zone, widest) = (Some(&**name), Some(network.prefix()));
            }
        }
        let narrower = self.0.iter().filter(|(network, _)| widest.is_none_or(|widest| network.prefix() > widest));
        let others = narrower.filter_map(|(network, _)| Some(common_bits(network.network(), address)? + 1));
        let scope = others.chain(widest).max().unwrap_or(0).min(prefix);
        Place { zone, scope }
    }
}

/// How many first bits are the same; `None` for addresses of two families.
fn common_bits(one: IpAddr, other: IpAddr) -> Option<u8> {
    let bits = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => return None,
    };
    // 128 at most.
    Some(bits as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> Networks {
        let mut networks = Networks::default();
        for (network, zone) in [("10.0.0.0/8", "wide"), ("10.1.0.0/16", "narrow"), ("2001:db8::/32", "six")] {
            networks.insert(network.parse().unwrap(), zone);
        }
        networks
    }

    #[test]
    fn the_narrowest_network_counts_and_says_how_far() {
        let networks = networks();
        let check = |address: &str, prefix, zone, scope| {
            assert_eq!(networks.place(address.parse().unwrap(), prefix), Place { zone, scope }, "{address}/{prefix}");
        };
        check("10.1.2.0", 24, Some("narrow"), 16);
        check("10.1.2.3", 32, Some("narrow"), 16);
        // The other half of 10.0.0.0/15 is the narrow one.
        check("10.0.0.0", 24, Some("wide"), 16);
        check("10.2.0.0", 24, Some("wide"), 15);
        check("10.128.0.0", 24, Some("wide"), 9);
        // What is wider than a network is not in it.
        check("10.1.0.0", 12, Some("wide"), 12);
        check("10.0.0.0", 7, None, 7);
        check("11.0.0.0", 24, None, 8);
        check("192.0.2.0", 24, None, 1);
        check("2001:db8:1::", 48, Some("six"), 32);
        check("2001:db9::", 48, None, 32);
        assert_eq!(Networks::default().place("10.1.2.0".parse().unwrap(), 24), Place { zone: None, scope: 0 });
    }

    /// Whatever lies within the scope of an answer has the same zone.
    #[test]
    fn a_scope_holds_one_zone() {
        let networks = networks();
        for first in 0..=255_u8 {
            for second in [0, 1, 2, 3, 127, 128, 255] {
                let address = IpAddr::from([first, second, 7, 9]);
                let place = networks.place(address, 32);
                let IpAddr::V4(v4) = address else { unreachable!("it is one") };
                for bit in u32::from(place.scope)..32 {
                    let beside = IpAddr::from((v4.to_bits() ^ (1 << (31 - bit))).to_be_bytes());
                    assert_eq!(networks.place(beside, 32).zone, place.zone, "{address} and {beside} in {place:?}");
                }
            }
        }
    }
}
