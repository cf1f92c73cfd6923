//! Another proxy on the way.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use proxy_core::{
    Address, Cluster, ClusterBuilder, Connection, Connector, Context, Error, ErrorKind, NextHop, PoolBuilder, Request,
    Response, Result, Selector, SharedPool, TcpConnector, Upstream, selector_fn,
};

use crate::auth::encode;
use crate::destination::Destination;

mod ahead;
mod connect;
mod connector;
mod socks;

pub use connector::ParentConnector;

/// How long a parent may take to reach a destination. It connects in its turn, perhaps by Happy Eyeballs.
const ANSWER: Duration = Duration::from_secs(30);
/// As [`UpstreamTimeouts`](proxy_core::UpstreamTimeouts) has it.
const CONNECT: Duration = Duration::from_secs(5);
/// RFC 1929 §2.
const MAX_CREDENTIAL: usize = 255;

/// What a parent speaks, and how it knows us.
///
/// Several parents that can stand in for each other are a [`Cluster`]: its selector chooses, and one that fails is
/// passed over. What a parent says of a *destination* (403, a name without address, nobody listens there) is no failure
/// of its own, so no client can talk a parent down by naming bad ones.
///
/// ```
/// use proxy_core::{Cluster, SharedPool, selector_fn};
/// use proxy_forward::{Parent, ParentProxy};
///
/// let proxy = ParentProxy::http().credentials("ada", "secret")?;
/// let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
///     .backend("proxy-1.example:3128".parse()?)
///     .backend("proxy-2.example:3128".parse()?);
/// let pool = proxy.pool(SharedPool::builder()).build();
/// let parent = Parent::new(proxy.clone(), proxy.cluster(cluster).build_with(pool));
/// # let _ = parent;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ParentProxy {
    protocol: Protocol,
    credentials: Option<Arc<(String, String)>>,
    connect: Duration,
    answer: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http,
    Socks5,
}

/// Why these are no credentials. It does not repeat them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name and a password of 1 to 255 bytes each, the name without a colon, both without control characters")]
pub struct ParentError(());

impl ParentProxy {
    /// One that speaks HTTP: it gets requests in absolute form, and CONNECT.
    pub fn http() -> Self {
        ParentProxy { protocol: Protocol::Http, credentials: None, connect: CONNECT, answer: ANSWER }
    }

    /// One that speaks SOCKS5 (RFC 1928). It gets names, not addresses: it resolves them.
    pub fn socks5() -> Self {
        ParentProxy { protocol: Protocol::Socks5, ..ParentProxy::http() }
    }

    /// The name and the password that it knows us by: in `Proxy-Authorization: Basic`, or by RFC 1929. Nobody beyond
    /// it gets to see them.
    ///
    /// # Errors
    /// If they cannot be sent.
    pub fn credentials(mut self, name: &str, password: &str) -> Result<Self, ParentError> {
        let legal = |text: &str| (1..=MAX_CREDENTIAL).contains(&text.len()) && !text.chars().any(char::is_control);
        if !legal(name) || !legal(password) || name.contains(':') {
            return Err(ParentError(()));
        }
        self.credentials = Some(Arc::new((name.to_owned(), password.to_owned())));
        Ok(self)
    }

    /// How long connecting to it may take; one that takes longer is passed over. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect = timeout;
        self
    }

    /// How long it may take to reach a destination, which may be no fault of its own. Default 30 s.
    #[must_use]
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer = timeout;
        self
    }

    /// What makes connections by it, over those of `inner`.
    pub fn connector(&self, inner: impl Connector) -> ParentConnector {
        ParentConnector::new(self.clone(), inner)
    }

    /// The pool for a cluster of such proxies, over TCP.
    #[must_use]
    pub fn pool(&self, builder: PoolBuilder) -> PoolBuilder {
        let connector = self.connector(TcpConnector::default());
        builder.connector(Arc::new(connector)).connect_timeout(self.deadline())
    }

    /// Tells a cluster that its backends are such proxies. It needs a [`pool`](Self::pool) to match.
    #[must_use]
    pub fn cluster<S: Selector>(&self, builder: ClusterBuilder<S>) -> ClusterBuilder<S> {
        let next_hop = match self.protocol {
            Protocol::Http => NextHop::HttpProxy,
            Protocol::Socks5 => NextHop::Tunnel,
        };
        builder.next_hop(next_hop).connect_timeout(self.deadline())
    }

    /// The one at this address, and no other.
    pub fn single(self, address: Address) -> Parent {
        let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned())).backend(address);
        let pool = self.pool(SharedPool::builder()).build();
        let cluster = self.cluster(cluster).build_with(pool);
        Parent::new(self, cluster)
    }

    /// Both of its times: neither cluster nor pool may be done before.
    fn deadline(&self) -> Duration {
        self.connect.saturating_add(self.answer)
    }

    /// The value of `Proxy-Authorization`.
    fn authorization(&self) -> Option<String> {
        self.credentials.as_deref().map(|(name, password)| encode(name, password.as_bytes()))
    }
}

impl fmt::Debug for ParentProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ParentProxy").field(&self.protocol).finish()
    }
}

/// Another proxy, or several that can stand in for each other, by which destinations are reached.
#[derive(Clone)]
pub struct Parent {
    proxy: ParentProxy,
    upstream: Arc<dyn Upstream>,
    /// Of requests in absolute form: tunnels have it from the connector.
    authorization: Option<HeaderValue>,
}

impl Parent {
    /// Proxies behind an upstream, which is a [cluster](ParentProxy::cluster) of them or stands around one.
    pub fn new(proxy: ParentProxy, upstream: impl Upstream) -> Self {
        let named = proxy.authorization().filter(|_| proxy.protocol == Protocol::Http);
        let authorization = named.and_then(|value| HeaderValue::from_str(&value).ok()).map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Parent { proxy, upstream: Arc::new(upstream), authorization }
    }

    #[cfg(test)]
    pub(crate) fn proxy(&self) -> &ParentProxy {
        &self.proxy
    }

    pub(crate) async fn send(&self, mut request: Request, ctx: &mut Context) -> Result<Response> {
        if let Some(value) = &self.authorization {
            request.head_mut().headers_mut().insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        let response = self.upstream.send(request, ctx).await?;
        // It is us whom the parent asks for a password, not the client.
        if self.proxy.protocol == Protocol::Http
            && response.head().status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
        {
            return Err(Error::new(ErrorKind::NextHopRefused).with_source(connect::NOT_KNOWN));
        }
        Ok(response)
    }

    pub(crate) async fn connect(&self, destination: &Destination, ctx: &mut Context) -> Result<Connection> {
        self.upstream.connect(Some(&destination.to_string()), ctx).await
    }
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parent").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_can_be_sent_or_are_refused() {
        let check = |name: &str, password: &str, expected| {
            assert_eq!(ParentProxy::http().credentials(name, password).is_ok(), expected, "{name:?} {password:?}");
        };
        check("ada", "secret", true);
        check("gräfin", "a:b", true);
        check("", "x", false);
        check("ada", "", false);
        check("a:b", "x", false);
        check("ada\r\nX: y", "x", false);
        check("ada", "x\r\nX: y", false);
        check(&"a".repeat(255), &"b".repeat(255), true);
        check(&"a".repeat(256), "b", false);
        check("a", &"b".repeat(256), false);
    }

    #[test]
    fn credentials_are_not_shown() {
        let proxy = ParentProxy::socks5().credentials("ada", "secret").unwrap();
        let shown = format!("{proxy:?} {:?}", proxy.clone().single("a:1".parse().unwrap()));
        assert!(!shown.contains("ada") && !shown.contains("secret"), "{shown}");
    }
}
