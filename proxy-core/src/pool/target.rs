//! What a connection is for: the whole of it is the pool's key.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::{Backend, ClientHandshake};

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1: one request at a time.
    #[default]
    Http1,
    /// HTTP/2: many requests at a time. Over TLS both sides must agree on it (ALPN `h2`); otherwise it is spoken
    /// without asking.
    Http2,
    /// HTTP/2 where both sides of TLS agree on it (ALPN), and HTTP/1.1 where they do not.
    Negotiated,
    /// Bytes of any protocol: a TCP relay, a tunnel. The connection is one user's alone.
    Raw,
}

/// A backend and everything else that must be equal for a connection to be shared.
#[derive(Clone, Debug)]
pub struct Target {
    backend: Backend,
    protocol: Protocol,
    /// How it is made secure: server name, authorities, client certificate.
    tls: Option<Arc<dyn ClientHandshake>>,
    /// The PROXY header sent first.
    proxy_header: Option<Arc<[u8]>>,
    /// Where the backend is to lead.
    destination: Option<Arc<str>>,
}

impl Target {
    /// A plain HTTP/1.1 connection to this backend.
    pub fn new(backend: Backend) -> Self {
        Target { backend, protocol: Protocol::Http1, tls: None, proxy_header: None, destination: None }
    }

    pub(crate) fn of(backend: Backend, protocol: Protocol, tls: Option<&Arc<dyn ClientHandshake>>) -> Self {
        Target { backend, protocol, tls: tls.cloned(), proxy_header: None, destination: None }
    }

    /// For bytes of any protocol: such a connection is never shared.
    #[must_use]
    pub fn raw(mut self) -> Self {
        self.protocol = Protocol::Raw;
        self
    }

    /// Speaks this on the connection.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Over TLS. Connections of different handshakes are never shared, however alike they are; those of
    /// clones of one `Arc` are.
    #[must_use]
    pub fn with_tls(mut self, handshake: Arc<dyn ClientHandshake>) -> Self {
        self.tls = Some(handshake);
        self
    }

    /// With a PROXY header of one client: such a connection is never shared.
    #[must_use]
    pub fn with_proxy_header(mut self, header: Arc<[u8]>) -> Self {
        self.proxy_header = Some(header);
        self
    }

    /// To this authority beyond the backend, which is a proxy itself: the [`Connector`](crate::Connector) asks it to
    /// lead there. Such a connection is shared only among requests for the same authority.
    #[must_use]
    pub fn with_destination(mut self, authority: Arc<str>) -> Self {
        self.destination = Some(authority);
        self
    }

    /// The backend.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// What is spoken on the connection.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// How the connection is made secure, where it is.
    pub fn tls(&self) -> Option<&Arc<dyn ClientHandshake>> {
        self.tls.as_ref()
    }

    /// The PROXY header sent first.
    pub fn proxy_header(&self) -> Option<&[u8]> {
        self.proxy_header.as_deref()
    }

    /// The authority beyond the backend that it is to lead to.
    pub fn destination(&self) -> Option<&str> {
        self.destination.as_deref()
    }

    /// Whether a connection for it may serve another client's request.
    pub fn is_shareable(&self) -> bool {
        self.proxy_header.is_none() && self.protocol != Protocol::Raw
    }
}

impl Protocol {
    /// Whether connections may be shared by requests at the same time.
    pub(crate) fn may_share(self) -> bool {
        matches!(self, Protocol::Http2 | Protocol::Negotiated)
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        };
        same_tls
            && self.backend == other.backend
            && self.protocol == other.protocol
            && self.proxy_header == other.proxy_header
            && self.destination == other.destination
    }
}

impl Eq for Target {}

impl Hash for Target {
    /// Few targets share a backend, so its key alone spreads them, but for the many destinations behind a proxy;
    /// equality is full.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.backend.hash(state);
        if let Some(destination) = &self.destination {
            destination.hash(state);
        }
    }
}
