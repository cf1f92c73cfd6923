//! UDP: datagrams are relayed, and the answers brought back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::serve::Serve;
use crate::{Address, Backend, Filter, Observer, ParseAddressError, Upstream};

mod listener;
mod live;
mod server;
mod session;
mod socket;

pub use listener::UdpListener;
pub use live::LiveUdpProxy;

/// Relays the datagrams that arrive at `listener`, and the answers to them, until it is told to stop.
///
/// They go to a [`UdpProxy`], to a [`LiveUdpProxy`] that is replaced while it serves, or to any [`Upstream`] that
/// [assigns](Upstream::assign) backends to clients, as a [`Cluster`](crate::Cluster) does: with its selector, health and
/// breaker.
///
/// ```no_run
/// use proxy_core::{Cluster, UdpListener, selector_fn, serve_udp};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
///     .backend("127.0.0.1:5301".parse()?)
///     .backend("127.0.0.1:5302".parse()?)
///     .build();
/// let listener = UdpListener::bind("127.0.0.1:5300".parse()?)?;
/// let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
/// serve_udp(listener, cluster).with_graceful_shutdown(stop).await;
/// # Ok(())
/// # }
/// ```
///
/// # Sessions
/// The first datagram of a client, which is an address and a port, begins a session: a backend is chosen, and a socket
/// of its own is connected to it. What the client sends goes there, and what comes back goes to the client, from the
/// address that it sent to. The session ends when nothing has moved for [`UdpSettings::idle`], and earlier where
/// [`UdpSettings::requests`] and [`responses`](UdpSettings::responses) say so. A client whose backend fails, or refuses
/// a datagram, gets another one with its next datagram.
///
/// # What is lost
/// Datagrams are never kept waiting, but for a backend's name to be resolved: where a socket has no room, or no backend
/// is to be had, they are dropped, as a network does.
///
/// # Cancel safety
/// Dropping the future ends all sessions.
pub fn serve_udp(listener: UdpListener, proxy: impl Into<LiveUdpProxy>) -> Serve<UdpListener, LiveUdpProxy> {
    Serve::new(listener, proxy.into())
}

/// Where datagrams go, and what clients may. Cloning it is cheap, and all clones are the same.
///
/// Serve it with [`serve_udp`]. Filters see sessions, not datagrams: [`on_connection`](Filter::on_connection) at their
/// start and [`on_done`](Filter::on_done) at their end, with a [`Context`](crate::Context) that has no request and an
/// [`Outcome`](crate::Outcome) that has no status.
///
/// ```
/// use std::time::Duration;
/// use proxy_core::{UdpProxy, UdpSettings};
/// # let servers = proxy_core::Cluster::single(proxy_core::Backend::new("127.0.0.1:1".parse()?));
///
/// // DNS: every question is chosen for anew, and forgotten once it is answered.
/// let proxy = UdpProxy::over(servers).settings(UdpSettings {
///     requests: Some(1),
///     responses: Some(1),
///     idle: Duration::from_secs(5),
///     ..UdpSettings::default()
/// });
/// # let _ = proxy;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Clone)]
pub struct UdpProxy(pub(crate) Arc<Shared>);

/// What sessions may: counts and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpSettings {
    /// Sessions of one listener at a time. While there are as many, datagrams of other clients are dropped. Each takes a
    /// descriptor. Default 4,096.
    pub max_sessions: usize,
    /// Sessions of one client address at a time, whatever its ports. Default: unlimited.
    pub max_sessions_per_client: Option<usize>,
    /// A session ends when nothing has moved either way for this long. Default 30 s.
    pub idle: Duration,
    /// After so many datagrams of a client its next one begins another session, with a backend that is chosen anew; the
    /// one before goes on to bring back answers. 1 balances each datagram by itself. Default: unlimited.
    pub requests: Option<u32>,
    /// How many datagrams answer one of a client: once all are answered the session ends, and one that ends with fewer
    /// failed (`response_timeout`). Default: unknown.
    pub responses: Option<u32>,
}

impl Default for UdpSettings {
    fn default() -> Self {
        UdpSettings {
            max_sessions: 4096,
            max_sessions_per_client: None,
            idle: Duration::from_secs(30),
            requests: None,
            responses: None,
        }
    }
}

/// What every session of a proxy shares.
#[derive(Clone)]
pub(crate) struct Shared {
    filters: Vec<Arc<dyn Filter>>,
    name: Box<str>,
    upstream: Arc<dyn Upstream>,
    settings: UdpSettings,
    observer: Option<Arc<dyn Observer>>,
}

impl UdpProxy {
    /// A proxy of every datagram to the one backend at this address.
    ///
    /// # Errors
    /// If the text is no address: see [`Address`].
    pub fn to(address: &str) -> Result<Self, ParseAddressError> {
        let address: Address = address.parse()?;
        Ok(UdpProxy::over(Cluster::single(Backend::new(address))))
    }

    /// A proxy of every datagram to this upstream.
    pub fn over(upstream: impl Upstream) -> Self {
        UdpProxy::named("default", upstream)
    }

    /// The same, under a name for filters and logs.
    pub fn named(name: &str, upstream: impl Upstream) -> Self {
        UdpProxy(Arc::new(Shared {
            filters: Vec::new(),
            name: name.into(),
            upstream: Arc::new(upstream),
            settings: UdpSettings::default(),
            observer: None,
        }))
    }

    /// What sessions may.
    #[must_use]
    pub fn settings(self, settings: UdpSettings) -> Self {
        self.with(|shared| shared.settings = settings)
    }

    /// Adds a filter that is asked about every session and told of its end.
    #[must_use]
    pub fn filter(self, filter: impl Filter) -> Self {
        self.with(|shared| shared.filters.push(Arc::new(filter)))
    }

    /// Sees sessions as connections that come and go.
    #[must_use]
    pub fn observer(self, observer: impl Observer) -> Self {
        self.with(|shared| shared.observer = Some(Arc::new(observer)))
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl Shared {
    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    /// The one upstream.
    pub(crate) fn upstream_name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for UdpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpProxy").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}
