//! Serving a listener, and stopping well.

use std::any::Any;
use std::collections::HashMap;
use std::future::{IntoFuture, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use tokio::sync::futures::OwnedNotified;

use crate::context::Link;
use crate::guard::guarded;
use crate::http1::reader::Reader;
use crate::http1::server::Served;
use crate::proxy::{self, Shared};
use crate::{Admission, Filter, Io, Listener, LiveProxy, Peer, ServerHandshake, http1, http2};

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
    Serve { listener, proxy: proxy.into(), tls: None, signal: None, deadline: Deadline::After(Duration::from_secs(30)) }
}

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See [`serve`].
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve<L> {
    listener: L,
    proxy: LiveProxy,
    tls: Option<Arc<dyn ServerHandshake>>,
    signal: Option<Signal>,
    deadline: Deadline,
}

/// When running requests have had their time.
enum Deadline {
    After(Duration),
    When(Signal),
}

impl<L: Listener> Serve<L> {
    /// Stops when `signal` is ready: what waits to be accepted is, and no more; connections with a request finish
    /// it and say `Connection: close`; idle ones are closed, those that idle for less than a second when it is one.
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.signal = Some(Box::pin(signal));
        self
    }

    /// Speaks TLS with the clients. Default: plain.
    pub fn tls(mut self, handshake: impl ServerHandshake) -> Self {
        self.tls = Some(Arc::new(handshake));
        self
    }

    /// How long running requests have after the signal, before their connections are closed. Default 30 s.
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

impl<L: Listener> IntoFuture for Serve<L> {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

impl<L> std::fmt::Debug for Serve<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

async fn run<L: Listener>(serve: Serve<L>) {
    let Serve { mut listener, proxy, tls, signal, deadline } = serve;
    let server = Server::new(proxy, tls);
    let mut signal = signal.unwrap_or_else(|| Box::pin(std::future::pending()));
    loop {
        let accept = async {
            server.place().await;
            listener.accept().await
        };
        tokio::select! {
            biased;
            () = &mut signal => break,
            (io, peer) = accept => server.admit(Box::new(io), peer),
        }
    }
    for _ in 0..QUEUED {
        match queued(&mut listener).await {
            Some((io, peer)) if server.has_place() => server.admit(Box::new(io), peer),
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
struct Server {
    clients: Arc<Clients>,
    drain: Arc<Drain>,
    tls: Option<Arc<dyn ServerHandshake>>,
}

impl Server {
    fn new(live: LiveProxy, tls: Option<Arc<dyn ServerHandshake>>) -> Self {
        Server { clients: Arc::default(), drain: Drain::new(live), tls }
    }

    /// Waits while all the connections that may be open are.
    async fn place(&self) {
        while !self.has_place() {
            self.drain.told.left.notified().await;
        }
    }

    fn has_place(&self) -> bool {
        self.drain.open.load(Ordering::SeqCst) < self.drain.live.max_connections()
    }

    fn admit(&self, io: Box<dyn Io>, peer: Peer) {
        let (shared, generation) = self.drain.live.current();
        let Some(client) = self.clients.enter(&peer, shared.limits.max_connections_per_client) else {
            tracing::debug!(client = ?peer.address, "connection refused: too many of one client");
            return;
        };
        let Some(held) = hold(&shared, &peer) else { return };
        let guard = ConnectionGuard::new(&self.drain);
        let draining = Draining(Arc::clone(&self.drain));
        let kept = (client, held, guard);
        // In a box: a task moves its future half a dozen times from here to its end, and this one is large.
        match &self.tls {
            None => {
                // Out of the task: what lies in it by value, an idle connection pays for.
                let link = Link::new(io, peer, (shared, generation));
                tokio::spawn(Box::pin(async move {
                    serve_connection(link, draining).await;
                    drop(kept);
                }));
            }
            Some(tls) => {
                let tls = Arc::clone(tls);
                tokio::spawn(Box::pin(async move {
                    serve_secured(tls, io, peer, draining).await;
                    drop(kept);
                }));
            }
        }
    }

    async fn drain(self, deadline: Deadline) {
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

/// Shakes hands first.
async fn serve_secured(tls: Arc<dyn ServerHandshake>, io: Box<dyn Io>, mut peer: Peer, draining: Draining) {
    let shaken = {
        let mut handshake = tls.perform(io, &mut peer);
        let mut notice = pin!(Notice::new(Arc::clone(&draining.0)));
        poll_fn(|cx| match notice.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Poll::Pending => handshake.as_mut().poll(cx),
        })
        .await
    };
    match shaken {
        Ok(io) => serve_connection(Link::new(io, peer, draining.0.live.current()), draining).await,
        Err(error) => tracing::debug!(client = ?peer.address, %error, "TLS handshake failed"),
    }
}

/// Serves one connection until its end, or until the drain's deadline.
async fn serve_connection(link: Arc<Link>, draining: Draining) {
    let observer = link.proxy.as_ref().and_then(|proxy| proxy.observer.clone());
    if let Some(observer) = &observer {
        observer.on_connection_opened(&link.peer);
    }
    let requests = {
        let mut connection = pin!(speak(Arc::clone(&link), &draining));
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

/// Speaks with a client, under one proxy after the other; says how many requests there were.
pub(crate) async fn speak(mut link: Arc<Link>, draining: &Draining) -> u64 {
    let mut kept = None;
    loop {
        let served = match agreed_reader(&link) {
            Some(reader) => Served::Http2(reader),
            None => http1::server::serve(&link, draining, kept).await,
        };
        match served {
            Served::All(requests) => return requests,
            // In a box: one that speaks HTTP/1 has no room for it.
            Served::Http2(reader) => return Box::pin(http2::serve(link, draining.clone(), reader)).await,
            Served::Renewed(rest) => kept = Some(rest),
        }
        link = link.renewed(draining.0.live.current());
    }
}

/// The bytes of a client that has agreed on HTTP/2.
fn agreed_reader(link: &Link) -> Option<Reader> {
    let (shared, stream) = (link.proxy.as_ref()?, link.client.as_ref()?);
    http2::is_agreed(&shared.http2, &link.peer).then(|| Reader::new(stream.clone()))
}

/// Asks the filters about a connection. `None`: one of them refused it.
fn hold(shared: &Shared, peer: &Peer) -> Option<Vec<Box<dyn Any + Send>>> {
    let mut held = Vec::new();
    for filter in &shared.filters {
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
#[derive(Debug)]
struct Drain {
    live: LiveProxy,
    draining: AtomicBool,
    killed: AtomicBool,
    /// How connections are told that one of these has changed, and the server that one of them has left.
    told: Arc<proxy::Server>,
    open: AtomicUsize,
}

impl Drain {
    fn new(live: LiveProxy) -> Arc<Self> {
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
#[derive(Clone, Debug)]
pub(crate) struct Draining(Arc<Drain>);

impl Draining {
    /// Never draining.
    #[cfg(feature = "testing")]
    pub(crate) fn never(live: LiveProxy) -> Self {
        Draining(Drain::new(live))
    }

    /// Whether the proxy of this connection has a successor.
    pub(crate) fn is_renewed(&self, link: &Link) -> bool {
        self.0.live.generation() != link.generation
    }

    /// The connection to the successor, where there is one.
    pub(crate) fn renewed(&self, link: &Arc<Link>) -> Option<Arc<Link>> {
        self.is_renewed(link).then(|| link.renewed(self.0.live.current()))
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
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        // Kept for the one who waits next, where nobody does.
        self.0.told.left.notify_one();
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
        let notified = Arc::clone(&drain.told.changed).notified_owned();
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
