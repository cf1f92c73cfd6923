//! What a PROXY header says.

use std::net::SocketAddr;

/// The type of each TLV, and its value.
pub(super) type Values = Box<[(u8, Box<[u8]>)]>;

/// What a PROXY header said about its connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyHeader {
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
    pub(super) values: Values,
}

impl ProxyHeader {
    /// Where the client connected from. `None` where the header names nobody, as a proxy's own checks do
    /// (`UNKNOWN`, `LOCAL`), or a client that is not on TCP.
    pub fn source(&self) -> Option<SocketAddr> {
        self.addresses.map(|(source, _)| source)
    }

    /// Where the client connected to.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.addresses.map(|(_, destination)| destination)
    }

    /// The value of the first TLV of this type: 0x01 is ALPN, 0x20 TLS, 0xE0 to 0xEF are for applications.
    pub fn value(&self, kind: u8) -> Option<&[u8]> {
        self.values.iter().find(|(other, _)| *other == kind).map(|(_, value)| &**value)
    }

    /// The type and value of every TLV, in order. Checksum and padding are left out.
    pub fn values(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.values.iter().map(|(kind, value)| (*kind, &**value))
    }

    /// The host the client asked for: the server name of its TLS handshake (`PP2_TYPE_AUTHORITY`).
    pub fn authority(&self) -> Option<&str> {
        std::str::from_utf8(self.value(super::parse::AUTHORITY)?).ok()
    }

    /// What the first proxy calls this connection (`PP2_TYPE_UNIQUE_ID`).
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.value(super::parse::UNIQUE_ID)
    }
}
