//! What DNS says of a service, for as long as it says it is good for.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{RData, Record};
use proxy_core::{Backend, Instant};

use super::{Discover, DiscoverError};
use crate::Tiers;

/// Makes a backend of a server that was found.
type Make = Box<dyn Fn(&DnsServer) -> Backend + Send + Sync>;

/// Servers of a service, from its SRV records (RFC 2782) or its addresses, asked for again when the answer's
/// time is over (feature `dns`). A server is one address of one record.
///
/// Where [`DnsName`](super::DnsName) asks the system's resolver, this brings its own: the system's tells neither
/// lifetimes nor ports.
///
/// A record's weight becomes the backend's, and its priority the label of [`Tiers`]: with those the second
/// priority serves where the first is gone. A target that does not exist is left out; one that cannot be
/// asked about for now fails the whole answer, so that the last good backends stay.
///
/// ```no_run
/// use proxy_core::Cluster;
/// use proxy_lb::{Discovery, DnsRecords, RoundRobin, Tiers};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::builder(RoundRobin::new()).eligibility(Tiers::new()).build();
/// let discovery = Discovery::new(DnsRecords::srv("_http._tcp.api.internal."));
/// tokio::spawn(discovery.run(cluster.backends().clone()));
/// # Ok(())
/// # }
/// ```
pub struct DnsRecords {
    query: Query,
    servers: Vec<SocketAddr>,
    resolver: Option<TokioResolver>,
    make: Make,
    last: Option<Vec<DnsServer>>,
    /// When to ask again; at once after a failure, as the caller has waited.
    due: Option<Instant>,
}

#[derive(Debug)]
enum Query {
    Srv(String),
    Addresses(String, u16),
}

/// A server that DNS knows of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct DnsServer {
    /// Lower ones first. 0 without SRV.
    pub priority: u16,
    /// Where it is.
    pub address: SocketAddr,
    /// Its part of the requests of its priority; at least 1: 0 has *a very small chance* in SRV, and would
    /// drain here.
    pub weight: u16,
    /// The name that the address belongs to, without a dot at the end.
    pub host: String,
}

impl DnsRecords {
    /// However short an answer is good for, it is not asked for more often.
    pub const SHORTEST: Duration = Duration::from_secs(1);
    /// However long an answer is good for, it is asked for again.
    pub const LONGEST: Duration = Duration::from_secs(300);

    /// By the SRV records of this name, such as `_http._tcp.api.internal`. One without a dot at the end is also
    /// looked for in the system's search domains.
    pub fn srv(name: impl Into<String>) -> Self {
        DnsRecords::new(Query::Srv(name.into()))
    }

    /// By the addresses of this name, IPv4 and IPv6, with this port.
    pub fn addresses(name: impl Into<String>, port: u16) -> Self {
        DnsRecords::new(Query::Addresses(name.into(), port))
    }

    fn new(query: Query) -> Self {
        let make = |server: &DnsServer| {
            let backend = Backend::builder(server.address.into()).weight(server.weight.into());
            backend.label(Tiers::LABEL, &server.priority.to_string()).build()
        };
        DnsRecords { query, servers: Vec::new(), resolver: None, make: Box::new(make), last: None, due: None }
    }

    /// Which name servers are asked. Default: the system's.
    #[must_use]
    pub fn name_servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.servers = servers.into_iter().collect();
        self
    }

    /// How a backend is made of a server: with a label for its host, say.
    #[must_use]
    pub fn make(mut self, make: impl Fn(&DnsServer) -> Backend + Send + Sync + 'static) -> Self {
        self.make = Box::new(make);
        self
    }

    /// The resolver, made when it is first needed: it belongs to the runtime that asks.
    fn resolver(&mut self) -> Result<&TokioResolver, DiscoverError> {
        match &mut self.resolver {
            Some(resolver) => Ok(resolver),
            empty => Ok(empty.insert(resolver(&self.servers).map_err(failed)?)),
        }
    }

    /// The servers, and how long that is good for.
    async fn look_up(&mut self) -> Result<(Vec<DnsServer>, Duration), DiscoverError> {
        let resolver = self.resolver()?.clone();
        let answer = match &self.query {
            Query::Srv(name) => services(&resolver, name).await,
            Query::Addresses(name, port) => {
                let record = SRV::new(0, 1, *port, name.parse().map_err(failed)?);
                servers(&resolver, &record).await
            }
        };
        let (mut found, seconds) = answer.map_err(|error| failed(format!("{}: {error}", self.query.name())))?;
        // Name servers rotate their answers; that is no change. Who is listed twice counts where it comes first.
        found.sort();
        let mut known = std::collections::HashSet::new();
        found.retain(|server| known.insert(server.address));
        match found.is_empty() {
            true => Err(failed(format!("{} has no server", self.query.name()))),
            false => Ok((found, Duration::from_secs(seconds.into()).clamp(Self::SHORTEST, Self::LONGEST))),
        }
    }
}

impl Query {
    fn name(&self) -> &str {
        match self {
            Query::Srv(name) | Query::Addresses(name, _) => name,
        }
    }
}

#[async_trait]
impl Discover for DnsRecords {
    async fn next(&mut self) -> Result<Vec<Backend>, DiscoverError> {
        loop {
            if let Some(due) = self.due.take() {
                tokio::time::sleep_until(due).await;
            }
            let (found, lifetime) = self.look_up().await?;
            self.due = Some(Instant::now() + lifetime);
            if self.last.as_ref() != Some(&found) {
                let backends = found.iter().map(&self.make).collect();
                self.last = Some(found);
                return Ok(backends);
            }
        }
    }
}

impl fmt::Debug for DnsRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsRecords").field("query", &self.query).field("last", &self.last).finish_non_exhaustive()
    }
}

fn failed(reason: impl fmt::Display) -> DiscoverError {
    DiscoverError::new(reason.to_string())
}

type Answer = Result<(Vec<DnsServer>, u32), hickory_resolver::net::NetError>;

/// The servers of all SRV records.
async fn services(resolver: &TokioResolver, name: &str) -> Answer {
    let lookup = resolver.srv_lookup(name).await?;
    let mut lifetime = shortest(lookup.answers());
    let mut found = Vec::new();
    for record in lookup.answers() {
        // The root as target: there is decidedly no such service (RFC 2782).
        let RData::SRV(service) = &record.data else { continue };
        if service.target.is_root() {
            continue;
        }
        match servers(resolver, service).await {
            Ok((addresses, seconds)) => {
                lifetime = lifetime.min(seconds);
                found.extend(addresses);
            }
            Err(error) if error.is_no_records_found() => {
                tracing::warn!(service = name, target = %service.target, "a target of the service has no address");
            }
            Err(error) => return Err(error),
        }
    }
    Ok((found, lifetime))
}

/// One server for each address of a record's target.
async fn servers(resolver: &TokioResolver, service: &SRV) -> Answer {
    let lookup = resolver.lookup_ip(service.target.clone()).await?;
    let host = service.target.to_utf8().trim_end_matches('.').to_owned();
    let server = |ip| DnsServer {
        priority: service.priority,
        address: SocketAddr::new(ip, service.port),
        weight: service.weight.max(1),
        host: host.clone(),
    };
    Ok((lookup.iter().map(server).collect(), shortest(lookup.as_lookup().answers())))
}

/// The shortest lifetime, in seconds.
fn shortest(records: &[Record]) -> u32 {
    records.iter().map(|record| record.ttl).min().unwrap_or(0)
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, hickory_resolver::net::NetError> {
    let mut builder = match servers {
        [] => TokioResolver::builder_tokio()?,
        servers => {
            let servers = servers.iter().map(name_server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options: &mut ResolverOpts = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // We ask when an answer's time is over, not before: a cache could only make that later.
    options.cache_size = 0;
    builder.build()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections.iter_mut().for_each(|connection: &mut ConnectionConfig| connection.port = address.port());
    server
}
