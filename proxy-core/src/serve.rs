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
use crate::proxy::Shared;
use crate::{Admission, Filter, Io, Listener, Peer, Proxy, http1};

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
    Serve { listener, proxy, signal: None, deadline: Duration::from_secs(30) }
}

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See [`serve`].
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve<L> {
    listener: L,
    proxy: Proxy,
    signal: Option<Signal>,
    deadline: Duration,
}

impl<L: Listener> Serve<L> {
    /// Stops when `signal` is ready: no more connections are accepted, idle ones are closed, those
    /// with a request finish it and say `Connection: close`.
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.signal = Some(Box::pin(signal));
        self
    }

    /// How long running requests have after the signal, before their connections are closed. Default 30 s.
    pub fn drain_timeout(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
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
        f.debug_struct("Serve").field("proxy", &self.proxy).field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

async fn run<L: Listener>(serve: Serve<L>) {
    let Serve { mut listener, proxy, signal, deadline } = serve;
    let server = Server::new(proxy.0);
    let mut signal = signal.unwrap_or_else(|| Box::pin(std::future::pending()));
    loop {
        let accept = async {
            let place = server.place().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            biased;
            () = &mut signal => break,
            (place, (io, peer)) = accept => server.admit(Box::new(io), peer, place),
        }
    }
    drop(listener);
    server.drain(deadline).await;
}

/// What the connections of one listener share.
struct Server {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    clients: Arc<Clients>,
    drain: Arc<Drain>,
}

impl Server {
    fn new(shared: Arc<Shared>) -> Self {
        Server {
            places: Arc::new(Semaphore::new(shared.limits.max_connections.min(Semaphore::MAX_PERMITS))),
            clients: Arc::default(),
            drain: Arc::default(),
            shared,
        }
    }

    /// Waits while all the connections that may be open are.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    fn admit(&self, io: Box<dyn Io>, peer: Peer, place: Option<OwnedSemaphorePermit>) {
        let Some(client) = self.clients.enter(&peer, self.shared.limits.max_connections_per_client) else {
            tracing::debug!(client = ?peer.address, "connection refused: too many of one client");
            return;
        };
        let Some(held) = hold(&self.shared, &peer) else { return };
        let guard = ConnectionGuard::new(&self.drain);
        let draining = Draining(Arc::clone(&self.drain));
        // Out of the task: what lies in it by value, an idle connection pays for.
        let link = Link::new(io, peer, Arc::clone(&self.shared));
        let kept = (place, client, held, guard);
        // In a box: a task moves its future half a dozen times from here to its end, and this one is large.
        tokio::spawn(Box::pin(async move {
            serve_connection(link, draining).await;
            drop(kept);
        }));
    }

    async fn drain(self, deadline: Duration) {
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
async fn serve_connection(link: Arc<Link>, draining: Draining) {
    let observer = link.proxy.as_ref().and_then(|proxy| proxy.observer.as_ref());
    if let Some(observer) = observer {
        observer.on_connection_opened(&link.peer);
    }
    let drain = Arc::clone(&draining.0);
    let mut connection = pin!(http1::server::serve(&link, draining));
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
