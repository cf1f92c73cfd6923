//! Making a proxy of raw connections.

use std::fmt;
use std::sync::Arc;

use super::router::Router;
use super::{Named, Shared, TcpProxy, TcpRoute, TcpSettings};
use crate::proxy_protocol::ProxyProtocol;
use crate::{BuildError, Filter, Observer, Upstream};

/// The whole of a hello is kept in one block until its connection has an upstream.
const MAX_HELLO: usize = 60 * 1024;

/// Makes a [`TcpProxy`].
#[derive(Default)]
pub struct TcpProxyBuilder {
    filters: Vec<Arc<dyn Filter>>,
    routes: Vec<TcpRoute>,
    upstreams: Vec<Named>,
    settings: TcpSettings,
    observer: Option<Arc<dyn Observer>>,
    proxy_protocol: Option<ProxyProtocol>,
}

impl TcpProxyBuilder {
    /// Adds a filter that is asked about every connection and told of its end.
    #[must_use]
    pub fn filter(self, filter: impl Filter) -> Self {
        self.shared_filter(Arc::new(filter))
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
        let named = Named { name: name.into(), upstream };
        match self.find(name) {
            Some(index) => self.upstreams[index] = named,
            None => self.upstreams.push(named),
        }
        self
    }

    /// Adds a route. The most specific one wins: see [`TcpRoute`].
    #[must_use]
    pub fn route(mut self, route: TcpRoute) -> Self {
        self.routes.push(route);
        self
    }

    /// What connections may.
    #[must_use]
    pub fn settings(mut self, settings: TcpSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sees connections as they come and go.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Connections begin with a PROXY header.
    #[must_use]
    pub fn proxy_protocol(mut self, protocol: ProxyProtocol) -> Self {
        self.proxy_protocol = Some(protocol);
        self
    }

    /// The proxy.
    ///
    /// # Errors
    /// If there is no route, or one names an upstream that was not added.
    pub fn build(mut self) -> Result<TcpProxy, BuildError> {
        if self.routes.is_empty() {
            return Err(BuildError::NoRoute);
        }
        let mut router = Router::default();
        for route in std::mem::take(&mut self.routes) {
            let Some(upstream) = self.find(route.upstream()) else {
                let upstream = route.upstream().to_owned();
                return Err(BuildError::NoUpstream { route: route.to_string(), upstream });
            };
            router.add(route, upstream);
        }
        self.settings.max_hello_bytes = self.settings.max_hello_bytes.min(MAX_HELLO);
        Ok(TcpProxy(Arc::new(Shared {
            filters: self.filters.into(),
            router,
            upstreams: self.upstreams,
            settings: self.settings,
            observer: self.observer,
            proxy_protocol: self.proxy_protocol,
        })))
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.upstreams.iter().position(|named| &*named.name == name)
    }
}

impl fmt::Debug for TcpProxyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpProxyBuilder").field("routes", &self.routes).finish_non_exhaustive()
    }
}
