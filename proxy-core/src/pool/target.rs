//! What a connection is for: the whole of it is the pool's key.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::Backend;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1: one request at a time.
    #[default]
    Http1,
    /// Bytes of one client: such a connection is never shared.
    Tcp,
}

/// A backend and everything else that must be equal for a connection to be shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    backend: Backend,
    protocol: Protocol,
    /// The TLS identity spoken to (server name, roots, client certificate), as its owner names it.
    tls: Option<Arc<str>>,
    /// The PROXY header sent first.
    proxy_header: Option<Arc<[u8]>>,
}

impl Target {
    /// A plain HTTP/1.1 connection to this backend.
    pub fn new(backend: Backend) -> Self {
        Target { backend, protocol: Protocol::Http1, tls: None, proxy_header: None }
    }

    /// With this TLS identity: connections of different identities are never shared.
    #[must_use]
    pub fn with_tls(mut self, identity: Arc<str>) -> Self {
        self.tls = Some(identity);
        self
    }

    /// For what this protocol says.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// With a PROXY header of one client: such a connection is never shared.
    #[must_use]
    pub fn with_proxy_header(mut self, header: Arc<[u8]>) -> Self {
        self.proxy_header = Some(header);
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

    /// The TLS identity, where the connection is encrypted.
    pub fn tls(&self) -> Option<&str> {
        self.tls.as_deref()
    }

    /// The PROXY header sent first.
    pub fn proxy_header(&self) -> Option<&[u8]> {
        self.proxy_header.as_deref()
    }

    /// Whether a connection for it may serve another client's request.
    pub fn is_shareable(&self) -> bool {
        self.proxy_header.is_none() && self.protocol == Protocol::Http1
    }
}

impl Hash for Target {
    /// Few targets share a backend, so its key alone spreads them; equality is full.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.backend.hash(state);
    }
}
