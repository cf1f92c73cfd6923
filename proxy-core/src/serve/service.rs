//! What a listener's connections are for.

use std::sync::Arc;

use super::Draining;
use crate::context::Link;
use crate::proxy_protocol::ProxyProtocol;
use crate::{Filter, Io, Observer, Peer};

/// What a listener's connections are for: HTTP, or raw TCP.
pub(crate) trait Service: Sized + Send + Sync + 'static {
    /// Those that are asked about each connection.
    fn filters(&self) -> &[Arc<dyn Filter>];

    fn observer(&self) -> Option<&Arc<dyn Observer>>;

    /// Connections at a time, of all clients and of each.
    fn max_connections(&self) -> (usize, Option<usize>);

    /// How connections begin with a PROXY header, if they do.
    fn proxy_protocol(&self) -> Option<&ProxyProtocol>;

    /// What the connection's requests have in common, under this service and its number.
    fn link(current: (Arc<Self>, usize), io: Box<dyn Io>, peer: Peer) -> Arc<Link>;

    /// Serves the connection to its end. Returns how many requests there were.
    fn serve(link: &mut Arc<Link>, draining: &Draining<Self>) -> impl Future<Output = u64> + Send;
}
