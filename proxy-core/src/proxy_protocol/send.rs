//! Saying who the client is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proxy_header::{ProxiedAddress, ProxyHeader as Encoder, Tlv};

use super::parse::{AUTHORITY, CHECKSUM, CRC32C, UNIQUE_ID};
use crate::Peer;
use crate::filter::unique;

/// What the connections to a cluster's backends begin with:
/// [`ClusterBuilder::proxy_protocol`](crate::ClusterBuilder::proxy_protocol).
///
/// It names the client's two addresses: those of its connection to this proxy, or what a trusted proxy before this one
/// said they are. Where there are none, as over Unix sockets, it says so: `UNKNOWN`, or no family.
///
/// ```
/// use proxy_core::{Peer, ProxyHeaderSender};
///
/// let mut peer = Peer::new("192.0.2.1:5000".parse()?);
/// peer.local = Some("198.51.100.7:443".parse()?);
/// let header = ProxyHeaderSender::v1().header(&peer);
/// assert_eq!(&*header, b"PROXY TCP4 192.0.2.1 198.51.100.7 5000 443\r\n");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeaderSender {
    version: Version,
    checksum: bool,
    unique_id: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl ProxyHeaderSender {
    /// Sends version 1, a line of text.
    pub fn v1() -> Self {
        ProxyHeaderSender { version: Version::One, checksum: false, unique_id: false }
    }

    /// Sends version 2, which is binary. The host and the unique id that a proxy before this one sent are passed on.
    pub fn v2() -> Self {
        ProxyHeaderSender { version: Version::Two, ..ProxyHeaderSender::v1() }
    }

    /// With a checksum (CRC32c). Only version 2 has a place for it.
    #[must_use]
    pub fn checksum(mut self, on: bool) -> Self {
        self.checksum = on;
        self
    }

    /// With an id of 32 hexadecimal digits, where the proxy before this one sent none. Only version 2 has a place for it.
    #[must_use]
    pub fn unique_id(mut self, on: bool) -> Self {
        self.unique_id = on;
        self
    }

    /// The header for a connection of this client.
    pub fn header(&self, peer: &Peer) -> Arc<[u8]> {
        let addresses = peer.address.zip(peer.local).map(|(from, to)| same_family(from, to));
        let mut header = match addresses {
            Some((from, to)) => Encoder::with_address(ProxiedAddress::stream(from, to)),
            None => Encoder::with_local(),
        };
        let mut bytes = Vec::with_capacity(128);
        let encoded = match self.version {
            Version::One => header.encode_v1(&mut bytes),
            Version::Two => {
                self.append_values(&mut header, peer);
                header.encode_v2(&mut bytes)
            }
        };
        debug_assert!(encoded.is_ok(), "the families are one, and what is passed on was bounded on its way in");
        if self.version == Version::Two {
            disown_local(&mut bytes);
            if self.checksum {
                fill_checksum(&mut bytes);
            }
        }
        bytes.into()
    }

    fn append_values(&self, header: &mut Encoder<'_>, peer: &Peer) {
        if self.checksum {
            header.append_tlv(Tlv::Crc32c(0));
        }
        let received = peer.proxy_header.as_ref();
        if let Some(host) = received.and_then(|received| received.value(AUTHORITY)) {
            header.append_tlv(Tlv::Custom(AUTHORITY, host.into()));
        }
        match received.and_then(|received| received.unique_id()) {
            Some(id) => header.append_tlv(Tlv::Custom(UNIQUE_ID, id.into())),
            None if self.unique_id => {
                let id = format!("{:032x}", unique());
                header.append_tlv(Tlv::UniqueId(id.into_bytes().into()));
            }
            None => {}
        }
    }
}

/// An IPv4 address beside an IPv6 one is written in the other's form.
fn same_family(from: SocketAddr, to: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (from, to) = (canonical(from), canonical(to));
    let wide = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if from.is_ipv4() == to.is_ipv4() { (from, to) } else { (wide(from), wide(to)) }
}

/// The library takes a header without addresses for one of our own connections (LOCAL), after which a receiver takes
/// us for the client. It is a client's (PROXY), whose family has no name (§2.2).
fn disown_local(bytes: &mut [u8]) {
    if let Some(command @ 0x20) = bytes.get_mut(12) {
        *command = 0x21;
    }
}

/// The checksum is the first TLV, behind the addresses.
fn fill_checksum(bytes: &mut [u8]) {
    let at = 16
        + match bytes.get(13) {
            Some(0x11) => 12,
            Some(0x21) => 36,
            _ => 0,
        };
    debug_assert_eq!(bytes.get(at), Some(&CHECKSUM));
    let sum = CRC32C.checksum(bytes);
    if let Some(place) = bytes.get_mut(at + 3..at + 7) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ProxyHeader, Start, start};
    use super::*;

    fn peer(from: &str, to: &str) -> Peer {
        Peer { local: Some(to.parse().unwrap()), ..Peer::new(from.parse().unwrap()) }
    }

    #[test]
    fn version_1_is_a_line() {
        let check = |peer: &Peer, expected: &str| {
            assert_eq!(String::from_utf8_lossy(&ProxyHeaderSender::v1().header(peer)), expected);
        };
        check(&peer("192.0.2.1:5000", "192.0.2.2:80"), "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n");
        check(&peer("[2001:db8::1]:5000", "[::1]:80"), "PROXY TCP6 2001:db8::1 ::1 5000 80\r\n");
        check(&peer("[::ffff:192.0.2.1]:5000", "192.0.2.2:80"), "PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n");
        check(&peer("192.0.2.1:5000", "[::1]:80"), "PROXY TCP6 ::ffff:192.0.2.1 ::1 5000 80\r\n");
        check(&Peer::default(), "PROXY UNKNOWN\r\n");
        check(&Peer::new("192.0.2.1:5000".parse().unwrap()), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_is_read_as_it_was_meant() {
        let peers = [peer("192.0.2.1:5000", "192.0.2.2:80"), peer("[2001:db8::1]:5000", "[::1]:80"), Peer::default()];
        for (peer, checksum) in peers.iter().flat_map(|peer| [(peer, true), (peer, false)]) {
            let sender = ProxyHeaderSender::v2().checksum(checksum).unique_id(true);
            let bytes = sender.header(peer);
            assert_eq!(bytes[12], 0x21, "it is a client's");
            let Start::Header(header, length) = start(&bytes, 4096) else { panic!("{bytes:?}") };
            assert_eq!(length, bytes.len());
            assert_eq!((header.source(), header.destination()), (peer.address, peer.local));
            assert_eq!(header.unique_id().map(<[u8]>::len), Some(32));
            assert_ne!(sender.header(peer), bytes, "ids differ");
        }
    }

    #[test]
    fn what_came_in_is_passed_on() {
        let values = Box::new([(AUTHORITY, (*b"a.example").into()), (UNIQUE_ID, (*b"one").into())]);
        let received = Arc::new(ProxyHeader { addresses: None, values });
        let peer = Peer { proxy_header: Some(received), ..peer("192.0.2.1:5000", "192.0.2.2:80") };
        let bytes = ProxyHeaderSender::v2().checksum(true).unique_id(true).header(&peer);
        let Start::Header(header, _) = start(&bytes, 4096) else { panic!("{bytes:?}") };
        assert_eq!((header.authority(), header.unique_id()), (Some("a.example"), Some(&b"one"[..])));
    }
}
