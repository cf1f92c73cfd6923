//! A proxy: filters, routes, upstreams and settings.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "http2")]
use crate::Http2;
use crate::cluster::Cluster;
use crate::context::Link;
use crate::forwarding::Forwarding;
use crate::http1::reader::Reader;
use crate::http1::server::Served;
use crate::http2;
use crate::proxy_protocol::ProxyProtocol;
use crate::serve::{Draining, Service};
use crate::{
    Address, Backend, Filter, Io, Limits, Observer, ParseAddressError, Peer, RequestHead, Timeouts, Upstream, http1,
};

mod chain;
mod exchange;
mod live;
mod route;
mod router;
mod service;
pub(crate) mod tunnel;

pub use live::LiveProxy;
pub use route::{Route, RouteError};
pub use service::ResponseFuture;
pub use tunnel::{TunnelCheck, TunnelStart};

pub(crate) use chain::{CatchPanic, Filters};
pub(crate) use exchange::Exchange;
pub(crate) use route::Host;
use router::Router;

/// A proxy. Cloning it is cheap, and all clones are the same proxy.
///
/// Serve it with [`serve`](crate::serve), or mount it wherever a [`tower_service::Service`] goes.
///
/// ```no_run
/// use proxy_core::{Proxy, TcpListener, serve};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
/// serve(listener, Proxy::to("127.0.0.1:9000")?).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Proxy(pub(crate) Arc<Shared>);

/// What every connection and request of a proxy shares.
pub(crate) struct Shared {
    pub(crate) filters: Filters,
    router: Router,
    routes: Vec<Route>,
    /// The upstream of each route, unless it is split.
    destinations: Vec<Option<usize>>,
    upstreams: Vec<Named>,
    names: HashMap<Box<str>, usize>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) forwarding: Forwarding,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) half_close: bool,
    pub(crate) any_host: bool,
    pub(crate) http2: http2::Settings,
    proxy_protocol: Option<ProxyProtocol>,
}

/// An upstream, the name it was added under, and its filters.
pub(crate) struct Named {
    pub(crate) name: Box<str>,
    pub(crate) upstream: Arc<dyn Upstream>,
    filters: Vec<Arc<dyn Filter>>,
}

impl Named {
    pub(crate) fn filters(&self) -> &[Arc<dyn Filter>] {
        &self.filters
    }
}

impl Proxy {
    /// A proxy of everything to the one backend at this address.
    ///
    /// # Errors
    /// If the text is no address: see [`Address`].
    pub fn to(address: &str) -> Result<Self, ParseAddressError> {
        let address: Address = address.parse()?;
        Ok(Proxy::over(Cluster::single(Backend::new(address))))
    }

    /// A proxy of everything to this upstream.
    pub fn over(upstream: impl Upstream) -> Self {
        let built = Proxy::builder().upstream("default", upstream).route(Route::to("default")).build();
        built.unwrap_or_else(|error| unreachable!("the one route names the one upstream: {error}"))
    }

    /// Starts a proxy without filters, routes or upstreams.
    pub fn builder() -> ProxyBuilder {
        ProxyBuilder::default()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("routes", &self.0.routes.len()).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn find_route(&self, head: &RequestHead) -> Option<usize> {
        self.router.find(head)
    }

    pub(crate) fn route_at(&self, index: usize) -> Option<&Route> {
        self.routes.get(index)
    }

    pub(crate) fn upstream_at(&self, index: usize) -> Option<&Named> {
        self.upstreams.get(index)
    }

    /// Where the next request of this route goes.
    pub(crate) fn pick(&self, route: usize) -> Option<usize> {
        self.destinations.get(route)?.or_else(|| self.find_upstream(self.routes.get(route)?.pick()))
    }

    pub(crate) fn find_upstream(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
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
        (self.limits.max_connections, self.limits.max_connections_per_client)
    }

    fn proxy_protocol(&self) -> Option<&ProxyProtocol> {
        self.proxy_protocol.as_ref()
    }

    fn link(current: (Arc<Self>, usize), io: Box<dyn Io>, peer: Peer) -> Arc<Link> {
        Link::new(io, peer, current)
    }

    /// Under one proxy after the other.
    async fn serve(link: &mut Arc<Link>, draining: &Draining) -> u64 {
        let mut kept = None;
        loop {
            let served = match agreed_reader(link) {
                Some(reader) => Served::Http2(reader),
                None => http1::server::serve(link, draining, kept).await,
            };
            match served {
                Served::All(requests) => return requests,
                // In a box: one that speaks HTTP/1 has no room for it.
                Served::Http2(reader) => return Box::pin(http2::serve(Arc::clone(link), draining, reader)).await,
                Served::Renewed(rest) => kept = Some(rest),
            }
            *link = link.renewed(draining.current());
        }
    }
}

/// The bytes of a client that has agreed on HTTP/2.
fn agreed_reader(link: &Link) -> Option<Reader> {
    let (shared, stream) = (link.proxy.as_ref()?, link.client.as_ref()?);
    http2::is_agreed(&shared.http2, &link.peer).then(|| Reader::new(stream.clone()))
}

/// Makes a [`Proxy`].
#[derive(Default)]
pub struct ProxyBuilder {
    filters: Vec<Arc<dyn Filter>>,
    routes: Vec<Route>,
    upstreams: Vec<Named>,
    names: HashMap<Box<str>, usize>,
    /// Filters of upstreams, by name: they may be added before their upstream is.
    upstream_filters: Vec<(Box<str>, Arc<dyn Filter>)>,
    limits: Limits,
    timeouts: Timeouts,
    forwarding: Forwarding,
    observer: Option<Arc<dyn Observer>>,
    half_close: bool,
    any_host: bool,
    http2: http2::Settings,
    proxy_protocol: Option<ProxyProtocol>,
}

/// A proxy that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A route names an upstream that was not added.
    #[error("route `{route}` names no upstream: `{upstream}`")]
    NoUpstream {
        /// The route.
        route: String,
        /// The name it has.
        upstream: String,
    },
    /// A filter was added to an upstream that was not.
    #[error("a filter names no upstream: `{0}`")]
    NoFilteredUpstream(String),
    /// There is no route, so nothing could be answered.
    #[error("the proxy has no route")]
    NoRoute,
}

impl ProxyBuilder {
    /// Adds a filter around every request, behind those added before.
    #[must_use]
    pub fn filter(mut self, filter: impl Filter) -> Self {
        self.filters.push(Arc::new(filter));
        self
    }

    /// Adds a filter that is shared with others.
    #[must_use]
    pub fn shared_filter(mut self, filter: Arc<dyn Filter>) -> Self {
        self.filters.push(filter);
        self
    }

    /// Adds an upstream that routes name.
    #[must_use]
    pub fn upstream(self, name: &str, upstream: impl Upstream) -> Self {
        self.shared_upstream(name, Arc::new(upstream))
    }

    /// Adds an upstream that is shared with others.
    #[must_use]
    pub fn shared_upstream(mut self, name: &str, upstream: Arc<dyn Upstream>) -> Self {
        let named = Named { name: name.into(), upstream, filters: Vec::new() };
        match self.names.get(name) {
            Some(index) => self.upstreams[*index] = named,
            None => {
                self.names.insert(name.into(), self.upstreams.len());
                self.upstreams.push(named);
            }
        }
        self
    }

    /// Adds a filter around the requests that go to this upstream, whichever route they take. It runs
    /// behind those of the listener and of the route.
    #[must_use]
    pub fn upstream_filter(self, upstream: &str, filter: impl Filter) -> Self {
        self.shared_upstream_filter(upstream, Arc::new(filter))
    }

    /// The same for a filter that is shared with others.
    #[must_use]
    pub fn shared_upstream_filter(mut self, upstream: &str, filter: Arc<dyn Filter>) -> Self {
        self.upstream_filters.push((upstream.into(), filter));
        self
    }

    /// Adds a route. The most specific one wins: see [`Route`].
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// What clients may ask.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long clients may take.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The limit of a whole request's time.
    #[must_use]
    pub fn total_timeout(mut self, total: Duration) -> Self {
        self.timeouts.total = Some(total);
        self
    }

    /// Which forwarding fields are written, and whom to trust with them.
    #[must_use]
    pub fn forwarding(mut self, forwarding: Forwarding) -> Self {
        self.forwarding = forwarding;
        self
    }

    /// Sees connections as they come and go.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Serves clients that close their sending side before they have the response. Default: such a
    /// client counts as gone.
    #[must_use]
    pub fn half_close(mut self, half_close: bool) -> Self {
        self.half_close = half_close;
        self
    }

    /// Lets clients ask for any host over TLS: for proxies whose clients say by it where they go. Default: a
    /// host that the certificate they were shown is not for is answered with 421 (Misdirected Request).
    #[must_use]
    pub fn any_host(mut self, any_host: bool) -> Self {
        self.any_host = any_host;
        self
    }

    /// What clients may do over HTTP/2, which is spoken with those that begin with its preface, and with those
    /// that agree on it in a TLS handshake; `None`: nobody speaks it. Default: [`Http2::default`].
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2(mut self, http2: impl Into<Option<Http2>>) -> Self {
        self.http2 = http2::Settings(http2.into());
        self
    }

    /// Connections begin with a PROXY header, before TLS. Only where the proxy is served by [`serve`](crate::serve).
    #[must_use]
    pub fn proxy_protocol(mut self, protocol: ProxyProtocol) -> Self {
        self.proxy_protocol = Some(protocol);
        self
    }

    /// The proxy.
    ///
    /// # Errors
    /// If there is no route, or a route or filter names an upstream that was not added.
    pub fn build(mut self) -> Result<Proxy, BuildError> {
        if self.routes.is_empty() {
            return Err(BuildError::NoRoute);
        }
        for route in &self.routes {
            self.check(route)?;
        }
        for (name, filter) in std::mem::take(&mut self.upstream_filters) {
            let index = self.names.get(&name).ok_or_else(|| BuildError::NoFilteredUpstream(name.into()))?;
            self.upstreams[*index].filters.push(filter);
        }
        let destinations = self.routes.iter().map(|route| self.only(route)).collect();
        Ok(Proxy(Arc::new(Shared {
            filters: self.filters.into(),
            router: Router::new(&self.routes),
            routes: self.routes,
            destinations,
            upstreams: self.upstreams,
            names: self.names,
            limits: clamp(self.limits),
            timeouts: self.timeouts,
            forwarding: self.forwarding,
            observer: self.observer,
            half_close: self.half_close,
            any_host: self.any_host,
            http2: self.http2,
            proxy_protocol: self.proxy_protocol,
        })))
    }

    fn check(&self, route: &Route) -> Result<(), BuildError> {
        match route.upstreams().find(|name| !self.names.contains_key(*name)) {
            Some(name) => Err(BuildError::NoUpstream { route: route.name().to_owned(), upstream: name.to_owned() }),
            None => Ok(()),
        }
    }

    /// The one upstream of a route that is not split.
    fn only(&self, route: &Route) -> Option<usize> {
        let mut names = route.upstreams();
        let index = self.names.get(names.next()?)?;
        names.next().is_none().then_some(*index)
    }
}

/// The read buffer is one block, and removals are one bit each.
fn clamp(mut limits: Limits) -> Limits {
    limits.max_head_bytes = limits.max_head_bytes.min(60 * 1024);
    limits.max_headers = limits.max_headers.min(128);
    limits
}

impl fmt::Debug for ProxyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyBuilder").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}
