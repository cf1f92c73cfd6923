//! Listeners as they run, and how each goes over into the next configuration.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::tls::ServerTls;
use proxy_core::{
    LiveProxy, LiveTcpProxy, LiveUdpProxy, Proxy, Serve, TcpListener, TcpProxy, UdpListener, UdpProxy, serve,
    serve_tcp, serve_udp,
};
use proxy_forward::{PasswordFile, SocksListener};
use tokio::sync::watch;

use super::sockets::{Loops, Socket, Sockets};
use super::tls::{self, PlannedTls, Secured};
use super::{Parts, ServerError, forward, http, tcp, udp};
use crate::path::Path;
use crate::{Config, Listener, ListenerKind};

/// The listeners that run, by name.
pub(super) type Listeners = BTreeMap<String, Running>;

/// A listener that runs. A clone shares its sockets and what stands behind them.
#[derive(Clone)]
pub(super) struct Running {
    live: Live,
    tls: Option<Secured>,
    open: Vec<Arc<Open>>,
}

/// What stands behind a listener's connections, and can be replaced while they run. Another kind of
/// listener is a variant here and in [`Service`].
#[derive(Clone)]
enum Live {
    Http(LiveProxy),
    Tcp(LiveTcpProxy),
    Udp(LiveUdpProxy),
    /// What is asked of clients before they get to the proxy cannot be replaced in a loop that runs.
    Socks(LiveProxy, Greeting),
}

/// How a listener of SOCKS meets its clients.
#[derive(Clone)]
struct Greeting {
    users: Option<PasswordFile>,
    also_http: bool,
}

/// What a listener is to have behind it: built, not yet served.
enum Service {
    Http(Proxy),
    Tcp(TcpProxy),
    Udp(UdpProxy),
    Socks(Proxy, Greeting),
}

/// A socket with its accept loops. Dropping it stops them: what runs then has the time of the drain.
struct Open {
    socket: Arc<Socket>,
    _serving: watch::Sender<()>,
}

/// What every accept loop of a server needs.
#[derive(Clone)]
pub(super) struct Stage {
    /// How long connections may take to end, by the time they are told to.
    pub(super) drain: watch::Receiver<Duration>,
    /// Held as long as the loop or one of its connections runs.
    pub(super) loops: watch::Receiver<()>,
}

/// A listener of the next configuration: everything that can fail has been done.
pub(super) struct Planned {
    /// The one of this name, where it goes on.
    before: Option<Running>,
    /// What is new behind it; `None` if nothing is.
    service: Option<Service>,
    tls: Option<PlannedTls>,
    sockets: Vec<Looped>,
}

/// A socket, and the handles of the accept loops that it still needs.
type Looped = (Arc<Socket>, Option<Loops>);

impl Running {
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.open.iter().map(|open| open.socket.local())
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = Arc<Socket>> {
        self.open.iter().map(|open| Arc::clone(&open.socket))
    }

    /// The one with this socket.
    fn open(&self, socket: &Arc<Socket>) -> Option<Arc<Open>> {
        self.open.iter().find(|open| Arc::ptr_eq(&open.socket, socket)).cloned()
    }
}

/// Plans all listeners, over those that run.
pub(super) fn plan(
    config: &Config,
    parts: &Parts<'_>,
    before: Option<&Config>,
    running: &Listeners,
    inherited: &[Arc<Socket>],
) -> Result<BTreeMap<String, Planned>, ServerError> {
    let path = Path::Key(&Path::Root, "listeners");
    let mut sockets = Sockets::new(running.values().flat_map(Running::sockets).chain(inherited.iter().cloned()));
    let mut planned = BTreeMap::new();
    let mut taken = Vec::new();
    for (name, listener) in &config.listeners {
        taken.push((name, listener, sockets.take(&Path::Key(&path, name), name, listener, config)?));
    }
    // A forward proxy must not reach the server that it is part of.
    let own = addresses(taken.iter().flat_map(|(.., sockets)| sockets).map(|socket| socket.local()));
    let moved = own != addresses(running.values().flat_map(Running::addresses));
    let same_fields = before.is_some_and(|before| tls::forwards_certificates(before) == parts.forwards_certificates);
    for (name, listener, taken) in taken {
        let path = Path::Key(&path, name);
        let before = before.and_then(|config| config.listeners.get(name));
        let is_alike = same_fields && before.is_some_and(|before| serves_alike(before, listener));
        let is_kept = is_alike && !parts.renews(&listener.kind) && !(moved && listener.kind.goes_anywhere());
        let service = match is_kept {
            true => None,
            false => Some(service(&path, name, listener, parts, &own)?),
        };
        let goes_on = |running: &&Running| {
            // Whether it speaks TLS cannot be changed in a loop that runs.
            running.tls.is_some() == listener.tls.is_some() && service.iter().all(|new| running.live.takes(new))
        };
        let before = running.get(name).filter(goes_on).cloned();
        let tls_before = before.as_ref().and_then(|before| before.tls.as_ref());
        let tls =
            listener.tls.as_ref().map(|config| PlannedTls::load(&path, listener, config, tls_before)).transpose()?;
        let sockets = with_loops(&path, name, taken, before.as_ref())?;
        planned.insert(name.clone(), Planned { before, service, tls, sockets });
    }
    match planned.is_empty() {
        true => Err(ServerError::nothing_to_serve()),
        false => Ok(planned),
    }
}

/// Whether what stands behind two listeners is the same: all but their sockets.
fn serves_alike(one: &Listener, other: &Listener) -> bool {
    let but_for_sockets = |listener: &Listener| {
        let Listener { listen: _, reuse_port: _, tls, proxy_protocol, allow, deny, kind } = listener.clone();
        (tls, proxy_protocol, allow, deny, kind)
    };
    but_for_sockets(one) == but_for_sockets(other)
}

/// What is to stand behind a listener.
fn service(
    path: &Path<'_>,
    name: &str,
    listener: &Listener,
    parts: &Parts<'_>,
    own: &[SocketAddr],
) -> Result<Service, ServerError> {
    match &listener.kind {
        ListenerKind::Http(config) => http::proxy(path, name, listener, config, parts).map(Service::Http),
        ListenerKind::Tcp(config) => tcp::proxy(path, name, listener, config, parts).map(Service::Tcp),
        ListenerKind::Forward(config) => {
            Ok(Service::Http(forward::proxy(path, name, listener, config, parts, own)?.proxy))
        }
        ListenerKind::Socks(config) => {
            let built = forward::proxy(path, name, listener, &config.forward, parts, own)?;
            let greeting = Greeting { users: built.users, also_http: config.also_http.unwrap_or(false) };
            Ok(Service::Socks(built.proxy, greeting))
        }
        ListenerKind::Udp(config) => udp::proxy(path, name, listener, config, parts).map(Service::Udp),
    }
}

/// Each once, in an order of their own.
fn addresses(all: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<_> = all.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// None where the listener has them already.
fn with_loops(
    path: &Path<'_>,
    name: &str,
    sockets: Vec<Arc<Socket>>,
    before: Option<&Running>,
) -> Result<Vec<Looped>, ServerError> {
    let looped = sockets.into_iter().map(|socket| {
        let is_served = before.is_some_and(|before| before.open(&socket).is_some());
        let handles = if is_served { Ok(None) } else { socket.handles(name).map(Some) };
        let at = |error| ServerError::cannot_listen(Path::Key(path, "listen").to_string(), socket.local(), error);
        Ok((Arc::clone(&socket), handles.map_err(at)?))
    });
    looped.collect()
}

impl Planned {
    /// Puts it into force. Sockets that it leaves are closed when the one before it is dropped.
    pub(super) fn start(self, stage: &Stage) -> Running {
        let Planned { before, service, tls, sockets } = self;
        let live = match (before.as_ref(), service) {
            (Some(before), Some(service)) => before.live.replace(service),
            (Some(before), None) => before.live.clone(),
            (None, Some(service)) => service.into_live(),
            (None, None) => unreachable!("a listener that did not run before is new"),
        };
        let tls = tls.map(|tls| tls.start(before.as_ref().and_then(|before| before.tls.as_ref())));
        let open = sockets.into_iter().map(|(socket, loops)| {
            let served = before.as_ref().and_then(|before| before.open(&socket));
            served.unwrap_or_else(|| live.open(socket, loops, tls.as_ref(), stage))
        });
        let open = open.collect();
        Running { live, tls, open }
    }
}

impl Live {
    /// Whether it can be replaced by this; otherwise its sockets go over to another.
    fn takes(&self, service: &Service) -> bool {
        matches!(
            (self, service),
            (Live::Http(_), Service::Http(_)) | (Live::Tcp(_), Service::Tcp(_)) | (Live::Udp(_), Service::Udp(_))
        )
    }

    fn replace(&self, service: Service) -> Live {
        match (self, service) {
            (Live::Http(live), Service::Http(proxy)) => {
                drop(live.replace(proxy));
                self.clone()
            }
            (Live::Tcp(live), Service::Tcp(proxy)) => {
                drop(live.replace(proxy));
                self.clone()
            }
            (Live::Udp(live), Service::Udp(proxy)) => {
                drop(live.replace(proxy));
                self.clone()
            }
            (_, service) => service.into_live(),
        }
    }

    fn open(&self, socket: Arc<Socket>, loops: Option<Loops>, tls: Option<&Secured>, stage: &Stage) -> Arc<Open> {
        let (serving, _) = watch::channel(());
        let spawn = |server: Server| stage.spawn(server, serving.subscribe());
        match (self, loops) {
            (Live::Udp(live), Some(Loops::Datagram(sockets))) => {
                sockets.into_iter().for_each(|it| spawn(Server::Datagrams(it, live.clone())));
            }
            (live, Some(Loops::Stream(sockets))) => {
                let tls = tls.map(Secured::server);
                sockets.into_iter().for_each(|it| spawn(Server::Streams(it, live.clone(), tls.cloned())));
            }
            (_, None) => {}
            (_, Some(Loops::Datagram(_))) => unreachable!("sockets are of their listener's kind"),
        }
        Arc::new(Open { socket, _serving: serving })
    }
}

/// A loop to be run.
enum Server {
    Streams(TcpListener, Live, Option<ServerTls>),
    Datagrams(UdpListener, LiveUdpProxy),
}

impl Stage {
    /// Starts a loop that ends after `serving` has.
    fn spawn(&self, server: Server, mut serving: watch::Receiver<()>) {
        let Stage { drain, loops } = self.clone();
        let stopped = async move { while serving.changed().await.is_ok() {} };
        // The time that is in force by then.
        let deadline = async move {
            let time = *drain.borrow();
            tokio::time::sleep(time).await;
        };
        let serving = server.serving(stopped, deadline);
        tokio::spawn(async move {
            serving.await;
            drop(loops);
        });
    }
}

impl Server {
    fn serving(
        self,
        stopped: impl Future<Output = ()> + Send + 'static,
        deadline: impl Future<Output = ()> + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self {
            Server::Datagrams(socket, live) => stopping(serve_udp(socket, live), stopped, deadline).into_future(),
            Server::Streams(socket, Live::Http(live), tls) => {
                stopping(secured(serve(socket, live), tls), stopped, deadline).into_future()
            }
            Server::Streams(socket, Live::Tcp(live), tls) => {
                stopping(secured(serve_tcp(socket, live), tls), stopped, deadline).into_future()
            }
            // Its greeting is in plain text; the schema refuses `tls` beside it.
            Server::Streams(socket, Live::Socks(live, greeting), _) => {
                stopping(serve(greeting.listener(socket), live), stopped, deadline).into_future()
            }
            Server::Streams(_, Live::Udp(_), _) => unreachable!("sockets are of their listener's kind"),
        }
    }
}

impl Greeting {
    fn listener(&self, socket: TcpListener) -> SocksListener<TcpListener> {
        let listener = SocksListener::new(socket);
        let listener = if self.also_http { listener.also_http() } else { listener };
        match &self.users {
            Some(users) => listener.credentials(Arc::new(users.clone())),
            None => listener,
        }
    }
}

impl Service {
    fn into_live(self) -> Live {
        match self {
            Service::Http(proxy) => Live::Http(LiveProxy::new(proxy)),
            Service::Tcp(proxy) => Live::Tcp(LiveTcpProxy::new(proxy)),
            Service::Udp(proxy) => Live::Udp(LiveUdpProxy::new(proxy)),
            Service::Socks(proxy, greeting) => Live::Socks(LiveProxy::new(proxy), greeting),
        }
    }
}

fn secured<L: proxy_core::Listener, P>(serve: Serve<L, P>, tls: Option<ServerTls>) -> Serve<L, P> {
    tls.into_iter().fold(serve, Serve::tls)
}

/// Ends when `stopped` is ready, and cuts off what is left at the `deadline` from then.
fn stopping<L, P>(
    serve: Serve<L, P>,
    stopped: impl Future<Output = ()> + Send + 'static,
    deadline: impl Future<Output = ()> + Send + 'static,
) -> Serve<L, P> {
    serve.with_graceful_shutdown(stopped).drain_until(deadline)
}
