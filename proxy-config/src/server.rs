//! From a configuration to a running server.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use proxy_core::BackendSet;
use proxy_metrics::{Logging, Metrics, Readiness};
use tokio::sync::watch;

use crate::Config;
#[cfg(unix)]
use crate::Inherited;
use crate::unsupported::Unsupported;

mod access_log;
mod admission;
mod control;
mod diff;
mod eligibility;
mod error;
mod files;
mod filter;
mod forward;
mod health;
mod http;
mod kept_limits;
mod limit;
mod listeners;
mod operations;
mod parts;
mod reload_error;
mod route;
mod selector;
mod sockets;
mod srv;
mod sticky;
mod tcp;
mod tls;
mod udp;
mod upstream;

pub use diff::{Change, ChangeKind, Diff};
pub use error::ServerError;
pub use reload_error::ReloadError;
pub(crate) use sockets::Socket;

use kept_limits::KeptLimits;
use listeners::{Listeners, Stage};
use operations::Desk;
use parts::Parts;
use upstream::Upstreams;

/// How long what is left of the access log may take to be written when all requests have ended.
const FLUSH: Duration = Duration::from_secs(1);

/// What `shutdown.drain` is when absent.
const DRAIN: Duration = Duration::from_secs(30);

/// A running server: what a [`Config`] describes, and how it goes over into another.
///
/// It serves in the runtime that it was started in. Listeners share upstreams by name: one pool, one set of
/// backends, one turn of the selector each. What this build cannot do ([`Config::unsupported`]) is logged as
/// a warning and left out: a listener that needs it is not opened, a filter is skipped.
///
/// ```no_run
/// use proxy_config::{Config, Server};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::start(&Config::load("lb.json")?)?;
/// for (listener, address) in server.addresses() {
///     println!("{listener} listens on {address}");
/// }
/// let changes = server.reload(Config::load("lb.json")?).await?;
/// println!("{changes}");
/// let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
/// server.run(stop).await;
/// # Ok(())
/// # }
/// ```
///
/// Dropping it stops it as [`drain`](Self::drain) does, without waiting.
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` once it stops.
    running: Mutex<Option<Running>>,
    limits: KeptLimits,
    desk: Desk,
    drain: watch::Sender<Duration>,
    /// Every accept loop has a receiver: none is left when all of them have ended.
    loops: watch::Sender<()>,
    /// Held during a reload: the next one begins where it ended.
    reloading: tokio::sync::Mutex<()>,
}

/// What runs. A clone shares it: a reload makes another, of which most is the same.
#[derive(Clone)]
struct Running {
    config: Arc<Config>,
    operations: operations::Running,
    listeners: Listeners,
    upstreams: Upstreams,
}

impl Server {
    /// Builds every upstream and listener, opens the sockets, and serves.
    ///
    /// # Errors
    /// If an address is taken or not of this machine, if Redis does not answer and that is to refuse
    /// everything, or if nothing is left to serve.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: &Config) -> Result<Self, ServerError> {
        Server::start_over(config, &[])
    }

    /// [Starts](Self::start) with sockets that are open already, where the configuration has their addresses.
    ///
    /// # Errors
    /// As for [`start`](Self::start), and if an open socket shares its port otherwise than the configuration says.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[cfg(unix)]
    pub fn start_with(config: &Config, inherited: &Inherited) -> Result<Self, ServerError> {
        Server::start_over(config, inherited.sockets())
    }

    fn start_over(config: &Config, sockets: &[Arc<Socket>]) -> Result<Self, ServerError> {
        let desk = Desk::new();
        let shared = Arc::new(Shared {
            running: Mutex::new(None),
            limits: KeptLimits::new(desk.metrics().clone()),
            desk,
            drain: watch::Sender::new(DRAIN),
            loops: watch::Sender::new(()),
            reloading: tokio::sync::Mutex::default(),
        });
        let running = shared.renewed(config.clone(), None, sockets)?;
        *shared.running() = Some(running);
        shared.desk.set_control(control::ServerControl::new(&shared));
        shared.desk.set_readiness(Readiness::Ready);
        Ok(Server { shared })
    }

    /// Goes over to another configuration, and says what it changed.
    ///
    /// Everything is built before anything is changed: where it fails, all is as it was. Requests that run end
    /// under the old configuration, the next ones are served under the new one, also those of connections that
    /// are open. What did not change goes on:
    ///
    /// - a listener keeps its sockets; an address that another listener has now goes over to it, open;
    /// - an upstream of which only backends changed is the same; one with other settings takes over its backends,
    ///   with their health and what they have to do, and its connections if the settings of the pool are the same;
    /// - files of TLS are loaded anew, changed or not; open connections stay, and sessions can be resumed;
    /// - limits keep what they have counted, if they stand at the same place, or have the same name there, with
    ///   the same settings;
    /// - metrics go on counting, and the access log and the socket of the administration interface stay open.
    ///
    /// What is no longer there takes nothing new, and has `shutdown.drain` to end what it has.
    ///
    /// It builds on a thread for blocking work, so that no request waits for it.
    ///
    /// # Errors
    /// As for [`start`](Self::start); if `workers` or another key is changed that is fixed at the start; or if the
    /// server is stopping.
    ///
    /// # Cancel safety
    /// A reload that has begun is finished.
    pub async fn reload(&self, config: Config) -> Result<Diff, ServerError> {
        self.shared.go_over(config).await
    }

    /// [Goes over](Self::reload) to what this file says, which is read on a thread for blocking work.
    ///
    /// # Errors
    /// If it is not a valid configuration, or [`reload`](Self::reload) fails. All is as it was.
    ///
    /// # Cancel safety
    /// As for [`reload`](Self::reload).
    pub async fn reload_file(&self, path: impl Into<PathBuf>) -> Result<Diff, ReloadError> {
        self.shared.go_over_to_file(path.into()).await
    }

    /// Serves until `shutdown` is ready, and then [withdraws](Self::withdraw) and [drains](Self::drain).
    ///
    /// # Cancel safety
    /// Dropping the future drops the server.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.withdraw().await;
        self.drain().await;
    }

    /// Is no longer ready, and serves on for `shutdown.delay`: balancers before this server have that long to see it.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait.
    pub async fn withdraw(&self) {
        self.shared.desk.set_readiness(Readiness::Draining);
        let delay = self.config().and_then(|config| config.shutdown.delay).unwrap_or_default();
        tokio::time::sleep(delay).await;
    }

    /// Stops: takes no more connections, closes those that are idle, and gives the others `shutdown.drain` to end
    /// their requests.
    ///
    /// # Cancel safety
    /// It goes on without being waited for, and may be waited for again.
    pub async fn drain(&self) {
        // Health checks and the like end with the last connection, not before: what drains is retried too.
        // So does the administration interface, which says that it drains.
        self.shared.desk.set_readiness(Readiness::Draining);
        let stopping = self.shared.running().take();
        let beside = stopping.map(|running| (running.upstreams, running.operations));
        self.shared.loops.closed().await;
        if let Some(log) = beside.as_ref().and_then(|(_, operations)| operations.log()).cloned() {
            let flushed = tokio::task::spawn_blocking(move || log.flush(FLUSH)).await;
            if !matches!(flushed, Ok(true)) {
                tracing::warn!("the end of the access log is not written");
            }
        }
        drop(beside);
    }

    /// The name of each listener and the address it is reached at, in order of names; where the
    /// configuration says port 0, with the port that the system chose. Empty once it stops.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let running = self.shared.running();
        let listeners = running.iter().flat_map(|running| &running.listeners);
        let addresses = listeners.flat_map(|(name, it)| it.addresses().map(|address| (name.clone(), address)));
        addresses.collect()
    }

    /// The sockets that it listens on.
    #[cfg(unix)]
    pub(crate) fn sockets(&self) -> Vec<Arc<Socket>> {
        let running = self.shared.running();
        let of_listeners =
            |running: &Running| running.listeners.values().flat_map(listeners::Running::sockets).collect::<Vec<_>>();
        running.iter().flat_map(|it| of_listeners(it).into_iter().chain(it.operations.socket())).collect()
    }

    /// Another process serves the administration interface from now on: this one does not answer in its place.
    #[cfg(unix)]
    pub(crate) fn leave_admin(&self) {
        if let Some(running) = self.shared.running().as_mut() {
            running.operations.leave();
        }
    }

    /// The backends of each upstream, in order of names: to look at their health, to drain them, to change
    /// them while the server runs. Empty once it stops.
    pub fn backends(&self) -> Vec<(String, BackendSet)> {
        let running = self.shared.running();
        let upstreams = running.iter().flat_map(|running| &running.upstreams);
        upstreams.map(|(name, upstream)| (name.clone(), upstream.backends().clone())).collect()
    }

    /// Where the administration interface listens, with the port that the system chose where it was to; `None`
    /// where it has no address, and once the server stops.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.shared.running().as_ref().and_then(|running| running.operations.address())
    }

    /// What is counted; `None` without the key `admin`, and once the server stops.
    pub fn metrics(&self) -> Option<Metrics> {
        self.shared.running().as_ref().and_then(|running| running.operations.metrics().cloned())
    }

    /// Lets the administration interface show and change what the program logs, which is the program's own: its
    /// subscriber.
    pub fn set_logging(&self, logging: impl Logging) {
        self.shared.desk.set_logging(logging);
    }

    /// Opens the file of the access log anew, for those who have moved it away: on SIGUSR1.
    pub fn reopen_logs(&self) {
        if let Some(log) = self.shared.running().as_ref().and_then(|running| running.operations.log()) {
            log.reopen();
        }
    }

    /// The configuration in force; `None` once it stops.
    pub fn config(&self) -> Option<Arc<Config>> {
        self.shared.running().as_ref().map(|running| Arc::clone(&running.config))
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn go_over(self: &Arc<Self>, config: Config) -> Result<Diff, ServerError> {
        let _alone = self.reloading.lock().await;
        let shared = Arc::clone(self);
        let reloaded = tokio::task::spawn_blocking(move || shared.reload(config)).await;
        let reloaded = reloaded.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
        self.desk.reloaded(reloaded.as_ref());
        reloaded
    }

    async fn go_over_to_file(self: &Arc<Self>, path: PathBuf) -> Result<Diff, ReloadError> {
        let registry = self.running().as_ref().map(|it| it.config.registry().clone()).unwrap_or_default();
        let loaded = tokio::task::spawn_blocking(move || registry.load(path)).await;
        let config = loaded.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
        match config {
            Ok(config) => self.go_over(config).await.map_err(ReloadError::Server),
            Err(errors) => {
                self.desk.reloaded(Err(&errors));
                Err(ReloadError::Config(errors))
            }
        }
    }

    fn reload(&self, config: Config) -> Result<Diff, ServerError> {
        let before = self.running().clone().ok_or_else(ServerError::stopping)?;
        if config.workers != before.config.workers {
            return Err(ServerError::start_only("workers".to_owned()));
        }
        let diff = Diff::between(&before.config, &config);
        let next = self.renewed(config, Some(&before), &[])?;
        let mut running = self.running();
        // Whoever stopped it meanwhile has the last word: what is new is dropped again.
        let Some(current) = running.as_mut() else { return Err(ServerError::stopping()) };
        *current = next;
        drop(running);
        diff.log();
        Ok(diff)
    }

    /// Builds what a configuration needs beside what runs already, and then puts it into force.
    fn renewed(
        &self,
        config: Config,
        before: Option<&Running>,
        inherited: &[Arc<Socket>],
    ) -> Result<Running, ServerError> {
        config.unsupported().iter().for_each(warn);
        let (listeners, upstreams) = (Listeners::default(), Upstreams::default());
        let (listeners, upstreams) = before.map_or((&listeners, &upstreams), |it| (&it.listeners, &it.upstreams));
        let operations = self.desk.plan(&config, before.map(|it| (&*it.config, &it.operations)), inherited)?;
        let before = before.map(|it| &*it.config);
        let observation = &operations.observation;
        let upstreams = upstream::plan(&config, before, upstreams, observation)?;
        let forwards_certificates = tls::forwards_certificates(&config);
        let parts = Parts {
            registry: config.registry(),
            limits: &self.limits,
            observation,
            upstreams: &upstreams,
            forwards_certificates,
        };
        let listeners = listeners::plan(&config, &parts, before, listeners, inherited)?;
        // Nothing fails from here on.
        self.drain.send_replace(config.shutdown.drain.unwrap_or(DRAIN));
        let stage = Stage { drain: self.drain.subscribe(), loops: self.loops.subscribe() };
        let upstreams = upstreams.into_iter().map(|(name, planned)| (name, planned.start())).collect();
        let listeners = listeners.into_iter().map(|(name, planned)| (name, planned.start(&stage))).collect();
        let operations = operations.start();
        operations.forget_routes(&config);
        Ok(Running { config: Arc::new(config), operations, listeners, upstreams })
    }
}

impl Config {
    /// Looks at the files that it names for TLS, which a server would load: all that is wrong with certificates,
    /// keys, authorities and revocation lists. Nothing is opened to be served.
    pub fn check_files(&self) -> Vec<ServerError> {
        tls::check(self)
    }

    /// How many threads serve: `workers`, or else as many as the machine has cores.
    pub fn worker_count(&self) -> usize {
        let cores = || available_parallelism().map_or(1, NonZero::get);
        self.workers.unwrap_or_else(cores)
    }
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
        f.debug_struct("Server").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}
