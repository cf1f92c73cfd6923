//! Connections that many requests share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot::Receiver;

use super::{Idle, Inner, Permit, waiter};
use crate::clock::Instant;
use crate::http2::client::{Connecting, Entry, Grant, Group, Life, Slot, open};
use crate::observer::PoolEvent;
use crate::pool::{Connection, Lease, Protocol, Target};
use crate::{Backend, Error, ErrorKind, Result};

/// The connections of each target.
#[derive(Default)]
pub(super) struct Multiplexed(Mutex<HashMap<Target, Arc<Group>>>);

impl Multiplexed {
    fn groups(&self) -> MutexGuard<'_, HashMap<Target, Arc<Group>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn group(&self, target: &Target) -> Option<Arc<Group>> {
        self.groups().get(target).cloned()
    }

    /// Connections without requests.
    pub(super) fn idle(&self, target: &Target) -> usize {
        self.group(target).map_or(0, |group| group.idle())
    }

    pub(super) fn evict(&self, backend: &Backend) {
        let groups = self.groups();
        let theirs = groups.iter().filter(|(target, _)| target.backend() == backend);
        let theirs: Vec<_> = theirs.map(|(_, group)| Arc::clone(group)).collect();
        drop(groups);
        theirs.iter().for_each(Group::evict);
    }

    pub(super) fn close(&self) {
        let groups = std::mem::take(&mut *self.groups());
        groups.values().for_each(Group::close);
    }

    /// Forgets targets that nobody has, makes or waits for a connection to.
    pub(super) fn forget_vanished(&self) {
        self.groups().retain(|_, group| Arc::strong_count(group) > 1 || !group.is_empty());
    }
}

impl Inner {
    /// A stream of a connection that there is.
    pub(super) fn checkout_stream(&self, target: &Target) -> Option<Lease> {
        let slot = self.multiplexed.group(target)?.take()?;
        Some(self.lease_stream(target, slot))
    }

    fn lease_stream(&self, target: &Target, slot: Slot) -> Lease {
        if slot.is_reused() {
            self.counters.handed();
            self.notify(target.backend(), PoolEvent::Reused);
        }
        Lease::of_stream(slot)
    }

    /// A stream, of a connection that is made where one is missing.
    pub(super) async fn acquire_stream(self: &Arc<Self>, target: &Target, deadline: Option<Instant>) -> Result<Lease> {
        let group = self.group(target);
        let mut again = false;
        loop {
            let grant = match group.enter(again) {
                Entry::Stream(slot) => Grant::Stream(slot),
                Entry::Connect(connecting, turn) => match self.stream_or_permit(turn, target, deadline).await? {
                    Either::Grant(grant) => grant,
                    Either::Permit(permit) => {
                        return self.connect_shared(target, connecting, permit, deadline).await;
                    }
                    Either::Kept(idle) => match self.lease(idle, Instant::now()) {
                        Some(lease) => return Ok(lease),
                        None => Grant::Again,
                    },
                },
                Entry::Wait(turn) => self.wait_for_stream(turn, target, deadline).await?,
                Entry::Http1 => return self.acquire_negotiated(target, &group, deadline).await,
                Entry::Full => return Err(Error::new(ErrorKind::PoolFull)),
            };
            match grant {
                Grant::Stream(slot) => return Ok(self.lease_stream(target, slot)),
                Grant::Again => again = true,
                Grant::Failed(kind) => return Err(Error::new(kind)),
            }
        }
    }

    /// The connections to this target. One that names a client is used by nobody else.
    fn group(&self, target: &Target) -> Arc<Group> {
        let settings = &self.settings;
        let make = |max_requests| Group::new(settings.http2.max_streams, settings.max_pending, max_requests);
        if !target.is_shareable() {
            return make(Some(1));
        }
        let mut groups = self.multiplexed.groups();
        match groups.get(target) {
            Some(group) => Arc::clone(group),
            None => Arc::clone(groups.entry(target.clone()).or_insert_with(|| make(settings.max_requests))),
        }
    }

    async fn wait_for_stream(
        &self,
        turn: Receiver<Grant>,
        target: &Target,
        deadline: Option<Instant>,
    ) -> Result<Grant> {
        let _waiting = self.counters.wait();
        self.notify(target.backend(), PoolEvent::Waiting);
        let patience = self.settings.pending_timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let granted = match deadline.into_iter().chain(patience).min() {
            None => turn.await,
            Some(deadline) => tokio::time::timeout_at(deadline, turn).await.map_err(|_| ErrorKind::PoolTimeout)?,
        };
        // Nobody forgets who waits but the group itself, and that is held here.
        Ok(granted.unwrap_or(Grant::Again))
    }

    /// The right to connect, unless a stream becomes free before.
    async fn stream_or_permit(
        &self,
        turn: Receiver<Grant>,
        target: &Target,
        deadline: Option<Instant>,
    ) -> Result<Either> {
        tokio::select! {
            biased;
            grant = turn => Ok(Either::Grant(grant.unwrap_or(Grant::Again))),
            admitted = self.admit(target, deadline) => Ok(match admitted? {
                waiter::Grant::Permit(permit) => Either::Permit(permit),
                waiter::Grant::Kept(idle) => Either::Kept(idle),
            }),
        }
    }

    /// Makes a connection that others share, or, where the backend wants HTTP/1, one of the caller's own.
    async fn connect_shared(
        self: &Arc<Self>,
        target: &Target,
        mut connecting: Connecting,
        permit: Permit<Idle>,
        deadline: Option<Instant>,
    ) -> Result<Lease> {
        connecting.begin();
        let limit = self.connect_deadline(Instant::now(), deadline);
        let connected = async {
            let (io, seat) = self.connect(target, permit, Some(limit)).await?;
            if io.agreed_protocol() != Some(b"h2") && (target.tls().is_some() || target.protocol() != Protocol::Http2) {
                return Ok((Err(io), seat));
            }
            let opening = tokio::time::timeout_at(limit, open(io, &self.settings.http2)).await;
            let opened = opening.map_err(|_| Error::new(ErrorKind::ConnectTimeout))??;
            Ok((Ok(opened), seat))
        };
        match connected.await {
            Ok((Ok(opened), seat)) => {
                let slot = connecting.opened(opened, self.life(), seat).ok_or(ErrorKind::UpstreamGone)?;
                Ok(self.lease_stream(target, slot))
            }
            Ok((Err(io), seat)) if target.protocol() == Protocol::Negotiated => {
                connecting.http1();
                Ok(Lease::new(Connection::from_boxed(io), seat))
            }
            Ok((Err(_), _)) => {
                connecting.failed(ErrorKind::ConnectHttp2);
                Err(Error::new(ErrorKind::ConnectHttp2))
            }
            Err(error) => {
                connecting.failed(Error::kind(&error));
                Err(error)
            }
        }
    }

    /// A connection to a backend that wanted HTTP/1 when it was asked last: one that is kept, or a new one, for which
    /// it is asked again.
    async fn acquire_negotiated(
        self: &Arc<Self>,
        target: &Target,
        group: &Arc<Group>,
        deadline: Option<Instant>,
    ) -> Result<Lease> {
        loop {
            if let Some(lease) = self.checkout(target, Instant::now()) {
                return Ok(lease);
            }
            match self.admit(target, deadline).await? {
                waiter::Grant::Permit(permit) => {
                    let connecting = Connecting::of(group);
                    return self.connect_shared(target, connecting, permit, deadline).await;
                }
                waiter::Grant::Kept(idle) => match self.lease(idle, Instant::now()) {
                    Some(lease) => return Ok(lease),
                    None => continue,
                },
            }
        }
    }

    fn life(&self) -> Life {
        let settings = &self.settings;
        Life {
            idle_timeout: settings.idle_timeout,
            max_age: settings.max_age,
            ping_interval: settings.http2.ping_interval,
            ping_timeout: settings.http2.ping_timeout,
        }
    }
}

/// What came first.
enum Either {
    Grant(Grant),
    Permit(Permit<Idle>),
    /// A connection of HTTP/1: the backend wants that.
    Kept(Idle),
}
