//! The administration interface at its socket.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use proxy_core::{Limits, Listener, Proxy, Route, ServiceUpstream, TcpListener, serve};

use super::LONGEST_BODY;
use super::unix::UnixSocket;

/// Connections at a time. A dashboard takes two, a scrape one.
const CONNECTIONS: usize = 256;

/// How long its own requests have to end.
const DRAIN: Duration = Duration::from_secs(1);

/// The administration interface at its socket. See [`Admin::bind`](super::Admin::bind).
#[must_use = "it answers once it runs"]
pub struct AdminServer {
    socket: Socket,
    router: Router,
}

enum Socket {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixSocket),
}

impl AdminServer {
    pub(super) fn over_tcp(listener: TcpListener, address: SocketAddr, router: Router) -> Self {
        AdminServer { socket: Socket::Tcp(listener, address), router }
    }

    pub(super) fn over_unix(socket: UnixSocket, router: Router) -> Self {
        AdminServer { socket: Socket::Unix(socket), router }
    }

    /// Where it listens, with the port that the system chose where it was to; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(_, address) => Some(*address),
            Socket::Unix(_) => None,
        }
    }

    /// Answers until `stop` is ready. Its own requests have a second to end.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket at once.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) {
        match self.socket {
            Socket::Tcp(listener, _) => run(listener, self.router, stop).await,
            Socket::Unix(socket) => run(socket, self.router, stop).await,
        }
    }
}

async fn run(listener: impl Listener, router: Router, stop: impl Future<Output = ()> + Send + 'static) {
    let limits =
        Limits { max_connections: CONNECTIONS, max_body_bytes: Some(LONGEST_BODY as u64), ..Limits::default() };
    let proxy = Proxy::builder()
        .limits(limits)
        .upstream("admin", ServiceUpstream::new(router))
        .route(Route::to("admin"))
        .build();
    let Ok(proxy) = proxy else { unreachable!("the one route names the one upstream") };
    serve(listener, proxy).with_graceful_shutdown(stop).drain_timeout(DRAIN).await;
}

impl fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminServer").field("address", &self.address()).finish_non_exhaustive()
    }
}
