//! The pool that all worker threads share.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Connection, Lease, Pool, Target};
use crate::clock::Instant;
use crate::connector::{Connector, NextHopRefusal};
use crate::observer::{Observer, PoolEvent};
use crate::{Address, Backend, Error, ErrorKind, Io, Result};

#[cfg(not(feature = "http2"))]
mod exclusive;
#[cfg(feature = "http2")]
mod multiplexed;
mod queue;
mod quota;
mod seat;
mod settings;
mod shelves;
mod site;
mod stats;
mod sweeper;
mod sync;
mod waiter;
mod worker;

#[cfg(test)]
mod tests;

pub use settings::{PoolBuilder, PoolHttp2, PoolSettings};
pub use stats::PoolStats;

#[cfg(not(feature = "http2"))]
use exclusive::Multiplexed;
#[cfg(feature = "http2")]
use multiplexed::Multiplexed;

use queue::{Admission, Ticket};
use seat::{Idle, Seat};
use shelves::Shelves;
use site::{Permit, Site};
use stats::Counters;
use waiter::Grant;

/// The pool that all worker threads share: a cheap handle.
///
/// Each thread keeps what it releases and takes the one it used last; a thread that has none takes
/// another's. A connection is registered with the reactor of the runtime it was made on, so **a
/// pool never crosses runtimes**: give each runtime its own. The runtime needs its timer enabled.
///
/// Connections are made by [`acquire`](Pool::acquire), with a task beside it that closes what is
/// idle, old or dead; the task ends with the pool. Dropping the last handle closes what is idle;
/// what is leased closes when its exchange ends.
///
/// ```
/// use proxy_core::{Backend, Pool, SharedPool, Target};
///
/// let pool = SharedPool::builder().max_open_per_backend(100).build();
/// let target = Target::new(Backend::new("127.0.0.1:9000".parse()?));
/// assert!(pool.checkout(&target, proxy_core::Instant::now()).is_none());
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Clone)]
pub struct SharedPool {
    inner: Arc<Inner>,
    _open: Arc<Open>,
}

/// Idle connections refer to the pool they lie in; closing it takes them out.
struct Open(Arc<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.shelves.close();
        self.0.multiplexed.close();
    }
}

struct Inner {
    settings: PoolSettings,
    connector: Arc<dyn Connector>,
    observer: Option<Arc<dyn Observer>>,
    shelves: Shelves<Idle>,
    multiplexed: Multiplexed,
    sites: Mutex<HashMap<Backend, Arc<Site<Idle>>>>,
    counters: Counters,
    sweeping: AtomicBool,
    closed: AtomicBool,
}

impl SharedPool {
    /// Starts a pool with the default limits, over TCP.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    fn new(builder: PoolBuilder) -> Self {
        let inner = Arc::new(Inner {
            shelves: Shelves::new(builder.shards, builder.settings.max_idle),
            multiplexed: Multiplexed::default(),
            settings: builder.settings,
            connector: builder.connector,
            observer: builder.observer,
            sites: Mutex::default(),
            counters: Counters::default(),
            sweeping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        SharedPool { _open: Arc::new(Open(Arc::clone(&inner))), inner }
    }

    /// What it did so far. Takes each thread's lock for a moment.
    pub fn stats(&self) -> PoolStats {
        let (idle, taken) = self.inner.shelves.counts();
        self.inner.counters.stats(idle, taken)
    }
}

#[async_trait]
impl Pool for SharedPool {
    fn checkout(&self, target: &Target, now: Instant) -> Option<Lease> {
        self.inner.checkout(target, now)
    }

    async fn acquire(&self, target: &Target, deadline: Option<Instant>) -> Result<Lease> {
        match target.protocol().may_share() {
            true => Box::pin(self.inner.acquire_stream(target, deadline)).await,
            false => self.inner.acquire(target, deadline).await,
        }
    }

    fn idle(&self, target: &Target) -> usize {
        self.inner.shelves.idle(target) + self.inner.multiplexed.idle(target)
    }

    fn evict(&self, backend: &Backend) {
        let site = self.inner.sites().get(backend).cloned();
        if let Some(site) = site {
            site.renew();
            self.inner.shelves.evict(&site);
        }
        self.inner.multiplexed.evict(backend);
    }
}

impl Inner {
    fn checkout(&self, target: &Target, now: Instant) -> Option<Lease> {
        if !target.is_shareable() {
            return None;
        }
        if target.protocol().may_share()
            && let Some(lease) = self.checkout_stream(target)
        {
            return Some(lease);
        }
        let worker = worker::number();
        let first = self.shelves.take(worker, target)?;
        let mut lease = self.lease(first, now);
        while lease.is_none() {
            lease = self.lease(self.shelves.take(worker, target)?, now);
        }
        lease
    }

    /// A connection of the caller's own, new or kept.
    async fn acquire(self: &Arc<Self>, target: &Target, deadline: Option<Instant>) -> Result<Lease> {
        loop {
            if let Some(lease) = self.checkout(target, Instant::now()) {
                return Ok(lease);
            }
            match self.admit(target, deadline).await? {
                Grant::Permit(permit) => {
                    let (io, seat) = self.connect(target, permit, deadline).await?;
                    return Ok(Lease::new(Connection::from_boxed(io), seat));
                }
                Grant::Kept(idle) => match self.lease(idle, Instant::now()) {
                    Some(lease) => return Ok(lease),
                    None => continue,
                },
            }
        }
    }

    /// Leases a connection taken from a shelf, unless it should be closed.
    fn lease(&self, mut idle: Idle, now: Instant) -> Option<Lease> {
        if !self.is_fit(&mut idle, now) {
            self.counters.discarded();
            return None;
        }
        let Idle { connection, seat } = idle;
        self.notify(seat.backend(), PoolEvent::Reused);
        Some(Lease::new(connection, seat))
    }

    /// Whether an idle connection may be used at `now`.
    fn is_fit(&self, idle: &mut Idle, now: Instant) -> bool {
        let connection = &mut idle.connection;
        now.saturating_duration_since(connection.idle_since()) < self.settings.idle_timeout
            && self.is_young(connection, now)
            && connection.is_alive()
    }

    /// Whether a connection has neither reached its age nor its number of exchanges.
    fn is_young(&self, connection: &Connection, now: Instant) -> bool {
        let age = || now.saturating_duration_since(connection.created());
        self.settings.max_requests.is_none_or(|max| connection.requests() < max)
            && self.settings.max_age.is_none_or(|max| age() < max)
    }

    /// The right to connect, or a connection that was just released.
    async fn admit(&self, target: &Target, deadline: Option<Instant>) -> Result<Grant<Idle>> {
        let site = self.site(target.backend());
        match self.shelves.enter(worker::number(), &site, target) {
            Admission::Granted(grant) => Ok(grant),
            Admission::Full => Err(Error::new(ErrorKind::PoolFull)),
            Admission::Wait(ticket) => self.wait(ticket, target, deadline).await,
        }
    }

    async fn wait(&self, ticket: Ticket<'_, Idle>, target: &Target, deadline: Option<Instant>) -> Result<Grant<Idle>> {
        let _waiting = self.counters.wait();
        self.notify(target.backend(), PoolEvent::Waiting);
        let patience = self.settings.pending_timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let grant = match deadline.into_iter().chain(patience).min() {
            None => ticket.await,
            Some(deadline) => tokio::time::timeout_at(deadline, ticket).await.map_err(|_| ErrorKind::PoolTimeout)?,
        };
        if let Grant::Kept(_) = grant {
            self.counters.handed();
        }
        Ok(grant)
    }

    async fn connect(
        self: &Arc<Self>,
        target: &Target,
        permit: Permit<Idle>,
        deadline: Option<Instant>,
    ) -> Result<(Box<dyn Io>, Arc<Seat>)> {
        sweeper::ensure(self);
        let started = Instant::now();
        let generation = permit.site().generation();
        let limit = self.connect_deadline(started, deadline);
        let connected = tokio::time::timeout_at(limit, self.connector.connect(target)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let io = connected.map_err(|error| {
            self.notify(target.backend(), PoolEvent::Failed);
            connect_error(target, error)
        })?;
        self.counters.opened();
        self.notify(target.backend(), PoolEvent::Opened(started.elapsed()));
        let seat = Seat::new(Arc::clone(self), target.clone(), generation, permit);
        Ok((io, Arc::new(seat)))
    }

    /// When connecting, which began at `started`, must have ended.
    fn connect_deadline(&self, started: Instant, deadline: Option<Instant>) -> Instant {
        let limit = started.checked_add(self.settings.connect_timeout);
        limit.into_iter().chain(deadline).min().unwrap_or(started)
    }

    fn sites(&self) -> MutexGuard<'_, HashMap<Backend, Arc<Site<Idle>>>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn site(&self, backend: &Backend) -> Arc<Site<Idle>> {
        if let Some(site) = self.sites().get(backend) {
            return Arc::clone(site);
        }
        let max_open = self.settings.max_open_per_backend.map_or(usize::MAX, |max| max.max(1));
        let quota = quota::Quota::new(self.settings.max_idle_per_backend, self.shelves.len());
        let site = Arc::new(Site::new(max_open, self.settings.max_pending, quota));
        Arc::clone(self.sites().entry(backend.clone()).or_insert(site))
    }

    /// Forgets the backends that have neither a connection nor one who waits for it: nothing else
    /// holds their sites.
    fn forget_vanished(&self) {
        self.sites().retain(|_, site| Arc::strong_count(site) > 1);
        self.multiplexed.forget_vanished();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn notify(&self, backend: &Backend, event: PoolEvent) {
        if let Some(observer) = &self.observer {
            observer.on_pool(backend, event);
        }
    }
}

/// A missing Unix socket is "not found" too, but no matter of names.
fn connect_error(target: &Target, error: io::Error) -> Error {
    let named = matches!(target.backend().address(), Address::Name(..));
    if let Some(refusal) = NextHopRefusal::within(&error) {
        return Error::new(ErrorKind::NextHopRefused).with_status(refusal.status()).with_source(error);
    }
    let kind = match error.kind() {
        io::ErrorKind::NotFound if named => ErrorKind::Resolve,
        io::ErrorKind::TimedOut => ErrorKind::ConnectTimeout,
        io::ErrorKind::InvalidData if target.tls().is_some() => ErrorKind::ConnectTls,
        _ => ErrorKind::ConnectRefused,
    };
    Error::new(kind).with_source(error)
}

impl Default for SharedPool {
    fn default() -> Self {
        SharedPool::builder().build()
    }
}

impl fmt::Debug for SharedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
