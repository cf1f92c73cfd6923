//! The administration interface: metrics, health, an API and a dashboard.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use proxy_core::Listener as _;
use proxy_core::{Limits, Proxy, Route, ServiceUpstream, TcpListener, serve};
use tokio::sync::{Semaphore, watch};

use crate::metrics::Metrics;

mod answer;
mod change;
mod error;
mod events;
mod guard;
mod pages;
mod read;
mod snapshot;

pub use error::AdminError;

/// Connections at a time. A dashboard takes two, a scrape one.
const CONNECTIONS: usize = 256;

/// Dashboards at a time: each is sent the state of all backends every second.
const STREAMS: usize = 16;

/// The longest body of a change, in bytes.
const LONGEST_BODY: usize = 64 * 1024;

/// The administration interface: a cheap handle.
///
/// | path | holds |
/// |---|---|
/// | `/` | the dashboard |
/// | `/metrics` | Prometheus' text format |
/// | `/healthz` | 200 while the process runs |
/// | `/readyz` | 200 while it takes requests, 503 before and once it [drains](Readiness::Draining) |
/// | `/api/v1/` | listeners, routes, upstreams, backends, pools and failures; changes of backends |
/// | `/api/v1/openapi.json` | the API's description |
///
/// ```
/// use proxy_metrics::{Admin, Metrics};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let admin = Admin::new(Metrics::new());
/// let server = admin.bind("127.0.0.1:0".parse()?)?;
/// println!("http://{}/", server.address());
/// # let stop = async {};
/// server.run(stop).await; // beside the proxy, and a little longer
/// # Ok(())
/// # }
/// ```
///
/// [`router`](Self::router) is the same without a socket, for those who have an axum server.
///
/// # Who may do what
/// Without a [`token`](Self::token) it is for this machine only: other addresses than loopback are refused.
/// With one, all but `/healthz`, `/readyz` and the empty dashboard want `Authorization: Bearer …`. There are no
/// cookies; changes want `Content-Type: application/json`, which no form of another site can send; and
/// requests under a host name that could be anybody's are refused without a token, so that a page whose name was
/// pointed at this address reads nothing. Every change is logged.
#[derive(Clone)]
pub struct Admin(Arc<State>);

/// What every request of the interface shares.
struct State {
    metrics: Metrics,
    token: Option<Box<[u8]>>,
    readiness: watch::Sender<Readiness>,
    streams: Arc<Semaphore>,
}

/// Whether requests are welcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// Not yet.
    Starting,
    /// They are.
    #[default]
    Ready,
    /// No more: what runs is finished.
    Draining,
}

impl Readiness {
    /// A word for APIs.
    pub fn name(self) -> &'static str {
        match self {
            Readiness::Starting => "starting",
            Readiness::Ready => "ready",
            Readiness::Draining => "draining",
        }
    }
}

impl Admin {
    /// Shows these metrics, and what they watch.
    pub fn new(metrics: Metrics) -> Self {
        Admin::with(metrics, None)
    }

    /// The same for those who know this token. An empty one is none.
    pub fn token(self, token: &str) -> Self {
        let token = (!token.is_empty()).then(|| token.as_bytes().into());
        Admin::with(self.0.metrics.clone(), token)
    }

    fn with(metrics: Metrics, token: Option<Box<[u8]>>) -> Self {
        let (readiness, streams) = (watch::Sender::default(), Arc::new(Semaphore::new(STREAMS)));
        Admin(Arc::new(State { metrics, token, readiness, streams }))
    }

    /// What `/readyz` says from now on. It begins as [`Readiness::Ready`].
    pub fn set_readiness(&self, readiness: Readiness) {
        self.0.readiness.send_replace(readiness);
    }

    /// All of it, to be served by an axum server of one's own, who then decides who reaches it.
    pub fn router(&self) -> Router {
        let api = read::routes().merge(change::routes()).merge(events::routes());
        let guarded = Router::new()
            .route("/metrics", get(read::metrics))
            .nest("/api/v1", api)
            .layer(from_fn_with_state(Arc::clone(&self.0), guard::authorised));
        Router::new()
            .merge(guarded)
            .merge(pages::routes())
            .route("/healthz", get(read::healthz))
            .route("/readyz", get(read::readyz))
            .fallback(answer::no_such_page)
            .layer(DefaultBodyLimit::max(LONGEST_BODY))
            .layer(from_fn_with_state(Arc::clone(&self.0), guard::of_this_host))
            .layer(from_fn(guard::headers))
            .with_state(Arc::clone(&self.0))
    }

    /// Opens its socket.
    ///
    /// # Errors
    /// If the address is taken or not of this machine, or if others could reach it and there is no token.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(&self, address: SocketAddr) -> Result<AdminServer, AdminError> {
        if !address.ip().to_canonical().is_loopback() && self.0.token.is_none() {
            return Err(AdminError::public_without_token(address));
        }
        let listener = TcpListener::bind(address).map_err(AdminError::cannot_listen)?.named("admin");
        let address = listener.local_addr().map_err(AdminError::cannot_listen)?;
        Ok(AdminServer { listener, address, admin: self.clone() })
    }
}

/// The administration interface at its socket.
#[must_use = "it answers once it runs"]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    admin: Admin,
}

impl AdminServer {
    /// Where it listens, with the port that the system chose where it was to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is ready. Its own requests have a second to end.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket at once.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) {
        let admin = self.admin.clone();
        let mut limits = Limits::default();
        limits.max_connections = CONNECTIONS;
        limits.max_body_bytes = Some(LONGEST_BODY as u64);
        let proxy = Proxy::builder()
            .limits(limits)
            .upstream("admin", ServiceUpstream::new(self.admin.router()))
            .route(Route::to("admin"))
            .build();
        let Ok(proxy) = proxy else { unreachable!("the one route names the one upstream") };
        let stop = async move {
            stop.await;
            // Streams of events end by it.
            admin.set_readiness(Readiness::Draining);
        };
        serve(self.listener, proxy).with_graceful_shutdown(stop).drain_timeout(std::time::Duration::from_secs(1)).await;
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readiness = *self.0.readiness.borrow();
        f.debug_struct("Admin")
            .field("readiness", &readiness)
            .field("has_token", &self.0.token.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminServer").field("address", &self.address).finish_non_exhaustive()
    }
}
