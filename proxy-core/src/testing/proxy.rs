//! A proxy without a listener.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{ROOM, Script, ScriptedConnector, TestClient};
use crate::context::Link;
use crate::proxy::Shared;
use crate::serve::{Draining, Service};
use crate::{Filter, LiveProxy, Peer, Proxy, Route, TlsInfo, Upstream};

/// A [`Proxy`] that serves in-memory connections.
///
/// ```
/// use proxy_core::testing::TestProxy;
/// use proxy_core::{EditHeaders, HeaderEdits};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), proxy_core::HeaderEditError> {
/// let filter = EditHeaders::new().response(HeaderEdits::new().set("x-frame-options", "DENY")?);
/// let mut client = TestProxy::around(filter).connect();
/// client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
/// assert_eq!(client.read_response().await.header("X-Frame-Options"), Some("DENY"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TestProxy {
    proxy: Proxy,
    peer: Peer,
    room: usize,
}

impl TestProxy {
    /// Serves this proxy. Clients come from 192.0.2.1, port 50000.
    pub fn new(proxy: Proxy) -> Self {
        let mut peer = Peer::new(SocketAddr::from(([192, 0, 2, 1], 50_000)));
        peer.local = Some(SocketAddr::from(([192, 0, 2, 100], 80)));
        TestProxy { proxy, peer, room: ROOM }
    }

    /// Serves a proxy of everything to this upstream.
    pub fn over(upstream: impl Upstream) -> Self {
        TestProxy::new(Proxy::over(upstream))
    }

    /// Serves a proxy with this filter, before an origin that answers everything with `200 ok`.
    pub fn around(filter: impl Filter) -> Self {
        let origin = ScriptedConnector::always(Script::ok());
        let builder = Proxy::builder().filter(filter).upstream("ok", origin.cluster());
        let built = builder.route(Route::to("ok")).build();
        TestProxy::new(built.unwrap_or_else(|error| unreachable!("the one route names the one upstream: {error}")))
    }

    /// As if over TLS.
    #[must_use]
    pub fn over_tls(mut self, tls: TlsInfo) -> Self {
        self.peer.tls = Some(Arc::new(tls));
        self
    }

    /// Lets clients come from this address.
    #[must_use]
    pub fn client_at(mut self, address: SocketAddr) -> Self {
        self.peer.address = Some(address);
        self
    }

    /// How many bytes lie between client and proxy, each way, before a writer has to wait. Default
    /// 64 KiB.
    #[must_use]
    pub fn room(mut self, bytes: usize) -> Self {
        self.room = bytes;
        self
    }

    /// Connects a client. The connection is served by a task of its own.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(&self) -> TestClient {
        let (client, connection) = self.pair();
        client.served_by(tokio::spawn(connection))
    }

    /// Connects a client, and returns the connection as a future that is yours to poll or drop: how
    /// many requests there were.
    pub fn pair(&self) -> (TestClient, impl Future<Output = u64> + Send + use<>) {
        let (client, server) = tokio::io::duplex(self.room);
        let live = LiveProxy::new(self.proxy.clone());
        let mut link = Link::new(Box::new(server), self.peer.clone(), live.0.current());
        let connection = async move { Shared::serve(&mut link, &Draining::never(live.0)).await };
        (TestClient::new(client), connection)
    }
}
