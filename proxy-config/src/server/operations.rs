//! What operators look at: metrics, the access log and the administration interface.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use proxy_core::Observer;
use proxy_metrics::{
    AccessLog, Admin, AdminServer, Control, Logging, Metrics, Readiness, UpstreamMetrics, UsageMetrics,
};
use tokio::sync::watch;

use super::sockets::{Loops, Socket};
use super::{Diff, ServerError, access_log};
use crate::path::Path;
use crate::{Config, ListenerKind, Secret};

/// The label of requests that no route takes.
const NONE: &str = "none";

/// What lasts as long as the server: counts go on over reloads.
#[derive(Debug)]
pub(super) struct Desk {
    metrics: Metrics,
    admin: Admin,
}

/// What a configuration has of it. A clone shares it.
#[derive(Clone, Default)]
pub(super) struct Running {
    /// Only where somebody can ask for them is anything counted.
    metrics: Option<Metrics>,
    log: Option<AccessLog>,
    tcp: Option<Arc<Open<SocketAddr>>>,
    unix: Option<Arc<Open<PathBuf>>>,
}

/// A socket of the administration interface, served until the last handle is dropped.
struct Open<A> {
    /// As the configuration writes it.
    configured: A,
    /// Where it listens.
    local: Option<SocketAddr>,
    /// What a new process takes over.
    socket: Option<Arc<Socket>>,
    /// Knows its token.
    admin: Admin,
    _serving: watch::Sender<()>,
}

/// Who looks at what is built.
pub(super) struct Observation {
    metrics: Option<Metrics>,
    log: Option<AccessLog>,
    /// Others than those before.
    is_new: bool,
    /// Metrics where there were none, or none where there were.
    counts_anew: bool,
}

/// The next configuration's: everything that can fail has been done.
pub(super) struct Planned {
    pub(super) observation: Observation,
    token: Option<Secret>,
    tcp: Door<SocketAddr>,
    unix: Door<PathBuf>,
}

/// What becomes of a socket.
enum Door<A> {
    None,
    Kept(Arc<Open<A>>),
    New(A, Opened),
}

/// A socket that is not served yet.
struct Opened {
    socket: Option<Arc<Socket>>,
    admin: Admin,
    server: AdminServer,
}

impl Desk {
    pub(super) fn new() -> Self {
        let metrics = Metrics::new();
        let admin = Admin::new(metrics.clone());
        admin.set_readiness(Readiness::Starting);
        Desk { metrics, admin }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Lets the interface show and change what is logged.
    pub(super) fn set_logging(&self, logging: impl Logging) {
        self.admin.set_logging(logging);
    }

    pub(super) fn set_readiness(&self, readiness: Readiness) {
        self.admin.set_readiness(readiness);
    }

    /// Lets the interface show the configuration and ask for a reload.
    pub(super) fn set_control(&self, control: impl Control) {
        self.admin.set_control(control);
    }

    /// A configuration was put into force while running, or refused.
    pub(super) fn reloaded(&self, result: Result<&Diff, &impl fmt::Display>) {
        let changes = result.map(|diff| diff.iter().map(ToString::to_string).collect());
        self.admin.reloaded(changes.map_err(ToString::to_string));
    }

    /// Plans over what runs, with the sockets that are open already.
    pub(super) fn plan(
        &self,
        config: &Config,
        before: Option<(&Config, &Running)>,
        inherited: &[Arc<Socket>],
    ) -> Result<Planned, ServerError> {
        let none = Running::default();
        let running = before.map_or(&none, |(_, running)| running);
        let metrics = config.admin.as_ref().map(|_| self.metrics.clone());
        let counts_anew = metrics.is_some() != running.metrics.is_some();
        let same_log = before.is_some_and(|(old, _)| old.access_log == config.access_log);
        let log = match (same_log && !counts_anew, &config.access_log) {
            (true, _) => running.log.clone(),
            (false, Some(log)) => Some(access_log::open(log, metrics.as_ref())?),
            (false, None) => None,
        };
        let is_new = counts_anew || !same_log;
        let wanted = config.admin.as_ref();
        let token = wanted.and_then(|admin| admin.token.clone());
        let admin = || self.admin.with_token(token.as_ref().map(Secret::as_str));
        let tcp = door(running.tcp.as_ref(), wanted.and_then(|it| it.listen), |it| listen(admin(), *it, inherited))?;
        let unix = door(running.unix.as_ref(), wanted.and_then(|it| it.unix.clone()), |path| open(admin(), path))?;
        Ok(Planned { observation: Observation { metrics, log, is_new, counts_anew }, token, tcp, unix })
    }
}

/// The socket that is to be there: the one that runs, or one that `make` opens.
fn door<A: PartialEq>(
    running: Option<&Arc<Open<A>>>,
    wanted: Option<A>,
    make: impl FnOnce(&A) -> Result<Opened, ServerError>,
) -> Result<Door<A>, ServerError> {
    let Some(wanted) = wanted else { return Ok(Door::None) };
    if let Some(open) = running.filter(|open| open.configured == wanted) {
        return Ok(Door::Kept(Arc::clone(open)));
    }
    let opened = make(&wanted)?;
    Ok(Door::New(wanted, opened))
}

fn listen(admin: Admin, address: SocketAddr, inherited: &[Arc<Socket>]) -> Result<Opened, ServerError> {
    let path = || Path::Key(&Path::Key(&Path::Root, "admin"), "listen").to_string();
    let socket = Socket::of_admin(address, inherited);
    let socket = socket.map_err(|error| ServerError::cannot_listen(path(), address, error))?;
    let listener = socket.handles("admin").map(Loops::into_stream);
    let listener = listener.map_err(|error| ServerError::cannot_listen(path(), address, error))?;
    let server = listener.map(|listener| admin.serve(listener)).transpose();
    let server = server.map_err(|error| ServerError::cannot_build(path(), error))?;
    let server =
        server.ok_or_else(|| ServerError::cannot_listen(path(), address, io::ErrorKind::NotConnected.into()))?;
    Ok(Opened { socket: Some(socket), admin, server })
}

fn open(admin: Admin, path: &PathBuf) -> Result<Opened, ServerError> {
    let at = |error| ServerError::cannot_build(Path::Key(&Path::Key(&Path::Root, "admin"), "unix").to_string(), error);
    let server = admin.bind_unix(path).map_err(at)?;
    Ok(Opened { socket: None, admin, server })
}

impl Planned {
    /// Puts it into force.
    pub(super) fn start(self) -> Running {
        let token = self.token.as_ref().map(Secret::as_str);
        let Observation { metrics, log, .. } = self.observation;
        Running { metrics, log, tcp: self.tcp.start(token), unix: self.unix.start(token) }
    }
}

impl<A> Door<A> {
    fn start(self, token: Option<&str>) -> Option<Arc<Open<A>>> {
        match self {
            Door::None => None,
            Door::Kept(open) => {
                open.admin.set_token(token);
                Some(open)
            }
            Door::New(configured, Opened { socket, admin, server }) => {
                let (serving, mut stopped) = watch::channel(());
                let local = server.address();
                tokio::spawn(server.run(async move { while stopped.changed().await.is_ok() {} }));
                Some(Arc::new(Open { configured, local, socket, admin, _serving: serving }))
            }
        }
    }
}

impl Running {
    /// Where the interface listens.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|open| open.local)
    }

    /// The socket of that address.
    #[cfg(unix)]
    pub(super) fn socket(&self) -> Option<Arc<Socket>> {
        self.tcp.as_ref().and_then(|open| open.socket.clone())
    }

    /// Lets go of the interface's sockets.
    #[cfg(unix)]
    pub(super) fn leave(&mut self) {
        (self.tcp, self.unix) = (None, None);
    }

    pub(super) fn metrics(&self) -> Option<&Metrics> {
        self.metrics.as_ref()
    }

    pub(super) fn log(&self) -> Option<&AccessLog> {
        self.log.as_ref()
    }

    /// Lets go of the series of routes and upstreams that this configuration does not have.
    pub(super) fn forget_routes(&self, config: &Config) {
        let Some(metrics) = &self.metrics else { return };
        for (name, listener) in &config.listeners {
            let routes: Vec<_> = match &listener.kind {
                // As proxy-core names a route that has no name.
                ListenerKind::Http(http) => {
                    http.routes.iter().map(|route| route.target.upstreams().collect::<Vec<_>>().join("+")).collect()
                }
                ListenerKind::Tcp(_) | ListenerKind::Udp(_) => Vec::new(),
                // They have one upstream, which is not of the configuration.
                ListenerKind::Forward(_) | ListenerKind::Socks(_) => continue,
            };
            metrics.listener(name).retain(|route, upstream| {
                let is_known = |name: &str| routes.iter().any(|route| route == name);
                (route == NONE || is_known(route)) && (upstream == NONE || config.upstreams.contains_key(upstream))
            });
        }
    }
}

impl Observation {
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn counts_anew(&self) -> bool {
        self.counts_anew
    }

    pub(super) fn of_upstream(&self, name: &str) -> Option<UpstreamMetrics> {
        self.metrics.as_ref().map(|metrics| metrics.upstream(name))
    }

    pub(super) fn of_usage(&self, listener: &str, users: usize, hosts: usize) -> Option<UsageMetrics> {
        self.metrics.as_ref().map(|metrics| metrics.usage(listener, users, hosts))
    }

    /// Who looks at the proxy of a listener: one that is made anew has another.
    pub(super) fn of_listener(&self, name: &str) -> Option<Box<dyn Observer>> {
        let metrics = self.metrics.as_ref().map(|metrics| metrics.listener(name));
        match (metrics, self.log.clone()) {
            (Some(metrics), Some(log)) => Some(Box::new((metrics, log))),
            (Some(metrics), None) => Some(Box::new(metrics)),
            (None, Some(log)) => Some(Box::new(log)),
            (None, None) => None,
        }
    }
}
