//! What a proxy tells the next hop about the one before.

use std::net::IpAddr;

use crate::head::Known;
use crate::{Cidr, Headers, Peer, RequestHead};

mod address;
mod fields;
mod hop;

pub(crate) use hop::strip_response;

/// Which forwarding fields a proxy writes, and whom it believes.
///
/// Fields that are for one connection only are always removed first: `Connection`, what it
/// nominates, `Keep-Alive`, `Proxy-Connection`, `Proxy-Authenticate`, `Proxy-Authorization`,
/// `TE` (but `trailers`), `Transfer-Encoding`, and `Upgrade` unless the request upgrades (to `h2c`
/// none does). What the safety of an exchange stands on cannot be nominated away: `Host`, `Via`,
/// `Forwarded`, `X-Real-IP`, `X-Request-Id`, `Expect`, `Trailer`, `Date`, `Location`, `Vary`,
/// `Cache-Control`, `Strict-Transport-Security`, `X-Frame-Options`, `Authorization`,
/// `WWW-Authenticate`, `Authentication-Info`, `Cookie`, `Set-Cookie`, `Origin`, `Referer`,
/// `User-Agent`, and all that begin with `X-Forwarded-`, `Content-`, `Sec-`, `Access-Control-` or
/// `X-Content-`.
///
/// Then ours are written. What a peer says of these fields counts only if its address is
/// [trusted](Self::trust); of others all of them are removed, also those that are switched off here,
/// and so is every other field that begins with `X-Forwarded`. Of all these, and of `Content-Length`,
/// `Transfer-Encoding` and whatever else of the above has a dash, the spellings with an underscore
/// (`X_Forwarded_For`) are removed whoever sent them: many an origin takes one for the other.
///
/// | field | default | value | where a trusted peer sent one |
/// |---|---|---|---|
/// | `X-Forwarded-For` | on | the peer's address | appended to |
/// | `X-Forwarded-Proto` | on | `http` or `https` | kept |
/// | `X-Forwarded-Host` | off | host and port the client asked for; `Host` says the same | kept |
/// | `X-Forwarded-Port` | off | the port the client connected to | kept |
/// | `X-Real-IP` | off | the client's address | kept |
/// | `Forwarded` (RFC 7239) | off | `for`, `host`, `proto` | appended to |
/// | `Via` | on | `1.1 proxy` | appended, whoever sent one |
///
/// ```
/// use proxy_core::Forwarding;
///
/// let behind_a_load_balancer = Forwarding::default().trust(["10.0.0.0/8".parse()?]).via(false);
/// # let _ = behind_a_load_balancer;
/// # Ok::<(), proxy_core::CidrError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Forwarding {
    x_forwarded_for: bool,
    x_forwarded_proto: bool,
    x_forwarded_host: bool,
    x_forwarded_port: bool,
    x_real_ip: bool,
    forwarded: bool,
    via: bool,
    trusted: Vec<Cidr>,
}

impl Default for Forwarding {
    fn default() -> Self {
        Forwarding { x_forwarded_for: true, x_forwarded_proto: true, via: true, ..Self::none() }
    }
}

impl Forwarding {
    /// Writes none of them. Those of untrusted peers are removed all the same.
    pub fn none() -> Self {
        Forwarding {
            x_forwarded_for: false,
            x_forwarded_proto: false,
            x_forwarded_host: false,
            x_forwarded_port: false,
            x_real_ip: false,
            forwarded: false,
            via: false,
            trusted: Vec::new(),
        }
    }

    /// Whether to write `X-Forwarded-For`.
    #[must_use]
    pub fn x_forwarded_for(mut self, on: bool) -> Self {
        self.x_forwarded_for = on;
        self
    }

    /// Whether to write `X-Forwarded-Proto`.
    #[must_use]
    pub fn x_forwarded_proto(mut self, on: bool) -> Self {
        self.x_forwarded_proto = on;
        self
    }

    /// Whether to write `X-Forwarded-Host`.
    #[must_use]
    pub fn x_forwarded_host(mut self, on: bool) -> Self {
        self.x_forwarded_host = on;
        self
    }

    /// Whether to write `X-Forwarded-Port`.
    #[must_use]
    pub fn x_forwarded_port(mut self, on: bool) -> Self {
        self.x_forwarded_port = on;
        self
    }

    /// Whether to write `X-Real-IP`.
    #[must_use]
    pub fn x_real_ip(mut self, on: bool) -> Self {
        self.x_real_ip = on;
        self
    }

    /// Whether to write `Forwarded`.
    #[must_use]
    pub fn forwarded(mut self, on: bool) -> Self {
        self.forwarded = on;
        self
    }

    /// Whether to write `Via`.
    #[must_use]
    pub fn via(mut self, on: bool) -> Self {
        self.via = on;
        self
    }

    /// Believes proxies at these addresses, beside those trusted before.
    #[must_use]
    pub fn trust(mut self, ranges: impl IntoIterator<Item = Cidr>) -> Self {
        self.trusted.extend(ranges);
        self
    }

    /// Removes what is for one connection only, then writes our fields. Comes before every filter:
    /// what a filter adds no client can nominate away. Says whether the request still upgrades.
    pub(crate) fn apply(&self, head: &mut RequestHead, peer: &Peer, scheme: &str, upgrade: bool) -> bool {
        let address = peer.address.map(|address| address.ip().to_canonical());
        let upgrades = hop::strip_request(head.headers_mut(), upgrade);
        fields::remove_claims(head.headers_mut(), address.is_some_and(|address| self.trusts(address)));
        let port = peer.local.map(|local| local.port());
        fields::write(self, head, &fields::Hop { address, scheme, port });
        upgrades
    }

    /// The client's address: the peer's, or, if that is trusted, the last address of
    /// `X-Forwarded-For` that is not (the first, if all are). An element that is no address ends
    /// what can be known: the one behind it counts.
    pub(crate) fn client_addr(&self, head: &RequestHead, peer: IpAddr) -> IpAddr {
        let peer = peer.to_canonical();
        match self.trusts(peer) {
            true => self.last_untrusted(head.headers()).unwrap_or(peer),
            false => peer,
        }
    }

    fn last_untrusted(&self, headers: &Headers) -> Option<IpAddr> {
        let values = headers.all(Known::XForwardedFor);
        let hops = values.flat_map(|value| value.split(|byte| *byte == b',')).map(address::parse);
        hops.fold(None, |found, hop| match hop {
            Some(address) if self.trusts(address) => found.or(Some(address)),
            untrusted_or_unknown => untrusted_or_unknown,
        })
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.contains(address))
    }
}

#[cfg(test)]
mod tests;
