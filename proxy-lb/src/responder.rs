//! Balancing by DNS: an authoritative name server whose answers are the backends that are well.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::Name;
use proxy_core::{BackendSet, Cidr};
use tokio::net::{TcpListener, UdpSocket};

use crate::dice::Dice;

mod draw;
mod networks;
mod reply;
mod server;
#[cfg(test)]
mod tests;

use networks::Networks;

/// An authoritative name server for one zone, some of whose names are answered with backends.
///
/// ```no_run
/// use proxy_core::BackendSet;
/// use proxy_lb::DnsResponder;
/// use tokio::net::{TcpListener, UdpSocket};
///
/// # async fn run(backends: BackendSet) -> Result<(), Box<dyn std::error::Error>> {
/// let responder = DnsResponder::builder("lb.example")?
///     .name("app.lb.example", backends)?
///     .network("10.1.0.0/16".parse()?, "a")
///     .build();
/// let (udp, tcp) = (UdpSocket::bind("127.0.0.1:15353").await?, TcpListener::bind("127.0.0.1:15353").await?);
/// responder.serve(udp, tcp).await;
/// # Ok(())
/// # }
/// ```
///
/// An answer to `A` or `AAAA` has up to [`answers`](DnsResponderBuilder::answers) addresses: each first in as many answers as its share
/// says, in random order. Backends that are not well have none; backends with a name or a socket file for an address have
/// none either, and ports are nobody's business here. A client of a [`network`](DnsResponderBuilder::network) gets the backends of
/// its zone by the rule of [`SameZone`](crate::SameZone). Which network that is says the client subnet of its
/// resolver (RFC 7871), or else the address that asks; the scope of the answer is as wide as it holds.
///
/// Where no backend is well the answer is SERVFAIL, so that resolvers ask another server or keep what they had; what is not in the
/// zone is refused; zones are not transferred. An answer that is longer than a client takes over UDP is empty and truncated, and
/// asked for again over TCP.
///
/// It keeps nothing of a client. Over UDP an answer is at most 1,232 bytes, and as long as the query but for
/// its addresses; over TCP there are at most 128 connections, each with ten seconds for a query.
///
/// A clone is the same responder.
#[derive(Clone, Debug)]
pub struct DnsResponder(Arc<Zone>);

/// Settings of a [`DnsResponder`].
#[derive(Debug)]
#[must_use]
pub struct DnsResponderBuilder(Zone);

/// A text is no name that this zone can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsNameError(String);

/// What a responder knows.
#[derive(Debug)]
struct Zone {
    origin: Name,
    /// By lower-case name.
    balanced: HashMap<Name, BackendSet>,
    name_server: Name,
    glue: Vec<IpAddr>,
    networks: Networks,
    /// In seconds.
    ttl: u32,
    most: usize,
    dice: Dice,
}

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

impl DnsResponder {
    /// For the zone of this name.
    ///
    /// # Errors
    /// If it is none.
    pub fn builder(zone: &str) -> Result<DnsResponderBuilder, DnsNameError> {
        let origin = parse(zone)?;
        let name_server = Name::from_ascii("ns").and_then(|ns| ns.append_domain(&origin));
        Ok(DnsResponderBuilder(Zone {
            name_server: name_server.map_err(|_| DnsNameError(zone.to_owned()))?,
            origin,
            balanced: HashMap::new(),
            glue: Vec::new(),
            networks: Networks::default(),
            ttl: 5,
            most: 8,
            dice: Dice::default(),
        }))
    }

    /// Answers what comes to these sockets, until the future is dropped. They should be bound to one address and not to
    /// all, so that answers leave from where they were asked.
    ///
    /// # Cancel safety
    /// Dropping the future closes the sockets and every connection.
    pub fn serve(&self, udp: UdpSocket, tcp: TcpListener) -> impl Future<Output = ()> + Send + use<> {
        let zone = Arc::clone(&self.0);
        async move {
            tokio::join!(server::datagrams(&zone, udp), server::connections(&zone, tcp));
        }
    }
}

impl DnsResponderBuilder {
    /// Answers this name, which is the zone's own or below it, with these backends.
    ///
    /// # Errors
    /// If it is not in the zone.
    pub fn name(mut self, name: &str, backends: BackendSet) -> Result<Self, DnsNameError> {
        let parsed = parse(name)?;
        if !self.0.origin.zone_of(&parsed) {
            return Err(DnsNameError(name.to_owned()));
        }
        self.0.balanced.insert(parsed, backends);
        Ok(self)
    }

    /// Clients of this network are in this zone: the label [`SameZone::LABEL`](crate::SameZone::LABEL) of backends. Of
    /// several networks that hold a client the narrowest counts.
    pub fn network(mut self, network: Cidr, zone: &str) -> Self {
        self.0.networks.insert(network, zone);
        self
    }

    /// The name of this server, for the zone's NS and SOA records, and its addresses if that name is in the zone; `ns` in the
    /// zone when unset.
    ///
    /// # Errors
    /// If it is no name.
    pub fn name_server(
        mut self,
        name: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Self, DnsNameError> {
        self.0.name_server = parse(name)?;
        self.0.glue = addresses.into_iter().collect();
        Ok(self)
    }

    /// How long an answer may be kept, in whole seconds; 5 when unset. It is as long until everybody has left a backend
    /// that is down.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        // RFC 2181 §8: 31 bits.
        self.0.ttl = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX).min(i32::MAX as u32);
        self
    }

    /// How many addresses an answer has at most, 1 to 1,000; 8 when unset.
    pub fn answers(mut self, most: usize) -> Self {
        self.0.most = most.clamp(1, 1000);
        self
    }

    /// Makes the order of addresses repeatable, for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.dice = Dice::seeded(seed);
        self
    }

    /// The responder.
    pub fn build(self) -> DnsResponder {
        DnsResponder(Arc::new(self.0))
    }
}

/// A name in lower case, which a dot at its end makes no other.
fn parse(name: &str) -> Result<Name, DnsNameError> {
    let mut parsed = Name::from_ascii(name).map_err(|_| DnsNameError(name.to_owned()))?;
    parsed.set_fqdn(true);
    match parsed.is_root() {
        true => Err(DnsNameError(name.to_owned())),
        false => Ok(parsed.to_lowercase()),
    }
}

impl std::fmt::Display for DnsNameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} is no name of the zone", self.0)
    }
}

impl std::error::Error for DnsNameError {}
