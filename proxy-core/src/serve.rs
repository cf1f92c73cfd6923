//! Serving a listener, and stopping well.

use std::any::Any;
use std::collections::HashMap;
use std::future::{IntoFuture, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::context::Link;
use crate::guard::guarded;
use crate::proxy_protocol::ProxyProtocol;
use crate::{Admission, ErrorKind, Filter, Io, Listener, Peer, Proxy, TcpProxy};

mod service;

pub(crate) use service::Service;

/// Serves every connection of `listener` through `proxy`, in the caller's runtime, until it is told
/// to stop.
///
/// It is a future: await it, or spawn it. For one accept loop per worker, spawn one over each of
/// several listeners of [`bind_reuse_port`](crate::TcpListener::bind_reuse_port).
///
/// ```no_run
/// use proxy_core::{Proxy, TcpListener, serve};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
/// let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
/// serve(listener, Proxy::to("127.0.0.1:9000")?).with_graceful_shutdown(stop).await;
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// Dropping the future stops accepting; connections go on until they end, or the runtime does.
pub fn serve<L: Listener>(listener: L, proxy: Proxy) -> Serve<L> {
    Serve::new(listener, proxy)
}

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See [`serve`] and [`serve_tcp`](crate::serve_tcp).
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve<L, P = Proxy> {
    listener: L,
    proxy: P,
    signal: Option<Signal>,
    deadline: Duration,
}

impl<L, P> Serve<L, P> {
    pub(crate) fn new(listener: L, proxy: P) -> Self {
        Serve { listener, proxy, signal: None, deadline: Duration::from_secs(30) }
    }

    /// Stops when `signal` is ready: no more connections are accepted, idle ones are closed, those
    /// with a request finish it and say `Connection: close`. Raw connections go on.
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.signal = Some(Box::pin(signal));
        self
    }

    /// How long running requests and raw connections have after the signal, before they are cut off.
    /// Default 30 s.
    pub fn drain_timeout(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl<L: Listener> IntoFuture for Serve<L> {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Serve { listener, proxy, signal, deadline } = self;
        Box::pin(run(listener, proxy.0, signal, deadline))
    }
}

impl<L: Listener> IntoFuture for Serve<L, TcpProxy> {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Serve { listener, proxy, signal, deadline } = self;
        Box::pin(run(listener, proxy.0, signal, deadline))
    }
}

impl<L, P: std::fmt::Debug> std::fmt::Debug for Serve<L, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve").field("proxy", &self.proxy).field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

async fn run<L: Listener, S: Service>(mut listener: L, service: Arc<S>, signal: Option<Signal>, deadline: Duration) {
    let server = Arc::new(Server::new(service));
    let mut signal = signal.unwrap_or_else(|| Box::pin(std::future::pending()));
    loop {
        let accept = async {
            let place = server.place().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            biased;
            () = &mut signal => break,
            (place, (io, peer)) = accept => server.accepted(Box::new(io), peer, place),
        }
    }
    drop(listener);
    server.drain(deadline).await;
}

/// What the connections of one listener share.
struct Server<S> {
    service: Arc<S>,
    places: Arc<Semaphore>,
    clients: Arc<Clients>,
    drain: Arc<Drain>,
}

type Place = Option<OwnedSemaphorePermit>;

impl<S: Service> Server<S> {
    fn new(service: Arc<S>) -> Self {
        let (places, _) = service.max_connections();
        Server {
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            clients: Arc::default(),
            drain: Arc::default(),
            service,
        }
    }

    /// Waits while all the connections that may be open are.
    async fn place(&self) -> Place {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    fn accepted(self: &Arc<Self>, io: Box<dyn Io>, peer: Peer, place: Place) {
        let guard = ConnectionGuard::new(&self.drain);
        match self.service.proxy_protocol() {
            None => self.admit(io, peer, place, guard),
            Some(_) => drop(tokio::spawn(Arc::clone(self).introduce(io, peer, place, guard))),
        }
    }

    /// Reads the PROXY header, and admits the client it names.
    async fn introduce(self: Arc<Self>, io: Box<dyn Io>, peer: Peer, place: Place, guard: ConnectionGuard) {
        let Some(protocol) = self.service.proxy_protocol() else { return };
        let mut killed = pin!(Notice::new(Arc::clone(&self.drain)));
        let introduced = tokio::select! {
            () = &mut killed => return,
            introduced = ProxyProtocol::receive(protocol, io, &peer) => introduced,
        };
        match introduced {
            Ok((io, peer)) => self.admit(io, peer, place, guard),
            Err(kind) => self.turned_away(&peer, kind),
        }
    }

    fn turned_away(&self, peer: &Peer, kind: ErrorKind) {
        tracing::debug!(code = kind.code(), client = ?peer.address, error = kind.text(), "connection refused");
        if let Some(observer) = self.service.observer() {
            observer.on_connection_failed(peer, kind);
        }
    }

    fn admit(&self, io: Box<dyn Io>, peer: Peer, place: Place, guard: ConnectionGuard) {
        let (_, per_client) = self.service.max_connections();
        let Some(client) = self.clients.enter(&peer, per_client) else {
            tracing::debug!(client = ?peer.address, "connection refused: too many of one client");
            return;
        };
        let Some(held) = hold(self.service.filters(), &peer) else { return };
        let draining = Draining(Arc::clone(&self.drain));
        // Out of the task: what lies in it by value, an idle connection pays for.
        let link = Arc::clone(&self.service).link(io, peer);
        let kept = (place, client, held, guard);
        // In a box: a task moves its future half a dozen times from here to its end, and this one is large.
        tokio::spawn(Box::pin(async move {
            serve_connection::<S>(link, draining).await;
            drop(kept);
        }));
    }

    async fn drain(&self, deadline: Duration) {
        tracing::info!(connections = self.drain.open.load(Ordering::Relaxed), "draining");
        self.drain.set(&self.drain.draining);
        if tokio::time::timeout(deadline, self.drain.wait()).await.is_err() {
            tracing::warn!(
                connections = self.drain.open.load(Ordering::Relaxed),
                "drain deadline: closing what is left"
            );
            self.drain.set(&self.drain.killed);
            self.drain.wait().await;
        }
    }
}

/// Serves one connection until its end, or until the drain's deadline.
async fn serve_connection<S: Service>(link: Arc<Link>, draining: Draining) {
    let observer = link.observer();
    if let Some(observer) = observer {
        observer.on_connection_opened(&link.peer);
    }
    let drain = Arc::clone(&draining.0);
    let mut connection = pin!(S::serve(&link, draining));
    let mut notice = pin!(Notice::new(drain));
    let requests = poll_fn(|cx| match notice.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(0),
        Poll::Pending => connection.as_mut().poll(cx),
    })
    .await;
    if let Some(observer) = observer {
        observer.on_connection_closed(&link.peer, requests);
    }
}

/// Asks the filters about a connection. `None`: one of them refused it.
fn hold(filters: &[Arc<dyn Filter>], peer: &Peer) -> Option<Vec<Box<dyn Any + Send>>> {
    let mut held = Vec::new();
    for filter in filters {
        match guarded(|| Ok(filter.on_connection(peer))) {
            Ok(Admission::Admit) => {}
            Ok(Admission::Hold(guard)) => held.push(guard),
            Ok(Admission::Refuse) | Err(_) => {
                tracing::debug!(client = ?peer.address, "connection refused by a filter");
                return None;
            }
        }
    }
    Some(held)
}

/// The state of stopping.
#[derive(Debug, Default)]
struct Drain {
    draining: AtomicBool,
    killed: AtomicBool,
    /// Wakes every connection when one of the two is set.
    changed: Arc<Notify>,
    /// Counts the changes.
    epoch: AtomicUsize,
    open: AtomicUsize,
    /// The last connection has ended.
    empty: Notify,
}

impl Drain {
    fn set(&self, flag: &AtomicBool) {
        flag.store(true, Ordering::SeqCst);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Waits until no connection is open.
    async fn wait(&self) {
        loop {
            let empty = self.empty.notified();
            if self.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            empty.await;
        }
    }
}

/// A connection's view of it.
#[derive(Clone, Debug)]
pub(crate) struct Draining(Arc<Drain>);

impl Draining {
    /// Never draining.
    #[cfg(feature = "testing")]
    pub(crate) fn never() -> Self {
        Draining(Arc::default())
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }
}

struct ConnectionGuard(Arc<Drain>);

impl ConnectionGuard {
    fn new(drain: &Arc<Drain>) -> Self {
        drain.open.fetch_add(1, Ordering::SeqCst);
        ConnectionGuard(Arc::clone(drain))
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.empty.notify_waiters();
        }
    }
}

pin_project_lite::pin_project! {
    /// Has its task woken when the drain changes; ready when the connection must end. It registers
    /// once: a wake-up for another reason costs two atomic reads.
    struct Notice {
        drain: Arc<Drain>,
        #[pin]
        notified: OwnedNotified,
        registered: Option<(usize, Waker)>,
    }
}

impl Notice {
    fn new(drain: Arc<Drain>) -> Self {
        let notified = Arc::clone(&drain.changed).notified_owned();
        Notice { drain, notified, registered: None }
    }
}

impl Future for Notice {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            if this.drain.killed.load(Ordering::SeqCst) {
                return Poll::Ready(());
            }
            let epoch = this.drain.epoch.load(Ordering::SeqCst);
            let current = matches!(this.registered, Some((at, waker)) if *at == epoch && waker.will_wake(cx.waker()));
            if current {
                return Poll::Pending;
            }
            if this.notified.as_mut().poll(cx).is_ready() {
                this.notified.set(Arc::clone(&this.drain.changed).notified_owned());
                continue;
            }
            *this.registered = Some((epoch, cx.waker().clone()));
        }
    }
}

/// Open connections by client address, where that is limited.
#[derive(Debug, Default)]
struct Clients(Mutex<HashMap<IpAddr, usize>>);

/// A connection counted for its client.
struct ClientGuard(Option<(Arc<Clients>, IpAddr)>);

impl Clients {
    /// Counts a connection; `None` where the client has as many as it may.
    fn enter(self: &Arc<Self>, peer: &Peer, limit: Option<usize>) -> Option<ClientGuard> {
        let (Some(limit), Some(address)) = (limit, peer.address) else { return Some(ClientGuard(None)) };
        let address = address.ip().to_canonical();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(ClientGuard(Some((Arc::clone(self), address))))
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        let Some((clients, address)) = self.0.take() else { return };
        let mut counts = clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}
