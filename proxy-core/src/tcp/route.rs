//! Where a raw connection goes.

use std::fmt;

use crate::RouteError;
use crate::proxy::Host;

/// Where a raw connection goes, by what its TLS ClientHello says.
///
/// A route without conditions takes every connection that no other takes, those without TLS included. Where all
/// routes are without conditions, nothing is read before the connection is relayed, so the server may speak first.
///
/// An exact name is more specific than `*.example.com`, a longer wildcard than a shorter one, any name than none.
/// Among routes for the same name, one with a protocol is asked before one without, and then the first.
///
/// ```
/// use proxy_core::TcpRoute;
///
/// let grpc = TcpRoute::to("grpc").server_name("api.example.com")?.alpn("h2");
/// assert_eq!(grpc.to_string(), "api.example.com, h2");
/// # Ok::<(), proxy_core::RouteError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TcpRoute {
    upstream: Box<str>,
    pub(super) host: Host,
    pub(super) alpn: Option<Box<str>>,
}

impl TcpRoute {
    /// A route without conditions to this upstream.
    pub fn to(upstream: &str) -> Self {
        TcpRoute { upstream: upstream.into(), host: Host::Any, alpn: None }
    }

    /// For connections to this server name (SNI, RFC 6066 §3): `api.example.com`, or `*.example.com` for every name
    /// below.
    ///
    /// # Errors
    /// If it is no host name.
    pub fn server_name(mut self, pattern: &str) -> Result<Self, RouteError> {
        self.host = Host::parse(pattern)?;
        Ok(self)
    }

    /// For clients that offer this protocol (ALPN, RFC 7301): `h2`, `http/1.1`, `acme-tls/1`.
    #[must_use]
    pub fn alpn(mut self, protocol: &str) -> Self {
        self.alpn = Some(protocol.into());
        self
    }

    pub(super) fn upstream(&self) -> &str {
        &self.upstream
    }

    pub(super) fn is_unconditional(&self) -> bool {
        self.host == Host::Any && self.alpn.is_none()
    }
}

/// Its conditions.
impl fmt::Display for TcpRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => f.write_str("any")?,
            Host::Exact(name) => f.write_str(name)?,
            Host::Below(name) => write!(f, "*.{name}")?,
        }
        self.alpn.iter().try_for_each(|protocol| write!(f, ", {protocol}"))
    }
}
