//! Making a cluster.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::{Cluster, Core, NextHop, Quarantine, RetryBudget, RetryPolicy, UpstreamTimeouts};
use crate::http1::client::Rules;
use crate::pool::{Pool, Protocol, SharedPool};
use crate::{
    Address, Backend, BackendSet, Breaker, ClientHandshake, Eligibility, Limits, Observer, ProxyHeaderSender, Selector,
    SetEvent, Usable,
};

/// Retries a cluster may make before requests have paid for any.
const RESERVE: u32 = 10;

/// Makes a [`Cluster`].
pub struct ClusterBuilder<S> {
    selector: S,
    backends: Vec<Backend>,
    policy: RetryPolicy,
    timeouts: UpstreamTimeouts,
    limits: Limits,
    observer: Option<Arc<dyn Observer>>,
    breaker: Option<Box<dyn Breaker>>,
    seed: Option<u64>,
    introduces: Option<ProxyHeaderSender>,
    eligibility: Box<dyn Eligibility>,
    tls: Option<Arc<dyn ClientHandshake>>,
    next_hop: NextHop,
    http2: UpstreamHttp2,
}

/// Whether backends are spoken to in HTTP/2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamHttp2 {
    /// HTTP/1.1 only.
    #[default]
    Never,
    /// Where TLS agrees on it (ALPN), and HTTP/1.1 where it does not, without TLS, and for requests that upgrade.
    Auto,
    /// Nothing else. Without TLS by prior knowledge (RFC 9113 §3.3); over TLS ALPN must agree on it.
    Always,
}

impl UpstreamHttp2 {
    fn protocol(self, secure: bool) -> Protocol {
        match self {
            UpstreamHttp2::Auto if secure => Protocol::Negotiated,
            UpstreamHttp2::Always => Protocol::Http2,
            UpstreamHttp2::Never | UpstreamHttp2::Auto => Protocol::Http1,
        }
    }
}

impl<S: Selector> ClusterBuilder<S> {
    pub(super) fn new(selector: S) -> Self {
        ClusterBuilder {
            selector,
            backends: Vec::new(),
            policy: RetryPolicy::default(),
            timeouts: UpstreamTimeouts::default(),
            limits: Limits::default(),
            observer: None,
            breaker: None,
            seed: None,
            introduces: None,
            eligibility: Box::new(Usable),
            tls: None,
            next_hop: NextHop::default(),
            http2: UpstreamHttp2::Never,
        }
    }

    /// Adds a backend with weight 1 at this address.
    #[must_use]
    pub fn backend(self, address: Address) -> Self {
        self.with(Backend::new(address))
    }

    /// Adds a backend.
    #[must_use]
    pub fn with(mut self, backend: Backend) -> Self {
        self.backends.push(backend);
        self
    }

    /// Puts a selector around the present one.
    #[must_use]
    pub fn map_selector<T: Selector>(self, wrap: impl FnOnce(S) -> T) -> ClusterBuilder<T> {
        ClusterBuilder {
            selector: wrap(self.selector),
            backends: self.backends,
            policy: self.policy,
            timeouts: self.timeouts,
            limits: self.limits,
            observer: self.observer,
            breaker: self.breaker,
            seed: self.seed,
            introduces: self.introduces,
            eligibility: self.eligibility,
            tls: self.tls,
            next_hop: self.next_hop,
            http2: self.http2,
        }
    }

    /// Which backends are candidates. Default: those that are [`Usable`].
    #[must_use]
    pub fn eligibility(mut self, eligibility: impl Eligibility) -> Self {
        self.eligibility = Box::new(eligibility);
        self
    }

    /// Speaks TLS to the backends. Default: plain.
    #[must_use]
    pub fn tls(self, handshake: impl ClientHandshake) -> Self {
        self.shared_tls(Arc::new(handshake))
    }

    /// The same with a handshake that is shared with others: over one pool they share connections.
    #[must_use]
    pub fn shared_tls(mut self, handshake: Arc<dyn ClientHandshake>) -> Self {
        self.tls = Some(handshake);
        self
    }

    /// Whether to speak HTTP/2 to the backends, over a [`SharedPool`]: requests of all clients share a few connections.
    /// A pool of your own is asked for targets of [`Protocol::Http2`] and [`Protocol::Negotiated`], and may serve the
    /// latter by HTTP/1.1. Default: never.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2(mut self, http2: UpstreamHttp2) -> Self {
        self.http2 = http2;
        self
    }

    /// When a request is tried again.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// How long a backend may take.
    #[must_use]
    pub fn timeouts(mut self, timeouts: UpstreamTimeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How long a connection may take, of the [timeouts](Self::timeouts).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// What the backends are, where they do not answer themselves. Default: they do.
    #[must_use]
    pub fn next_hop(mut self, next_hop: NextHop) -> Self {
        self.next_hop = next_hop;
        self
    }

    /// What a response head may be. Only the limits of heads apply; 502 beyond.
    #[must_use]
    pub fn response_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sees attempts as they end.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Decides whether an attempt may begin at the backend that was chosen. Default: always, at no cost.
    #[must_use]
    pub fn breaker(mut self, breaker: impl Breaker) -> Self {
        self.breaker = Some(Box::new(breaker));
        self
    }

    /// Begins every connection with a PROXY header that names the client. Such a connection serves that one client, and
    /// with HTTP one request.
    #[must_use]
    pub fn proxy_protocol(mut self, sender: ProxyHeaderSender) -> Self {
        self.introduces = Some(sender);
        self
    }

    /// Makes the jitter of retries repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The cluster, with a pool of its own: under the same observer and connect timeout.
    pub fn build(self) -> Cluster<S> {
        let pool = SharedPool::builder().connect_timeout(self.timeouts.connect);
        let pool = match &self.observer {
            Some(observer) => pool.observer(Arc::clone(observer)),
            None => pool,
        };
        self.build_with(pool.build())
    }

    /// The cluster over this pool: one with other settings, or one of your own.
    pub fn build_with<P: Pool>(self, pool: P) -> Cluster<S, P> {
        let rules = Rules {
            limits: self.limits,
            response: self.timeouts.response,
            idle: self.timeouts.idle,
            absolute: self.next_hop == NextHop::HttpProxy,
            #[cfg(feature = "http2")]
            grpc_statuses: grpc_statuses(&self.policy),
            replay: if self.policy.attempts > 1 { self.policy.max_replay_bytes } else { 0 },
        };
        let core = Core {
            selector: self.selector,
            set: BackendSet::with_eligibility(self.backends, self.eligibility),
            observer: self.observer,
            breaker: self.breaker,
            budget: RetryBudget::new(self.policy.budget_percent, RESERVE),
            policy: self.policy,
            quarantine: Quarantine::default(),
            timeouts: self.timeouts,
            introduces: self.introduces,
            rules,
            // A proxy takes requests in absolute form, which is HTTP/1's.
            protocol: match self.next_hop {
                NextHop::HttpProxy => Protocol::Http1,
                _ => self.http2.protocol(self.tls.is_some()),
            },
            tls: self.tls,
            next_hop: self.next_hop,
            random: AtomicU64::new(self.seed.unwrap_or_else(|| RandomState::new().hash_one(0))),
        };
        let (core, pool) = (Arc::new(core), Arc::new(pool));
        let owners = (Arc::downgrade(&core), Arc::downgrade(&pool));
        core.set.listen(move |candidates, events| {
            if let Some(core) = owners.0.upgrade() {
                core.set_changed(candidates, events);
            }
            for event in events {
                if let (SetEvent::Left(gone), Some(pool)) = (event, owners.1.upgrade()) {
                    pool.evict(gone);
                }
            }
        });
        Cluster { core, pool }
    }
}

/// One bit for each status; there are none beyond 16.
#[cfg(feature = "http2")]
fn grpc_statuses(policy: &RetryPolicy) -> u32 {
    let bits = policy.grpc_statuses.iter().filter_map(|status| 1_u32.checked_shl(u32::from(*status)));
    if policy.attempts > 1 { bits.fold(0, |all, bit| all | bit) } else { 0 }
}

impl<S: fmt::Debug> fmt::Debug for ClusterBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterBuilder")
            .field("selector", &self.selector)
            .field("backends", &self.backends)
            .finish_non_exhaustive()
    }
}
