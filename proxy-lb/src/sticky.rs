//! The same backend for the same client, by a cookie.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::{Cluster, ClusterBuilder, Pool, Selector, SharedPool, Upstream};

mod memory;
mod seal;
mod selector;
mod upstream;

pub use selector::StickySelector;
pub use upstream::StickyUpstream;

use memory::Memory;
use seal::Seal;

/// The same backend for the same client, by a cookie: one that we set, or one that the backends set.
///
/// [`build`](Self::build) puts it around a cluster. What has no cookie yet, or one of a backend that is gone,
/// goes where the cluster's own selector says. A client stays with a backend that is draining, whose weight is
/// 0, or that is only a backup, until it is down or an attempt at it fails; then it is given another.
///
/// ```
/// use proxy_core::{Cluster, Proxy};
/// use proxy_lb::{LeastConnections, Sticky};
///
/// let cluster = Cluster::builder(LeastConnections::new())
///     .backend("127.0.0.1:9001".parse()?)
///     .backend("127.0.0.1:9002".parse()?);
/// let upstream = Sticky::inserted("lb", b"a secret of all proxies that serve this site")?.build(cluster);
/// let proxy = Proxy::over(upstream);
/// # let _ = proxy;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Sticky {
    cookie: Arc<str>,
    max_age: Option<Duration>,
    kind: Arc<Kind>,
}

enum Kind {
    Inserted(Seal),
    Learnt(Memory),
}

/// The name is none that a cookie can have: RFC 6265 §4.1.1 wants a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCookieName(String);

impl fmt::Display for InvalidCookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no name for a cookie", self.0)
    }
}

impl std::error::Error for InvalidCookieName {}

impl Sticky {
    /// By a cookie of this name that we set. It holds the backend's id encrypted and authenticated with
    /// AES-SIV (RFC 5297) under a key made from `secret`: a client can neither read nor forge it, and the
    /// length says nothing but for very long ids. Proxies with the same secret understand each other's
    /// cookies, also after a restart. Let the secret be random, of 32 bytes or more: it is hashed, not
    /// stretched.
    ///
    /// The cookie is `HttpOnly`, `SameSite=Lax`, and `Secure` where the client came over TLS; it lasts as long
    /// as the browser's session. Backends get to see it.
    ///
    /// # Errors
    /// If no cookie can have this name.
    pub fn inserted(cookie: &str, secret: &[u8]) -> Result<Self, InvalidCookieName> {
        Sticky::new(cookie, Kind::Inserted(Seal::new(cookie, secret)))
    }

    /// By a cookie of this name that the backends set: its value is remembered, as a hash, with the backend
    /// that set it. So are values that clients bring and nobody knows, since the last restart for example.
    /// At most `capacity` values are remembered, in about 100 bytes each; those that were used least go first.
    ///
    /// # Errors
    /// If no cookie can have this name.
    pub fn learnt(cookie: &str, capacity: usize) -> Result<Self, InvalidCookieName> {
        Sticky::new(cookie, Kind::Learnt(Memory::new(capacity)))
    }

    fn new(cookie: &str, kind: Kind) -> Result<Self, InvalidCookieName> {
        // A header field's name is the same token.
        match http::HeaderName::from_bytes(cookie.as_bytes()) {
            Ok(_) => Ok(Sticky { cookie: cookie.into(), max_age: None, kind: Arc::new(kind) }),
            Err(_) => Err(InvalidCookieName(cookie.to_owned())),
        }
    }

    /// Lets the cookie that we set outlast the browser's session by giving it this age, in whole seconds.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The cluster with its selector and its responses made sticky, with a pool of its own.
    pub fn build<S: Selector>(self, cluster: ClusterBuilder<S>) -> StickyUpstream<Cluster<StickySelector<S>>> {
        self.build_with(cluster, SharedPool::default())
    }

    /// The cluster with its selector and its responses made sticky, over this pool.
    pub fn build_with<S: Selector, P: Pool>(
        self,
        cluster: ClusterBuilder<S>,
        pool: P,
    ) -> StickyUpstream<Cluster<StickySelector<S>, P>> {
        let cluster = cluster.map_selector(|selector| self.selector(selector));
        self.upstream(cluster.build_with(pool))
    }

    /// The half that chooses, for those who put things together themselves.
    pub fn selector<S: Selector>(&self, inner: S) -> StickySelector<S> {
        StickySelector::new(self.clone(), inner)
    }

    /// The half that sets or learns cookies, around an upstream whose selector is the other half.
    pub fn upstream<U: Upstream>(&self, inner: U) -> StickyUpstream<U> {
        StickyUpstream::new(self.clone(), inner)
    }
}

impl fmt::Debug for Sticky {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match *self.kind {
            Kind::Inserted(_) => "inserted",
            Kind::Learnt(_) => "learnt",
        };
        f.debug_struct("Sticky").field("cookie", &self.cookie).field("kind", &kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
