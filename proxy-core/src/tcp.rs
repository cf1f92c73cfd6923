//! Raw TCP: connections are relayed as they are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::context::Link;
use crate::proxy::Filters;
use crate::proxy_protocol::ProxyProtocol;
use crate::serve::{Draining, Serve, Service};
use crate::{Address, Backend, Filter, Io, Listener, Observer, ParseAddressError, Peer, Upstream};

mod builder;
pub(crate) mod client_hello;
mod live;
mod route;
mod router;
mod session;

pub use builder::TcpProxyBuilder;
pub use live::LiveTcpProxy;
pub use route::TcpRoute;

use router::Router;

/// Serves every connection of `listener` by relaying it to an upstream, until it is told to stop.
///
/// It goes to a [`TcpProxy`], to a [`LiveTcpProxy`] that is replaced while it serves, or to any [`Upstream`] that has raw connections to give, as a
/// [`Cluster`](crate::Cluster) does: with its selector, health, breaker and retries of failed connects. Between
/// TCP sockets the bytes stay in the kernel, where that is Linux's.
///
/// ```no_run
/// use proxy_core::{Cluster, TcpListener, selector_fn, serve_tcp};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
///     .backend("127.0.0.1:5433".parse()?)
///     .backend("127.0.0.1:5434".parse()?)
///     .build();
/// let listener = TcpListener::bind("127.0.0.1:5432".parse()?)?;
/// let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
/// serve_tcp(listener, cluster).with_graceful_shutdown(stop).await;
/// # Ok(())
/// # }
/// ```
///
/// # How a connection ends
/// The end of one side's stream (FIN) is passed on, and the other direction goes on. Anything else, a reset,
/// a timeout, the drain's deadline, is passed on as a reset, so that a stream that was cut off is never taken for
/// a complete one.
///
/// # Cancel safety
/// Dropping the future stops accepting; connections go on until they end, or the runtime does.
pub fn serve_tcp<L: Listener>(listener: L, proxy: impl Into<LiveTcpProxy>) -> Serve<L, LiveTcpProxy> {
    Serve::new(listener, proxy.into())
}

/// Where raw connections go, and what they may. Cloning it is cheap, and all clones are the same.
///
/// Serve it with [`serve_tcp`]. Filters see connections, not bytes: [`on_connection`](Filter::on_connection) at
/// their start and [`on_done`](Filter::on_done) at their end, with a [`Context`](crate::Context) that has no request
/// and an [`Outcome`](crate::Outcome) that has no status.
///
/// ```
/// use std::time::Duration;
/// use proxy_core::{TcpProxy, TcpRoute, TcpSettings};
/// # let (web, mail) = (proxy_core::Cluster::single(proxy_core::Backend::new("127.0.0.1:1".parse()?)),
/// #     proxy_core::Cluster::single(proxy_core::Backend::new("127.0.0.1:2".parse()?)));
///
/// // By the name in the TLS handshake, which is not terminated here.
/// let proxy = TcpProxy::builder()
///     .upstream("web", web)
///     .upstream("mail", mail)
///     .route(TcpRoute::to("web").server_name("*.example.com")?)
///     .route(TcpRoute::to("mail").server_name("mail.example.com")?)
///     .settings(TcpSettings { idle: Duration::from_secs(300), ..TcpSettings::default() })
///     .build()?;
/// # let _ = proxy;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TcpProxy(pub(crate) Arc<Shared>);

/// What raw connections may: counts and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSettings {
    /// Connections of one listener at a time; more wait in the kernel's queue. Default 16,384.
    pub max_connections: usize,
    /// Connections of one client address at a time; more are closed. Default: unlimited.
    pub max_connections_per_client: Option<usize>,
    /// A connection that moves no byte for this long is reset. Default 10 min.
    pub idle: Duration,
    /// How long a connection may live, from when it stands on both sides. Default: unlimited.
    pub lifetime: Option<Duration>,
    /// From the start of a connection to the end of its TLS ClientHello, where routes look at that. Default 5 s.
    pub hello: Duration,
    /// The size of the ClientHello, in bytes, with its records' headers. Default 16 KiB, at most 60 KiB.
    pub max_hello_bytes: usize,
    /// Whether bytes between sockets stay in the kernel. Copying them costs about twice the time of the processor for
    /// long streams, and holds no pipe. Default: they do.
    pub splice: bool,
}

impl Default for TcpSettings {
    fn default() -> Self {
        TcpSettings {
            max_connections: 16_384,
            max_connections_per_client: None,
            idle: Duration::from_secs(600),
            lifetime: None,
            hello: Duration::from_secs(5),
            max_hello_bytes: 16 * 1024,
            splice: true,
        }
    }
}

/// What every connection of a proxy shares.
pub(crate) struct Shared {
    filters: Filters,
    router: Router,
    upstreams: Vec<Named>,
    settings: TcpSettings,
    observer: Option<Arc<dyn Observer>>,
    proxy_protocol: Option<ProxyProtocol>,
}

/// An upstream and the name it was added under.
struct Named {
    name: Box<str>,
    upstream: Arc<dyn Upstream>,
}

impl TcpProxy {
    /// A proxy of every connection to the one backend at this address.
    ///
    /// # Errors
    /// If the text is no address: see [`Address`].
    pub fn to(address: &str) -> Result<Self, ParseAddressError> {
        let address: Address = address.parse()?;
        Ok(TcpProxy::over(Cluster::single(Backend::new(address))))
    }

    /// A proxy of every connection to this upstream.
    pub fn over(upstream: impl Upstream) -> Self {
        let built = TcpProxy::builder().upstream("default", upstream).route(TcpRoute::to("default")).build();
        built.unwrap_or_else(|error| unreachable!("the one route names the one upstream: {error}"))
    }

    /// Starts a proxy without filters, routes or upstreams.
    pub fn builder() -> TcpProxyBuilder {
        TcpProxyBuilder::default()
    }
}

impl Shared {
    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    pub(crate) fn upstream_name(&self, index: usize) -> Option<&str> {
        self.upstreams.get(index).map(|named| &*named.name)
    }
}

impl Service for Shared {
    fn filters(&self) -> &[Arc<dyn Filter>] {
        &self.filters
    }

    fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    fn max_connections(&self) -> (usize, Option<usize>) {
        (self.settings.max_connections, self.settings.max_connections_per_client)
    }

    fn proxy_protocol(&self) -> Option<&ProxyProtocol> {
        self.proxy_protocol.as_ref()
    }

    fn link(current: (Arc<Self>, usize), io: Box<dyn Io>, peer: Peer) -> Arc<Link> {
        Link::raw(io, peer, current)
    }

    async fn serve(link: &mut Arc<Link>, _: &Draining<Self>) -> u64 {
        session::serve(link).await;
        0
    }
}

impl fmt::Debug for TcpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpProxy").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}
