//! The administration interface: metrics, health, an API and a dashboard.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use proxy_core::Listener as _;
use proxy_core::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::metrics::{Metrics, lock};

mod answer;
mod change;
mod config;
mod connections;
mod control;
mod error;
mod events;
mod guard;
mod logging;
mod pages;
mod read;
mod reloads;
mod server;
mod snapshot;
mod unix;

pub use control::Control;
pub use error::AdminError;
pub use logging::Logging;
pub use server::AdminServer;

use guard::Door;
use reloads::Reloads;
use unix::UnixSocket;

/// Streams of events at a time: each is sent the state of all backends every second.
const STREAMS: usize = 16;

/// The longest body, in bytes: a configuration to be validated.
const LONGEST_BODY: usize = 4 << 20;

/// The administration interface: a cheap handle.
///
/// | path | holds |
/// |---|---|
/// | `/` | the dashboard |
/// | `/metrics` | Prometheus' text format |
/// | `/healthz` | 200 while the process runs |
/// | `/readyz` | 200 while it takes requests, 503 before and once it [drains](Readiness::Draining) |
/// | `/api/v1/` | listeners, routes, connections, upstreams, backends, pools, limits, failures, the configuration, the log level; changes of backends and of the log level, reloads |
/// | `/api/v1/openapi.json` | the API's description |
///
/// ```
/// use proxy_metrics::{Admin, Metrics};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let admin = Admin::new(Metrics::new());
/// let server = admin.bind("127.0.0.1:0".parse()?)?;
/// println!("http://{}/metrics", server.address().expect("it has a socket of TCP"));
/// # let stop = async {};
/// server.run(stop).await; // beside the proxy, and a little longer
/// # Ok(())
/// # }
/// ```
///
/// [`router`](Self::router) is the same without a socket, for those who have an axum server.
///
/// # Who may do what
/// Without a [token](Self::with_token) it is for this machine only: other addresses than loopback are refused.
/// With one, all but `/healthz`, `/readyz` and the empty dashboard want `Authorization: Bearer …`. There are no cookies; changes want
/// `Content-Type: application/json`, which no form of another site can send; and requests under a host name that
/// could be anybody's are refused without a token, so that a page whose name was pointed at this address reads
/// nothing. A [Unix socket](Self::bind_unix) asks for nothing: who may open it may do everything. Every change is
/// logged.
#[derive(Clone)]
pub struct Admin(Arc<State>);

/// What every request of the interface shares.
#[derive(Clone)]
struct State {
    metrics: Metrics,
    token: Arc<Mutex<Option<Arc<[u8]>>>>,
    readiness: Arc<watch::Sender<Readiness>>,
    streams: Arc<Semaphore>,
    reloads: Arc<Reloads>,
    control: Arc<Mutex<Option<Arc<dyn Control>>>>,
    logging: Arc<Mutex<Option<Arc<dyn Logging>>>>,
    door: Door,
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
        Admin(Arc::new(State {
            metrics,
            token: Arc::default(),
            readiness: Arc::default(),
            streams: Arc::new(Semaphore::new(STREAMS)),
            reloads: Arc::default(),
            control: Arc::default(),
            logging: Arc::default(),
            door: Door::Loopback,
        }))
    }

    /// The same interface behind a token of its own, or behind none.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        let admin = Admin(Arc::new(State { token: Arc::default(), ..(*self.0).clone() }));
        admin.set_token(token);
        admin
    }

    /// From now on only for those who know this token; `None`, or an empty one: for everybody on this machine.
    /// What listens where others reach it answers nobody without one.
    pub fn set_token(&self, token: Option<&str>) {
        *lock(&self.0.token) = token.filter(|token| !token.is_empty()).map(|token| token.as_bytes().into());
    }

    /// What `/readyz` says from now on. It begins as [`Readiness::Ready`].
    pub fn set_readiness(&self, readiness: Readiness) {
        self.0.readiness.send_replace(readiness);
    }

    /// Shows this server's configuration, and reloads it when asked to.
    pub fn set_control(&self, control: impl Control) {
        *lock(&self.0.control) = Some(Arc::new(control));
    }

    /// Shows what this log is told to keep, and changes that when asked to.
    pub fn set_logging(&self, logging: impl Logging) {
        *lock(&self.0.logging) = Some(Arc::new(logging));
    }

    /// A configuration was loaded while running: a line for each change, or why nothing changed. The metrics
    /// [count](Metrics::reloaded) it, too.
    pub fn reloaded(&self, result: Result<Vec<String>, String>) {
        self.0.metrics.reloaded(result.is_ok());
        self.0.reloads.note(result);
    }

    /// All of it, to be served by an axum server of one's own, who then decides who reaches it.
    pub fn router(&self) -> Router {
        self.behind(Door::Loopback)
    }

    /// Opens a socket.
    ///
    /// # Errors
    /// If the address is taken or not of this machine, or if others could reach it and there is no token.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(&self, address: SocketAddr) -> Result<AdminServer, AdminError> {
        self.door_to(address)?;
        self.serve(TcpListener::bind(address).map_err(AdminError::cannot_listen)?.named("admin"))
    }

    /// Takes a socket that is open already.
    ///
    /// # Errors
    /// If the socket has no address, or if others could reach it and there is no token.
    pub fn serve(&self, listener: TcpListener) -> Result<AdminServer, AdminError> {
        let address = listener.local_addr().map_err(AdminError::cannot_listen)?;
        let door = self.door_to(address)?;
        Ok(AdminServer::over_tcp(listener, address, self.behind(door)))
    }

    fn door_to(&self, address: SocketAddr) -> Result<Door, AdminError> {
        match Door::to(address.ip()) {
            Door::Public if self.0.token().is_none() => Err(AdminError::public_without_token(address)),
            door => Ok(door),
        }
    }

    /// Opens a Unix socket at this path, for its owner only (mode 0600). One that is there already gives way;
    /// when the server ends, its own is removed.
    ///
    /// # Errors
    /// If something else than a socket is there, or the system refuses.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind_unix(&self, path: impl Into<PathBuf>) -> Result<AdminServer, AdminError> {
        let socket = UnixSocket::bind(path.into()).map_err(AdminError::cannot_listen)?;
        Ok(AdminServer::over_unix(socket, self.behind(Door::File)))
    }

    fn behind(&self, door: Door) -> Router {
        let state = Arc::new(State { door, ..(*self.0).clone() });
        let api = read::routes().merge(change::routes()).merge(config::routes()).merge(events::routes());
        let api = api.merge(logging::routes());
        let guarded = Router::new()
            .route("/metrics", get(read::metrics))
            .nest("/api/v1", api)
            .layer(from_fn_with_state(Arc::clone(&state), guard::authorised));
        Router::new()
            .merge(guarded)
            .merge(pages::routes())
            .route("/healthz", get(read::healthz))
            .route("/readyz", get(read::readyz))
            .fallback(answer::no_such_page)
            .layer(DefaultBodyLimit::max(LONGEST_BODY))
            .layer(from_fn_with_state(Arc::clone(&state), guard::of_this_host))
            .layer(from_fn(guard::headers))
            .with_state(state)
    }
}

impl State {
    fn control(&self) -> Option<Arc<dyn Control>> {
        lock(&self.control).clone()
    }

    fn logging(&self) -> Option<Arc<dyn Logging>> {
        lock(&self.logging).clone()
    }

    fn token(&self) -> Option<Arc<[u8]>> {
        lock(&self.token).clone()
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readiness = *self.0.readiness.borrow();
        f.debug_struct("Admin")
            .field("readiness", &readiness)
            .field("has_token", &self.0.token().is_some())
            .finish_non_exhaustive()
    }
}
