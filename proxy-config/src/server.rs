//! From a configuration to a running server.

use std::fmt;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use proxy_core::{BackendSet, Listener as _, Proxy, TcpListener, serve};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::path::Path;
use crate::unsupported::Unsupported;
use crate::{Config, Http, Listener, ListenerKind};

mod bind;
mod eligibility;
mod error;
mod filter;
mod health;
mod http;
mod kept_limits;
mod limit;
mod route;
mod selector;
mod sticky;
mod upstream;

pub use error::ServerError;
pub use kept_limits::KeptLimits;

use health::Task;
use upstream::{Upstreams, upstreams};

/// What `shutdown.drain` is when absent.
const DRAIN: Duration = Duration::from_secs(30);

/// A server built from a [`Config`]: its sockets listen, and [`run`](Self::run) serves them.
///
/// Listeners share upstreams by name: one pool, one set of backends, one turn of the selector each.
/// What this build cannot do ([`Config::unsupported`]) is logged as a warning and left out: a listener
/// that needs it is not opened, a filter is skipped.
///
/// ```no_run
/// use proxy_config::{Config, Server};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::bind(&Config::load("lb.json")?)?;
/// for (listener, address) in server.addresses() {
///     println!("{listener} listens on {address}");
/// }
/// let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
/// server.run(stop).await;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    listeners: Vec<Open>,
    backends: Vec<(String, BackendSet)>,
    /// What runs beside the upstreams.
    tasks: Vec<Task>,
    drain: Duration,
}

/// A listener and its sockets: one per address, or one per address and worker.
struct Open {
    name: Arc<str>,
    proxy: Proxy,
    sockets: Vec<TcpListener>,
}

impl Server {
    /// Builds every upstream and listener, and opens the sockets. Clients can connect from here on;
    /// they are answered once [`run`](Self::run) is polled.
    ///
    /// # Errors
    /// If an address is taken or not of this machine, if Redis does not answer and that is to refuse
    /// everything, or if nothing is left to serve.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(config: &Config) -> Result<Self, ServerError> {
        Self::bind_with(config, &KeptLimits::default())
    }

    /// [`bind`](Self::bind), with the limits of running servers that did not change.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind_with(config: &Config, limits: &KeptLimits) -> Result<Self, ServerError> {
        config.unsupported().iter().for_each(warn);
        let (upstreams, tasks) = upstreams(config)?;
        let workers = config.worker_count();
        let open = config.listeners.iter().filter_map(|(name, listener)| {
            let http = supported(listener)?;
            Some(open(name, listener, http, workers, &upstreams, limits))
        });
        let listeners: Vec<_> = open.collect::<Result<_, _>>()?;
        if listeners.is_empty() {
            return Err(ServerError::nothing_to_serve());
        }
        let backends = upstreams.iter().map(|(name, built)| (name.clone(), built.backends.clone())).collect();
        Ok(Self { listeners, backends, tasks, drain: config.shutdown.drain.unwrap_or(DRAIN) })
    }

    /// The name of each listener and the address it is reached at, in order of names; where the
    /// configuration says port 0, with the port that the system chose.
    pub fn addresses(&self) -> Vec<(&str, SocketAddr)> {
        let mut addresses = Vec::new();
        for open in &self.listeners {
            let local = open.sockets.iter().filter_map(|it| it.local_addr().ok());
            addresses.extend(local.map(|address| (&*open.name, address)));
        }
        addresses.dedup();
        addresses
    }

    /// The backends of each upstream, in order of names: to look at their health, to drain them, to change
    /// them while the server runs.
    pub fn backends(&self) -> &[(String, BackendSet)] {
        &self.backends
    }

    /// Serves until `shutdown` is ready, and then until what runs has finished, for at most
    /// `shutdown.drain`.
    ///
    /// # Cancel safety
    /// Dropping the future closes the sockets at once; open connections go on until they end, or
    /// the runtime does.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (running, _) = watch::channel(());
        // Health checks and the like end with the server, not before: what drains is retried too.
        let mut beside = JoinSet::new();
        self.tasks.into_iter().for_each(|task| drop(beside.spawn(task)));
        let mut loops = JoinSet::new();
        for Open { proxy, sockets, .. } in self.listeners {
            for socket in sockets {
                let mut stopped = running.subscribe();
                let stop = async move { while stopped.changed().await.is_ok() {} };
                let serving = serve(socket, proxy.clone()).with_graceful_shutdown(stop);
                loops.spawn(serving.drain_timeout(self.drain).into_future());
            }
        }
        shutdown.await;
        drop(running);
        while loops.join_next().await.is_some() {}
    }
}

impl Config {
    /// How many threads serve: `workers`, or else as many as the machine has cores.
    pub fn worker_count(&self) -> usize {
        let cores = || available_parallelism().map_or(1, NonZero::get);
        self.workers.unwrap_or_else(cores)
    }
}

/// What the listener serves, if this build can.
fn supported(listener: &Listener) -> Option<&Http> {
    match &listener.kind {
        ListenerKind::Http(http) if listener.tls.is_none() && listener.proxy_protocol.is_none() => Some(http),
        _ => None,
    }
}

fn open(
    name: &str,
    listener: &Listener,
    http: &Http,
    workers: usize,
    upstreams: &Upstreams,
    limits: &KeptLimits,
) -> Result<Open, ServerError> {
    let listeners = Path::Key(&Path::Root, "listeners");
    let path = Path::Key(&listeners, name);
    Ok(Open {
        name: name.into(),
        proxy: http::proxy(&Path::Key(&path, "http"), http, upstreams, limits)?,
        sockets: bind::sockets(&path, name, listener, workers)?,
    })
}

fn warn(part: &Unsupported) {
    let (path, position) = (part.path(), part.position());
    let instead = match path {
        _ if path.starts_with("listeners") && !path.contains(".http.") => "the listener is skipped",
        _ if path.contains(".health_check.") => "backends are not checked",
        _ if path.contains(".discovery.") => "only the backends that are written down are used",
        _ => "skipped",
    };
    tracing::warn!(%position, "{part}; {instead}");
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses()).field("drain", &self.drain).finish()
    }
}
