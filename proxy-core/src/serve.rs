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

use crate::clock::Instant;
use crate::context::Link;
use crate::guard::guarded;
use crate::live::{self, Live};
use crate::proxy::Shared;
use crate::{
    Admission, ErrorKind, Filter, Io, Listener, LiveProxy, LiveTcpProxy, Observer, Peer, ServerHandshake, span,
};

mod service;

pub(crate) use service::Service;

/// Serves every connection of `listener` through `proxy`, in the caller's runtime, until it is told
/// to stop. The proxy is a [`Proxy`](crate::Proxy), or a [`LiveProxy`] that is replaced while it serves.
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
pub fn serve<L: Listener>(listener: L, proxy: impl Into<LiveProxy>) -> Serve<L> {
    Serve::new(listener, proxy.into())
}

pub(crate) type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See [`serve`], [`serve_tcp`](crate::serve_tcp) and [`serve_udp`](crate::serve_udp).
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve<L, P = LiveProxy> {
    pub(crate) listener: L,
    pub(crate) proxy: P,
    tls: Option<Arc<dyn ServerHandshake>>,
    pub(crate) signal: Option<Signal>,
    pub(crate) deadline: Deadline,
}

/// When running requests have had their time.
pub(crate) enum Deadline {
    After(Duration),
    When(Signal),
}

impl<L, P> Serve<L, P> {
    pub(crate) fn new(listener: L, proxy: P) -> Self {
        Serve { listener, proxy, tls: None, signal: None, deadline: Deadline::After(Duration::from_secs(30)) }
    }

    /// Stops when `signal` is ready: what waits to be accepted is, and no more; connections with a request finish
    /// it and say `Connection: close`; idle ones are closed, those that idle for less than a second when it is one. Raw
    /// connections and sessions of UDP go on.
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.signal = Some(Box::pin(signal));
        self
    }

    /// How long running requests and raw connections have after the signal, before they are cut off. Default 30 s.
    pub fn drain_timeout(mut self, deadline: Duration) -> Self {
        self.deadline = Deadline::After(deadline);
        self
    }

    /// Closes what is left when `deadline` is ready, which is first polled after the signal: for a time
    /// that is not known beforehand.
    pub fn drain_until(mut self, deadline: impl Future<Output = ()> + Send + 'static) -> Self {
        self.deadline = Deadline::When(Box::pin(deadline));
        self
    }
}

impl<L: Listener, P> Serve<L, P> {
    /// Speaks TLS with the clients. Default: plain.
    pub fn tls(mut self, handshake: impl ServerHandshake) -> Self {
        self.tls = Some(Arc::new(handshake));
        self
    }
}

impl<L: Listener> IntoFuture for Serve<L> {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Serve { listener, proxy, tls, signal, deadline } = self;
        Box::pin(run(listener, Server::new(proxy.0, tls), signal, deadline))
    }
}

impl<L: Listener> IntoFuture for Serve<L, LiveTcpProxy> {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Serve { listener, proxy, tls, signal, deadline } = self;
        Box::pin(run(listener, Server::new(proxy.0, tls), signal, deadline))
    }
}

impl<L, P: std::fmt::Debug> std::fmt::Debug for Serve<L, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

async fn run<L: Listener, S: Service>(
    mut listener: L,
    server: Arc<Server<S>>,
    signal: Option<Signal>,
    deadline: Deadline,
) {
    let mut signal = signal.unwrap_or_else(|| Box::pin(std::future::pending()));
    loop {
        let accept = async {
            server.place().await;
            listener.accept().await
        };
        tokio::select! {
            biased;
            () = &mut signal => break,
            (io, peer) = accept => server.accepted(Box::new(io), peer),
        }
    }
    for _ in 0..QUEUED {
        match queued(&mut listener).await {
            Some((io, peer)) if server.has_place() => server.accepted(Box::new(io), peer),
            _ => break,
        }
    }
    drop(listener);
    server.drain(deadline).await;
}

/// Clients that are taken from the kernel's queue after the signal, at most: as many as fit into it.
const QUEUED: usize = 4096;

/// A client that is connected already as far as it knows: the kernel would reset it when the socket closes.
async fn queued<L: Listener>(listener: &mut L) -> Option<(L::Io, Peer)> {
    let mut accept = pin!(listener.accept());
    let mut look = async || poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx))).await;
    if let Poll::Ready(accepted) = look().await {
        return Some(accepted);
    }
    // The reactor may have news.
    tokio::task::yield_now().await;
    match look().await {
        Poll::Ready(accepted) => Some(accepted),
        Poll::Pending => None,
    }
}

/// What the connections of one listener share.
struct Server<S> {
    clients: Arc<Clients>,
    drain: Arc<Drain<S>>,
    tls: Option<Arc<dyn ServerHandshake>>,
}

impl<S: Service> Server<S> {
    fn new(live: Arc<Live<S>>, tls: Option<Arc<dyn ServerHandshake>>) -> Arc<Self> {
        Arc::new(Server { clients: Arc::default(), drain: Drain::new(live), tls })
    }

    /// Waits while all the connections that may be open are.
    async fn place(&self) {
        while !self.has_place() {
            self.drain.told.left.notified().await;
        }
    }

    fn has_place(&self) -> bool {
        self.drain.open.load(Ordering::SeqCst) < self.drain.live.with(|service| service.max_connections().0)
    }

    fn accepted(self: &Arc<Self>, io: Box<dyn Io>, peer: Peer) {
        let (service, generation) = self.drain.live.current();
        let guard = ConnectionGuard::new(&self.drain);
        match service.proxy_protocol() {
            None => self.admit((service, generation), io, peer, guard),
            Some(_) => drop(tokio::spawn(Arc::clone(self).introduce(service, io, peer, guard))),
        }
    }

    /// Reads the PROXY header, and admits the client that it names.
    async fn introduce(self: Arc<Self>, service: Arc<S>, io: Box<dyn Io>, peer: Peer, guard: ConnectionGuard<S>) {
        let Some(protocol) = service.proxy_protocol() else { return };
        let introduced = tokio::select! {
            biased;
            () = Notice::new(Arc::clone(&self.drain)) => return,
            introduced = protocol.receive(io, &peer) => introduced,
        };
        match introduced {
            Ok((io, peer)) => self.admit(self.drain.live.current(), io, peer, guard),
            Err(kind) => turned_away(service.observer(), &peer, kind),
        }
    }

    fn admit(&self, (service, generation): (Arc<S>, usize), io: Box<dyn Io>, peer: Peer, guard: ConnectionGuard<S>) {
        let (_, per_client) = service.max_connections();
        let Some(client) = self.clients.enter(&peer, per_client) else {
            tracing::debug!(client = ?peer.address, "connection refused: too many of one client");
            return;
        };
        let Some(held) = hold(service.filters(), &peer) else { return };
        let draining = Draining(Arc::clone(&self.drain));
        let kept = (client, held, guard);
        let span = span::connection(&peer);
        match &self.tls {
            None => {
                // Out of the task: what lies in it by value, an idle connection pays for.
                let link = S::link((service, generation), io, peer);
                span::spawn(span, async move {
                    serve_connection(link, draining).await;
                    drop(kept);
                });
            }
            Some(tls) => {
                let tls = Arc::clone(tls);
                span::spawn(span, async move {
                    serve_secured(tls, io, peer, draining).await;
                    drop(kept);
                });
            }
        }
    }

    async fn drain(&self, deadline: Deadline) {
        let drain = &self.drain;
        tracing::info!(connections = drain.open.load(Ordering::Relaxed), "draining");
        drain.set(&drain.draining);
        let deadline = match deadline {
            Deadline::After(time) => Box::pin(tokio::time::sleep(time)),
            Deadline::When(signal) => signal,
        };
        tokio::select! {
            biased;
            () = drain.wait() => {}
            () = deadline => {
                tracing::warn!(connections = drain.open.load(Ordering::Relaxed), "drain deadline: closing what is left");
                drain.set(&drain.killed);
                drain.wait().await;
            }
        }
    }
}

pub(crate) fn turned_away(observer: Option<&Arc<dyn Observer>>, peer: &Peer, kind: ErrorKind) {
    tracing::debug!(code = kind.code(), client = ?peer.address, error = kind.text(), "connection refused");
    if let Some(observer) = observer {
        observer.on_connection_failed(peer, kind);
    }
}

/// Shakes hands first.
async fn serve_secured<S: Service>(
    tls: Arc<dyn ServerHandshake>,
    io: Box<dyn Io>,
    mut peer: Peer,
    draining: Draining<S>,
) {
    let began = Instant::now();
    let shaken = {
        let mut handshake = tls.perform(io, &mut peer);
        let mut notice = pin!(Notice::new(Arc::clone(&draining.0)));
        poll_fn(|cx| match notice.as_mut().poll(cx) {
            // Nobody's failure.
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => handshake.as_mut().poll(cx).map(Some),
        })
        .await
    };
    let Some(shaken) = shaken else { return };
    let (service, _) = draining.0.live.current();
    if let Some(observer) = service.observer() {
        observer.on_handshake(&peer, began.elapsed());
    }
    match shaken {
        Ok(io) => serve_connection(S::link(draining.0.live.current(), io, peer), draining).await,
        Err(error) => tracing::debug!(client = ?peer.address, %error, "TLS handshake failed"),
    }
}

/// Serves one connection until its end, or until the drain's deadline.
async fn serve_connection<S: Service>(mut link: Arc<Link>, draining: Draining<S>) {
    let observer = link.observer().cloned();
    if let Some(observer) = &observer {
        observer.on_connection_opened(&link.peer);
    }
    let requests = {
        let mut connection = pin!(S::serve(&mut link, &draining));
        let mut notice = pin!(Notice::new(Arc::clone(&draining.0)));
        poll_fn(|cx| match notice.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(0),
            Poll::Pending => connection.as_mut().poll(cx),
        })
        .await
    };
    if let Some(observer) = &observer {
        observer.on_connection_closed(&link.peer, requests);
    }
}

/// Asks the filters about a connection. `None`: one of them refused it.
pub(crate) fn hold(filters: &[Arc<dyn Filter>], peer: &Peer) -> Option<Vec<Box<dyn Any + Send>>> {
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

/// The state of serving and stopping.
struct Drain<S> {
    live: Arc<Live<S>>,
    draining: AtomicBool,
    killed: AtomicBool,
    /// How connections are told that one of these has changed, and the server that one of them has left.
    told: Arc<live::Server>,
    open: AtomicUsize,
}

impl<S> Drain<S> {
    fn new(live: Arc<Live<S>>) -> Arc<Self> {
        let told = Arc::default();
        live.tell(&told);
        let (draining, killed) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Drain { live, draining, killed, told, open: AtomicUsize::new(0) })
    }

    fn set(&self, flag: &AtomicBool) {
        flag.store(true, Ordering::SeqCst);
        self.told.wake();
    }

    /// Waits until no connection is open.
    async fn wait(&self) {
        while self.open.load(Ordering::SeqCst) > 0 {
            self.told.left.notified().await;
        }
    }
}

/// A connection's view of it.
pub(crate) struct Draining<S = Shared>(Arc<Drain<S>>);

impl<S> Draining<S> {
    /// Never draining.
    #[cfg(feature = "testing")]
    pub(crate) fn never(live: Arc<Live<S>>) -> Self {
        Draining(Drain::new(live))
    }

    /// What is served now, and its number.
    pub(crate) fn current(&self) -> (Arc<S>, usize) {
        self.0.live.current()
    }

    /// Whether the proxy of this connection has a successor.
    pub(crate) fn is_renewed(&self, link: &Link) -> bool {
        self.0.live.generation() != link.generation
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }
}

struct ConnectionGuard<S>(Arc<Drain<S>>);

impl<S> ConnectionGuard<S> {
    fn new(drain: &Arc<Drain<S>>) -> Self {
        drain.open.fetch_add(1, Ordering::SeqCst);
        ConnectionGuard(Arc::clone(drain))
    }
}

impl<S> Drop for ConnectionGuard<S> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        // Kept for the one who waits next, where nobody does.
        self.0.told.left.notify_one();
    }
}

pin_project_lite::pin_project! {
    /// Has its task woken when the drain changes; ready when the connection must end. It registers
    /// once: a wake-up for another reason costs two atomic reads.
    struct Notice<S> {
        drain: Arc<Drain<S>>,
        #[pin]
        notified: OwnedNotified,
        registered: Option<(usize, Waker)>,
    }
}

impl<S> Notice<S> {
    fn new(drain: Arc<Drain<S>>) -> Self {
        let notified = Arc::clone(&drain.told.changed).notified_owned();
        Notice { drain, notified, registered: None }
    }
}

impl<S> Future for Notice<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            if this.drain.killed.load(Ordering::SeqCst) {
                return Poll::Ready(());
            }
            let epoch = this.drain.told.epoch.load(Ordering::SeqCst);
            let current = matches!(this.registered, Some((at, waker)) if *at == epoch && waker.will_wake(cx.waker()));
            if current {
                return Poll::Pending;
            }
            if this.notified.as_mut().poll(cx).is_ready() {
                this.notified.set(Arc::clone(&this.drain.told.changed).notified_owned());
                continue;
            }
            *this.registered = Some((epoch, cx.waker().clone()));
        }
    }
}

/// Open connections by client address, where that is limited.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<HashMap<IpAddr, usize>>);

/// A connection counted for its client.
pub(crate) struct ClientGuard(Option<(Arc<Clients>, IpAddr)>);

impl Clients {
    /// Counts a connection; `None` where the client has as many as it may.
    pub(crate) fn enter(self: &Arc<Self>, peer: &Peer, limit: Option<usize>) -> Option<ClientGuard> {
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
