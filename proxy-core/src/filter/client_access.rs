//! Who may connect.

use super::{Admission, Filter};
use crate::{Cidr, Peer};

/// Lets clients connect, or not, by their address: on HTTP and on raw connections, before anything is read.
///
/// The address is that of the connection, or what a [PROXY header](crate::ProxyProtocol) says; never what a forwarding
/// field claims. Clients without one, over Unix sockets, may connect.
///
/// ```
/// use proxy_core::ClientAccess;
///
/// let office = ClientAccess::new().allow(["192.0.2.0/24".parse()?]).deny(["192.0.2.66".parse()?]);
/// assert!(office.admits("192.0.2.1".parse()?));
/// assert!(!office.admits("192.0.2.66".parse()?));
/// assert!(!office.admits("198.51.100.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientAccess {
    allowed: Option<Vec<Cidr>>,
    denied: Vec<Cidr>,
}

impl ClientAccess {
    /// Everybody may connect.
    pub fn new() -> Self {
        ClientAccess::default()
    }

    /// Only who is in one of these ranges may connect; further calls add to them.
    #[must_use]
    pub fn allow(mut self, ranges: impl IntoIterator<Item = Cidr>) -> Self {
        self.allowed.get_or_insert_default().extend(ranges);
        self
    }

    /// Who is in one of these ranges may not connect, whoever else may; further calls add to them.
    #[must_use]
    pub fn deny(mut self, ranges: impl IntoIterator<Item = Cidr>) -> Self {
        self.denied.extend(ranges);
        self
    }

    /// Whether a client of this address may connect.
    pub fn admits(&self, address: std::net::IpAddr) -> bool {
        let has_it = |ranges: &[Cidr]| ranges.iter().any(|range| range.contains(address));
        !has_it(&self.denied) && self.allowed.as_deref().is_none_or(has_it)
    }
}

impl Filter for ClientAccess {
    fn on_connection(&self, peer: &Peer) -> Admission {
        match peer.address.is_none_or(|address| self.admits(address.ip())) {
            true => Admission::Admit,
            false => Admission::Refuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_ranges_are_holes_in_allowed_ones() {
        let ranges = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Cidr>>();
        let check = |access: &ClientAccess, address: &str, expected: bool| {
            assert_eq!(access.admits(address.parse().unwrap()), expected, "{address} by {access:?}");
        };
        let everybody = ClientAccess::new();
        check(&everybody, "192.0.2.1", true);
        let nobody = ClientAccess::new().allow([]);
        check(&nobody, "192.0.2.1", false);
        let some = ClientAccess::new().allow(ranges(&["10.0.0.0/8", "2001:db8::/32"])).deny(ranges(&["10.1.0.0/16"]));
        check(&some, "10.0.0.1", true);
        check(&some, "::ffff:10.0.0.1", true);
        check(&some, "10.1.0.1", false);
        check(&some, "::ffff:10.1.0.1", false);
        check(&some, "192.0.2.1", false);
        check(&some, "2001:db8::1", true);
        check(&ClientAccess::new().deny(ranges(&["10.0.0.0/8"])), "192.0.2.1", true);
        let unknown = Peer::default();
        assert!(matches!(nobody.on_connection(&unknown), Admission::Admit));
    }
}
