//! The PROXY protocol: who the client is, said by a proxy before the connection's own first byte.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Cidr, ErrorKind, Io, Peer};

mod header;
mod parse;
mod receive;
mod rewound;
mod send;

pub use header::ProxyHeader;
pub use send::ProxyHeaderSender;

pub(crate) use parse::{Start, start};

/// What a header may take in all: the specification's 216 bytes of Unix addresses, and certificates' names beside them.
const MAX_BYTES: usize = 4 * 1024;
/// Long for a proxy next door, and for one that resends a lost segment.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How the connections of a listener begin with a PROXY header of version 1 or 2
/// ([specification](https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt)).
///
/// A good header replaces the addresses in [`Peer`], which filters, limits, logs and forwarding fields see; the header
/// itself is [`Peer::proxy_header`]. A connection whose header is bad, late, or missing where it is required is closed
/// before any filter sees it, and [`Observer::on_connection_failed`](crate::Observer::on_connection_failed) is told.
///
/// Only networks that are trusted are believed. From others no header is read: they are refused where one is required.
///
/// ```
/// use proxy_core::{Proxy, ProxyProtocol};
///
/// let from_our_balancers = ProxyProtocol::required(["10.0.0.0/8".parse()?]);
/// # let _ = from_our_balancers;
/// # Ok::<(), proxy_core::CidrError>(())
/// ```
#[derive(Clone)]
pub struct ProxyProtocol {
    trusted: Arc<[Cidr]>,
    required: bool,
    timeout: Duration,
    max_bytes: usize,
}

impl ProxyProtocol {
    /// Every connection has to come from one of these networks and begin with a header.
    pub fn required(trusted: impl IntoIterator<Item = Cidr>) -> Self {
        let trusted = trusted.into_iter().collect();
        ProxyProtocol { trusted, required: true, timeout: TIMEOUT, max_bytes: MAX_BYTES }
    }

    /// Connections from these networks may begin with a header; what begins otherwise, or is silent until the deadline,
    /// is served as it is.
    ///
    /// The specification advises against guessing: take it to change a fleet over, and
    /// [`required`](Self::required) once it is done.
    pub fn optional(trusted: impl IntoIterator<Item = Cidr>) -> Self {
        ProxyProtocol { required: false, ..ProxyProtocol::required(trusted) }
    }

    /// How long the header may take. Default 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a header may be, in bytes. Default 4 KiB, at least 232: what the longest addresses take.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes.max(232);
        self
    }

    /// Reads the header, and returns the rest of the stream with the client it names.
    pub(crate) async fn receive(&self, io: Box<dyn Io>, peer: &Peer) -> Result<(Box<dyn Io>, Peer), ErrorKind> {
        if !self.trusts(peer) {
            return match self.required {
                true => Err(ErrorKind::ProxyHeaderUntrusted),
                false => Ok((io, peer.clone())),
            };
        }
        let mut receiver = receive::Receiver::new(io, self.max_bytes);
        let header = match tokio::time::timeout(self.timeout, receiver.header()).await {
            Ok(header) => header?,
            Err(_) if receiver.is_silent() && !self.required => None,
            Err(_) => return Err(ErrorKind::ProxyHeaderTimeout),
        };
        match header {
            Some(header) => Ok((receiver.into_rest(), introduced(peer, header))),
            None if self.required => Err(ErrorKind::ProxyHeaderMissing),
            None => Ok((receiver.into_rest(), peer.clone())),
        }
    }

    /// A peer without an address is one of this machine, or of a test.
    fn trusts(&self, peer: &Peer) -> bool {
        peer.address.is_none_or(|address| self.trusted.iter().any(|range| range.contains(address.ip())))
    }
}

/// The peer that a header names.
fn introduced(peer: &Peer, header: ProxyHeader) -> Peer {
    Peer {
        address: header.source().or(peer.address),
        local: header.destination().or(peer.local),
        listener: peer.listener.clone(),
        tls: peer.tls.clone(),
        proxy_header: Some(Arc::new(header)),
    }
}

impl fmt::Debug for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyProtocol")
            .field("trusted", &self.trusted)
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}
