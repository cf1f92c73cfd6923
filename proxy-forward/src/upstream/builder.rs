//! Making a forward upstream.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderName;
use proxy_core::{
    Backend, Candidates, Cidr, Cluster, Limits, Observer, PoolBuilder, PoolSettings, RetryPolicy, SelectionContext,
    SharedPool, UpstreamTimeouts, selector_fn,
};

use super::{ForwardUpstream, NoChoice, Ports, ServerNames};
use crate::anonymity::{Anonymity, Trace};
use crate::dialler::{Dial, Dialler, TcpDial};
use crate::egress::EgressGuard;
use crate::origins::{Directory, Origins};
use crate::parents::Parents;
use crate::policy::Policy;
use crate::resolver::Resolver;

/// Origins whose connections are kept.
const ORIGINS: usize = 4096;

/// Makes a [`ForwardUpstream`].
pub struct ForwardBuilder {
    guard: EgressGuard,
    policy: Policy,
    parents: Parents,
    server_names: ServerNames,
    resolver: Resolver,
    dial: Arc<dyn Dial>,
    connect_ports: Ports,
    http_ports: Ports,
    trace: Trace,
    origins: usize,
    pool: PoolSettings,
    retry: RetryPolicy,
    timeouts: UpstreamTimeouts,
    limits: Limits,
    observer: Option<Arc<dyn Observer>>,
}

impl Default for ForwardBuilder {
    fn default() -> Self {
        ForwardBuilder {
            guard: EgressGuard::default(),
            policy: Policy::default(),
            parents: Parents::default(),
            server_names: ServerNames::default(),
            resolver: Resolver::default(),
            dial: Arc::new(TcpDial),
            connect_ports: Ports::tls(),
            http_ports: Ports::web(),
            trace: Trace::default(),
            origins: ORIGINS,
            pool: PoolSettings::default(),
            retry: RetryPolicy::default(),
            timeouts: UpstreamTimeouts::default(),
            limits: Limits::default(),
            observer: None,
        }
    }
}

impl ForwardBuilder {
    /// Opens a range of private or otherwise special addresses: see [`EgressGuard::allow`].
    #[must_use]
    pub fn allow_private(mut self, range: Cidr) -> Self {
        self.guard = self.guard.allow(range);
        self
    }

    /// Closes an address that the proxy itself listens on: see [`EgressGuard::own`].
    #[must_use]
    pub fn own(mut self, listener: SocketAddr) -> Self {
        self.guard = self.guard.own(listener);
        self
    }

    /// Who may go where, of what the guard leaves open. Default: everybody everywhere.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Which destinations are reached by another proxy. Default: none, everything is connected to from here.
    ///
    /// A name that goes to a parent is the parent's to resolve: see [`Parents`] for what guard and policy see of it.
    #[must_use]
    pub fn parents(mut self, parents: Parents) -> Self {
        self.parents = parents;
        self
    }

    /// Who resolves names. Default: the system, with a cache.
    #[must_use]
    pub fn resolver(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }

    /// What connects. Default: TCP.
    #[must_use]
    pub fn dial(mut self, dial: impl Dial) -> Self {
        self.dial = Arc::new(dial);
        self
    }

    /// Ports that CONNECT, and SOCKS, may name. Default: 443.
    #[must_use]
    pub fn connect_ports(mut self, ports: Ports) -> Self {
        self.connect_ports = ports;
        self
    }

    /// Whether tunnels have to lead to the server that their TLS handshake asks for. Default: nobody looks.
    #[must_use]
    pub fn server_names(mut self, server_names: ServerNames) -> Self {
        self.server_names = server_names;
        self
    }

    /// Ports that requests may name. Default: [`Ports::web`].
    #[must_use]
    pub fn http_ports(mut self, ports: Ports) -> Self {
        self.http_ports = ports;
        self
    }

    /// How much origins learn about clients and the proxy. Default: [`Anonymity::Transparent`].
    #[must_use]
    pub fn anonymity(mut self, anonymity: Anonymity) -> Self {
        self.trace = self.trace.with(anonymity);
        self
    }

    /// The name under which the proxy stands in `Via`, and by which it knows its own requests again; of the
    /// characters of a field name. Default: one that no other proxy has.
    #[must_use]
    pub fn via(mut self, name: &str) -> Self {
        self.trace = self.trace.named(name);
        self
    }

    /// Removes a field from every request.
    #[must_use]
    pub fn scrub(mut self, field: HeaderName) -> Self {
        self.trace = self.trace.without(field);
        self
    }

    /// How many origins' connections are kept: beyond it those of the least used are closed. Default 4096.
    #[must_use]
    pub fn max_origins(mut self, count: usize) -> Self {
        self.origins = count;
        self
    }

    /// What the pool keeps, per origin and in all.
    #[must_use]
    pub fn pool(mut self, settings: PoolSettings) -> Self {
        self.pool = settings;
        self
    }

    /// When a request is tried again.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How long origins may take.
    #[must_use]
    pub fn timeouts(mut self, timeouts: UpstreamTimeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// What a response head may be.
    #[must_use]
    pub fn response_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sees attempts and connections.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The upstream.
    pub fn build(self) -> ForwardUpstream {
        let directory = Directory::default();
        let pool = self.shared_pool(&directory);
        let none: fn(&Candidates<'_>, &SelectionContext<'_>) -> Option<Backend> = |_, _| None;
        let cluster = Cluster::<NoChoice>::builder(selector_fn(none))
            .retry(self.retry)
            .timeouts(self.timeouts)
            .response_limits(self.limits);
        let cluster = match self.observer {
            Some(observer) => cluster.observer(observer),
            None => cluster,
        };
        ForwardUpstream {
            cluster: cluster.build_with(pool.clone()),
            origins: Origins::new(self.origins, pool, directory),
            resolver: self.resolver,
            guard: self.guard,
            policy: Arc::new(self.policy),
            server_names: self.server_names,
            parents: self.parents,
            connect_ports: self.connect_ports,
            http_ports: self.http_ports,
            trace: self.trace,
        }
    }

    fn shared_pool(&self, directory: &Directory) -> SharedPool {
        let dialler = Arc::new(Dialler::new(Arc::clone(&self.dial), directory.clone()));
        let pool: PoolBuilder = SharedPool::builder().settings(self.pool.clone()).connector(dialler);
        let pool = pool.connect_timeout(self.timeouts.connect);
        match &self.observer {
            Some(observer) => pool.observer(Arc::clone(observer)).build(),
            None => pool.build(),
        }
    }
}

impl fmt::Debug for ForwardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardBuilder")
            .field("guard", &self.guard)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
