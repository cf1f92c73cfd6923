//! Special addresses, by the registries of RFC 6890 and after.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is special about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressClass {
    /// A listener of the proxy itself.
    Own,
    /// A service of a cloud that hands out credentials: `169.254.169.254`, `100.100.100.200`, `192.0.0.192`,
    /// `168.63.129.16`, `169.254.170.2`, `fd00:ec2::254`, `fd20:ce::254`.
    Metadata,
    /// No address: `0.0.0.0/8`, `::`. Connecting to it reaches the machine itself.
    Unspecified,
    /// The machine itself: `127.0.0.0/8`, `::1`.
    Loopback,
    /// Private networks: `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16`.
    Private,
    /// Between a provider and its customers: `100.64.0.0/10`.
    Shared,
    /// One link: `169.254.0.0/16`, `fe80::/10`, and the sites of old, `fec0::/10`.
    LinkLocal,
    /// Private networks of IPv6: `fc00::/7`.
    UniqueLocal,
    /// Groups: `224.0.0.0/4`, `ff00::/8`.
    Multicast,
    /// Everybody on the link: `255.255.255.255`.
    Broadcast,
    /// For texts: `192.0.2.0/24`, `198.51.100.0/24`, `203.0.113.0/24`, `2001:db8::/32`, `3fff::/20`.
    Documentation,
    /// For measurements: `198.18.0.0/15`, `2001:2::/48`.
    Benchmarking,
    /// Everything else that is no public address: `192.0.0.0/24`, `192.88.99.0/24`, `240.0.0.0/4`, IPv6 outside
    /// of `2000::/3`, addresses that protocols use, local NAT64, IPv4 in its obsolete compatible form.
    Reserved,
}

impl AddressClass {
    /// What is special about this address, or about the one of IPv4 that it has inside; `None` for a public
    /// one.
    pub fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// The word used in logs and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            AddressClass::Own => "own listener",
            AddressClass::Metadata => "metadata service",
            AddressClass::Unspecified => "unspecified",
            AddressClass::Loopback => "loopback",
            AddressClass::Private => "private",
            AddressClass::Shared => "shared",
            AddressClass::LinkLocal => "link-local",
            AddressClass::UniqueLocal => "unique-local",
            AddressClass::Multicast => "multicast",
            AddressClass::Broadcast => "broadcast",
            AddressClass::Documentation => "documentation",
            AddressClass::Benchmarking => "benchmarking",
            AddressClass::Reserved => "reserved",
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Amazon, Google, Azure and others; Alibaba; Oracle; the platform service of Azure, which is a public
/// address; the task credentials of Amazon.
const METADATA_V4: [Ipv4Addr; 5] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(169, 254, 170, 2),
];

/// Amazon and Google.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// What [`of_v4`] says, as ranges: base and length of the prefix.
pub(crate) const SPECIAL_V4: [(Ipv4Addr, u8); 18] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 5),
    (Ipv4Addr::new(248, 0, 0, 0), 5),
    (Ipv4Addr::new(255, 255, 255, 255), 32),
];

fn of_v4(address: Ipv4Addr) -> Option<AddressClass> {
    if METADATA_V4.contains(&address) {
        return Some(AddressClass::Metadata);
    }
    Some(match address.octets() {
        [0, ..] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        [100, 64..=127, ..] => AddressClass::Shared,
        [169, 254, ..] => AddressClass::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Documentation,
        [198, 18 | 19, ..] => AddressClass::Benchmarking,
        [224..=239, ..] => AddressClass::Multicast,
        [255, 255, 255, 255] => AddressClass::Broadcast,
        [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] => AddressClass::Reserved,
        _ => return None,
    })
}

fn of_v6(address: Ipv6Addr) -> Option<AddressClass> {
    if METADATA_V6.contains(&address) {
        return Some(AddressClass::Metadata);
    }
    let class = match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        // Compatible (RFC 4291 §2.5.5.1) and translated (RFC 2765): never to be seen on a wire.
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low] => of_v4(v4(high, low)).unwrap_or(AddressClass::Reserved),
        // NAT64 (RFC 6052) reaches the address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => return of_v4(v4(high, low)),
        [0xfe80..=0xfeff, ..] => AddressClass::LinkLocal,
        [0xfc00..=0xfdff, ..] => AddressClass::UniqueLocal,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => AddressClass::Documentation,
        [0x2001, 2, 0, ..] => AddressClass::Benchmarking,
        // Teredo (RFC 4380 §4): the server's address, and the client's with every bit turned.
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            return of_v4(v4(server_high, server_low)).or_else(|| of_v4(v4(!high, !low)));
        }
        // Addresses that protocols use (RFC 2928), among them keys in the form of addresses.
        [0x2001, 0..=0x1ff, ..] => AddressClass::Reserved,
        // 6to4 (RFC 3056 §2).
        [0x2002, high, low, ..] => return of_v4(v4(high, low)),
        // ISATAP (RFC 5214 §6.1).
        [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe, high, low] => return of_v4(v4(high, low)),
        [0x2000..=0x3fff, ..] => return None,
        _ => AddressClass::Reserved,
    };
    Some(class)
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// At the ends of every range and beside them, and everywhere else by chance.
    #[test]
    fn the_ranges_say_what_the_classes_say() {
        let in_ranges = |address: Ipv4Addr| {
            let inside = |(base, prefix): &(Ipv4Addr, u8)| {
                (u64::from(address.to_bits()) ^ u64::from(base.to_bits())) >> (32 - prefix) == 0
            };
            SPECIAL_V4.iter().any(inside)
        };
        for (base, prefix) in SPECIAL_V4 {
            let (first, size) = (base.to_bits(), (1_u64 << (32 - prefix)) as u32);
            for bits in
                [first.wrapping_sub(1), first, first.wrapping_add(size).wrapping_sub(1), first.wrapping_add(size)]
            {
                let address = Ipv4Addr::from_bits(bits);
                assert_eq!(in_ranges(address), of_v4(address).is_some(), "{address}");
            }
        }
        for step in 0..100_000_u32 {
            let address = Ipv4Addr::from_bits(step.wrapping_mul(0x9e37_79b1));
            assert_eq!(in_ranges(address), of_v4(address).is_some(), "{address}");
        }
    }

    #[test]
    fn every_special_address_has_its_class() {
        use AddressClass::*;
        let check = |address: &str, expected| {
            assert_eq!(AddressClass::of(address.parse().unwrap()), expected, "{address}");
        };
        let table = [
            (Unspecified, vec!["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "64:ff9b::", "2002::"]),
            (
                Loopback,
                vec!["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1"],
            ),
            (Loopback, vec!["2002:7f00:1::", "2001:0:7f00:1::1", "2001:0:808:808::80ff:fffe", "::ffff:0:127.0.0.1"]),
            (Loopback, vec!["2606:4700::5efe:127.0.0.1", "2606:4700::200:5efe:127.0.0.1"]),
            (
                Private,
                vec!["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "::ffff:10.0.0.1"],
            ),
            (Private, vec!["::10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::1", "2002:c0a8:101::"]),
            (Shared, vec!["100.64.0.0", "100.127.255.255", "::ffff:100.64.0.1"]),
            (LinkLocal, vec!["169.254.0.1", "fe80::1", "febf::1", "fec0::1", "feff::1", "64:ff9b::169.254.1.1"]),
            (UniqueLocal, vec!["fc00::1", "fd12:3456::1", "fdff::"]),
            (Multicast, vec!["224.0.0.1", "239.255.255.255", "ff02::1", "ff00::", "ffff::1"]),
            (Broadcast, vec!["255.255.255.255", "::ffff:255.255.255.255"]),
            (
                Documentation,
                vec!["192.0.2.1", "198.51.100.1", "203.0.113.255", "2001:db8::1", "3fff::1", "3fff:fff::1"],
            ),
            (Benchmarking, vec!["198.18.0.1", "198.19.255.255", "2001:2::1"]),
            (Metadata, vec!["169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254"]),
            (Metadata, vec!["::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::", "fd20:ce::254"]),
            (
                Reserved,
                vec!["192.0.0.1", "192.88.99.1", "240.0.0.1", "255.255.255.254", "::8.8.8.8", "64:ff9b:1::1", "100::1"],
            ),
            (Reserved, vec!["2001:10::1", "2001:20::1", "2001:1::1", "4000::1", "5f00::1", "1::1"]),
        ];
        for (class, addresses) in table {
            addresses.into_iter().for_each(|address| check(address, Some(class)));
        }
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2606:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
            "64:ff9b::8.8.8.8",
            "2002:808:808::",
            "::ffff:8.8.8.8",
            "2001:4860:4860::8888",
        ] {
            check(address, None);
        }
    }

    proptest! {
        /// Whatever form it takes, a special address stays one.
        #[test]
        fn no_form_of_ipv6_hides_an_address(bits in any::<u32>()) {
            let inside = Ipv4Addr::from_bits(bits);
            let (high, low) = ((bits >> 16) as u16, bits as u16);
            for form in [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 1, 2, 3, 4, 5),
                Ipv6Addr::new(0x2001, 0, 0x808, 0x808, 0, 0, !high, !low),
                Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0x5efe, high, low),
            ] {
                prop_assert!(of_v4(inside).is_none() || AddressClass::of(form.into()).is_some(), "{} in {}", inside, form);
            }
        }
    }
}
