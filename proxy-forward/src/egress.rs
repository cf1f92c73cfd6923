//! Which addresses may be connected to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proxy_core::Cidr;

mod class;

pub use class::AddressClass;
pub(crate) use class::SPECIAL_V4;

/// Which addresses a forward proxy connects to: those of the public internet, and what was opened.
///
/// Whoever can make a proxy connect somewhere stands where the proxy stands. So by default it reaches no
/// loopback, private, link-local or otherwise special address, in none of the forms in which an IPv6
/// address may have one inside (mapped, compatible, NAT64, 6to4, Teredo, ISATAP): see [`AddressClass`].
///
/// It decides on addresses, never on names; what it admits is [`Checked`], and only that is dialled. So a
/// name whose answer changes between two look-ups leads nowhere else.
///
/// ```
/// use proxy_forward::{AddressClass, EgressGuard};
///
/// let guard = EgressGuard::default().allow("10.0.0.0/8".parse()?);
/// assert_eq!(guard.check("10.1.2.3:80".parse()?), Ok(()));
/// assert_eq!(guard.check("127.0.0.1:80".parse()?), Err(AddressClass::Loopback));
/// assert_eq!(guard.check("[::ffff:127.0.0.1]:80".parse()?), Err(AddressClass::Loopback));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct EgressGuard {
    allowed: Vec<Cidr>,
    own: Vec<SocketAddr>,
}

/// Addresses that an [`EgressGuard`] admitted, in the order in which they are tried. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checked(Arc<[SocketAddr]>);

impl Checked {
    /// The addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

impl EgressGuard {
    /// Opens a range. A form of IPv6 with an address of IPv4 inside is opened by a range of its own; and an
    /// address that serves a cloud's credentials only by a range that has nothing else in it.
    #[must_use]
    pub fn allow(mut self, range: Cidr) -> Self {
        self.allowed.push(range);
        self
    }

    /// Closes a listener of the proxy itself, whatever is opened: requests would go round. Where it listens
    /// on every address (`0.0.0.0`), its port is closed on every special address; public addresses of the
    /// machine are to be named.
    #[must_use]
    pub fn own(mut self, listener: SocketAddr) -> Self {
        self.own.push(listener);
        self
    }

    /// Whether this address may be connected to.
    ///
    /// # Errors
    /// What kind of address it is, where it may not.
    pub fn check(&self, address: SocketAddr) -> Result<(), AddressClass> {
        let class = AddressClass::of(address.ip());
        if self.is_own(address, class) {
            return Err(AddressClass::Own);
        }
        match class {
            Some(class) if !self.opens(address.ip(), class) => Err(class),
            _ => Ok(()),
        }
    }

    /// Those of `addresses` that may be connected to.
    ///
    /// # Errors
    /// What kind of address the first is, where there is none.
    pub fn admit(&self, addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Checked, AddressClass> {
        let mut refused = None;
        let admitted = addresses.into_iter().filter(|address| match self.check(*address) {
            Ok(()) => true,
            Err(class) => {
                refused.get_or_insert(class);
                false
            }
        });
        let admitted: Arc<[SocketAddr]> = admitted.collect();
        if admitted.is_empty() { Err(refused.unwrap_or(AddressClass::Unspecified)) } else { Ok(Checked(admitted)) }
    }

    /// The ranges that were opened.
    pub(crate) fn opened(&self) -> &[Cidr] {
        &self.allowed
    }

    fn opens(&self, address: IpAddr, class: AddressClass) -> bool {
        let whole = if address.to_canonical().is_ipv4() { 32 } else { 128 };
        let names_it = |range: &Cidr| class != AddressClass::Metadata || range.prefix() == whole;
        self.allowed.iter().any(|range| range.contains(address) && names_it(range))
    }

    fn is_own(&self, address: SocketAddr, class: Option<AddressClass>) -> bool {
        let ip = address.ip().to_canonical();
        self.own.iter().filter(|own| own.port() == address.port()).any(|own| {
            let listens = own.ip().to_canonical();
            // The unspecified address is the machine itself.
            listens == ip || ((listens.is_unspecified() || ip.is_unspecified()) && class.is_some())
        })
    }
}

impl Checked {
    /// The addresses that `keep` keeps; `None` where it keeps none.
    pub(crate) fn filter(self, keep: impl Fn(&SocketAddr) -> bool) -> Option<Self> {
        if self.0.iter().all(&keep) {
            return Some(self);
        }
        let kept: Arc<[SocketAddr]> = self.0.iter().copied().filter(keep).collect();
        (!kept.is_empty()).then_some(Checked(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str]) -> EgressGuard {
        allowed.iter().fold(EgressGuard::default(), |guard, range| guard.allow(range.parse().unwrap()))
    }

    #[test]
    fn what_is_opened_is_open_and_nothing_beside_it() {
        let check = |allowed: &[&str], address: &str, expected: Option<AddressClass>| {
            assert_eq!(guard(allowed).check(address.parse().unwrap()).err(), expected, "{address} with {allowed:?}");
        };
        check(&[], "93.184.215.14:80", None);
        check(&[], "[2606:2800:21f::1]:80", None);
        check(&["127.0.0.0/8"], "127.0.0.1:80", None);
        check(&["127.0.0.0/8"], "[::ffff:127.0.0.1]:80", None);
        check(&["127.0.0.0/8"], "[::1]:80", Some(AddressClass::Loopback));
        check(&["127.0.0.0/8"], "[64:ff9b::127.0.0.1]:80", Some(AddressClass::Loopback));
        check(&["127.0.0.0/8"], "[2002:7f00:1::]:80", Some(AddressClass::Loopback));
        check(&["10.0.0.0/8"], "11.0.0.1:80", None);
        check(&["10.0.0.0/8"], "192.168.0.1:80", Some(AddressClass::Private));
        check(&["169.254.0.0/16"], "169.254.1.1:80", None);
        check(&["169.254.0.0/16", "0.0.0.0/0"], "169.254.169.254:80", Some(AddressClass::Metadata));
        check(&["169.254.169.254"], "169.254.169.254:80", None);
        check(&["fd00::/8"], "[fd00:ec2::254]:80", Some(AddressClass::Metadata));
    }

    #[test]
    fn listeners_of_the_proxy_stay_closed() {
        let check = |own: &str, address: &str, expected: bool| {
            let guard = guard(&["0.0.0.0/0", "::/0"]).own(own.parse().unwrap());
            let got = guard.check(address.parse().unwrap()) == Err(AddressClass::Own);
            assert_eq!(got, expected, "{address} with a listener on {own}");
        };
        check("127.0.0.1:3128", "127.0.0.1:3128", true);
        check("127.0.0.1:3128", "[::ffff:127.0.0.1]:3128", true);
        check("127.0.0.1:3128", "0.0.0.0:3128", true);
        check("127.0.0.1:3128", "127.0.0.1:3129", false);
        check("127.0.0.1:3128", "127.0.0.2:3128", false);
        check("0.0.0.0:3128", "127.0.0.2:3128", true);
        check("0.0.0.0:3128", "[::1]:3128", true);
        check("[::]:3128", "10.0.0.1:3128", true);
        check("0.0.0.0:3128", "93.184.215.14:3128", false);
        check("93.184.215.14:3128", "93.184.215.14:3128", true);
    }

    #[test]
    fn of_several_addresses_those_that_pass_are_kept_in_order() {
        let admit = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap());
            EgressGuard::default()
                .admit(addresses)
                .map(|checked| checked.addresses().iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(admit(&["10.0.0.1:1", "9.9.9.9:1", "[2620:fe::fe]:1"]).unwrap(), ["9.9.9.9:1", "[2620:fe::fe]:1"]);
        assert_eq!(admit(&["10.0.0.1:1", "127.0.0.1:1"]), Err(AddressClass::Private));
        assert!(admit(&[]).is_err());
    }
}
