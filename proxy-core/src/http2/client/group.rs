//! The connections to one target, and who gets their streams.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::oneshot::{self, Receiver, Sender};

use super::session::{Life, Opened, Session};
use crate::ErrorKind;
use crate::clock::Instant;
use crate::pool::Home;

/// The connections to one target.
pub(crate) struct Group {
    gate: Mutex<Gate>,
    /// Streams of one connection at a time, where its backend takes so many.
    max_streams: usize,
    max_pending: usize,
    /// Streams of one connection over its life.
    max_requests: u64,
}

#[derive(Default)]
struct Gate {
    rows: Vec<Row>,
    /// Connections that are being made, or are to be made once there may be one more.
    connecting: usize,
    /// Those of them that there may be.
    underway: usize,
    queue: VecDeque<Waiting>,
    /// The backend did not agree on HTTP/2 when it was last asked.
    http1: bool,
    closed: bool,
}

/// One who waits for a stream.
struct Waiting {
    sender: Sender<Grant>,
    /// It makes a connection meanwhile.
    connects: bool,
}

/// One connection.
struct Row {
    session: Arc<Session>,
    active: usize,
    carried: u64,
    created: Instant,
    idle_since: Instant,
    /// No stream is begun on it any more.
    retired: bool,
}

/// What a request for a stream came to.
pub(crate) enum Entry {
    Stream(Slot),
    /// Another connection is needed, and whoever asked is to make it, unless a stream becomes free before.
    Connect(Connecting, Receiver<Grant>),
    Wait(Receiver<Grant>),
    /// The backend speaks HTTP/1.
    Http1,
    Full,
}

/// What one who waits gets.
pub(crate) enum Grant {
    Stream(Slot),
    /// Things have changed: ask again, and be the next.
    Again,
    /// No connection could be made.
    Failed(ErrorKind),
}

/// One stream of a connection, given back when dropped.
pub(crate) struct Slot {
    group: Arc<Group>,
    session: Arc<Session>,
    /// The connection carried a request before.
    reused: bool,
}

/// A connection that is being made, or is to be made once there may be one more.
pub(crate) struct Connecting {
    group: Option<Arc<Group>>,
    underway: bool,
}

impl Group {
    pub(crate) fn new(max_streams: usize, max_pending: usize, max_requests: Option<u64>) -> Arc<Self> {
        let max_requests = max_requests.unwrap_or(u64::MAX).max(1);
        Arc::new(Group { gate: Mutex::default(), max_streams: max_streams.max(1), max_pending, max_requests })
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream of a connection that there is.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Slot> {
        let mut gate = self.gate();
        self.slot(&mut gate)
    }

    /// A stream, or what has to be done for one. `again`: it waited before, and is the next.
    pub(crate) fn enter(self: &Arc<Self>, again: bool) -> Entry {
        let mut gate = self.gate();
        if let Some(slot) = self.slot(&mut gate) {
            return Entry::Stream(slot);
        }
        if gate.http1 {
            return Entry::Http1;
        }
        gate.forget_gone();
        let connects = gate.connecting.saturating_mul(self.max_streams) <= gate.queue.len();
        // Those who have a place on a connection that is being made do not wait for one.
        let places = gate.underway.saturating_mul(self.max_streams).saturating_add(self.max_pending);
        let is_first = connects && gate.connecting == 0;
        if !again && !is_first && gate.queue.len() >= places {
            return Entry::Full;
        }
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting { sender, connects };
        match again {
            true => gate.queue.push_front(waiting),
            false => gate.queue.push_back(waiting),
        }
        match connects {
            true => {
                gate.connecting += 1;
                Entry::Connect(Connecting { group: Some(Arc::clone(self)), underway: false }, receiver)
            }
            false => Entry::Wait(receiver),
        }
    }

    /// A stream of the connection that has most left.
    fn slot(self: &Arc<Self>, gate: &mut Gate) -> Option<Slot> {
        let has_room = |row: &&mut Row| !row.retired && row.active < self.max_streams.min(row.session.limit());
        let row = gate.rows.iter_mut().filter(has_room).min_by_key(|row| row.active)?;
        row.active += 1;
        row.carried += 1;
        row.retired = row.carried >= self.max_requests;
        Some(Slot { group: Arc::clone(self), session: Arc::clone(&row.session), reused: row.carried > 1 })
    }

    /// Gives free streams to those who wait, and has a connection made where some are missing.
    pub(super) fn fill(self: &Arc<Self>) {
        loop {
            let mut gate = self.gate();
            gate.forget_gone();
            if gate.queue.is_empty() {
                return;
            }
            let Some(slot) = self.slot(&mut gate) else { return self.nominate(gate) };
            let first = gate.queue.pop_front();
            drop(gate);
            // Who left meanwhile gives it back by dropping it.
            let _ = first.map(|first| first.sender.send(Grant::Stream(slot)));
        }
    }

    /// The first who waits, and does not do so yet, is to make a connection, if there are not enough on their way.
    fn nominate(&self, mut gate: MutexGuard<'_, Gate>) {
        let enough = gate.connecting.saturating_mul(self.max_streams) >= gate.queue.len();
        let place = gate.queue.iter().position(|waiting| !waiting.connects && !waiting.sender.is_closed());
        let first = place.filter(|_| !enough).and_then(|place| gate.queue.remove(place));
        drop(gate);
        let _ = first.map(|first| first.sender.send(Grant::Again));
    }

    /// Something has changed: connections that have nothing left to do are closed, and free streams given away.
    fn settle(self: &Arc<Self>, mut gate: MutexGuard<'_, Gate>) {
        let ended = gate.take_ended();
        let waiting = !gate.queue.is_empty();
        drop(gate);
        ended.iter().for_each(|row| row.session.close());
        if waiting {
            self.fill();
        }
    }

    fn release(self: &Arc<Self>, session: &Arc<Session>) {
        let mut gate = self.gate();
        if let Some(row) = gate.row(session) {
            row.active -= 1;
            if row.active == 0 {
                row.idle_since = Instant::now();
            }
        }
        self.settle(gate);
    }

    /// Begins no stream on it any more.
    pub(super) fn retire(self: &Arc<Self>, session: &Arc<Session>) {
        let mut gate = self.gate();
        if let Some(row) = gate.row(session) {
            row.retired = true;
        }
        self.settle(gate);
    }

    /// The connection has ended.
    pub(super) fn gone(self: &Arc<Self>, session: &Arc<Session>) {
        session.close();
        let mut gate = self.gate();
        gate.rows.retain(|row| !Arc::ptr_eq(&row.session, session));
        self.settle(gate);
    }

    /// Retires it if it has been idle, or is, for too long. Says whether it has streams; `None` where it has not and
    /// begins none.
    pub(super) fn look_after(self: &Arc<Self>, session: &Arc<Session>, life: &Life, now: Instant) -> Option<bool> {
        let mut gate = self.gate();
        let row = gate.row(session)?;
        let idle = row.active == 0 && now.saturating_duration_since(row.idle_since) >= life.idle_timeout;
        row.retired |= idle || life.max_age.is_some_and(|age| now.saturating_duration_since(row.created) >= age);
        let busy = row.active > 0;
        let ended = row.retired && !busy;
        if row.retired {
            self.settle(gate);
        }
        (!ended).then_some(busy)
    }

    /// Retires all of them.
    pub(crate) fn evict(self: &Arc<Self>) {
        let mut gate = self.gate();
        gate.rows.iter_mut().for_each(|row| row.retired = true);
        self.settle(gate);
    }

    /// Retires all of them, and those that are still to come.
    pub(crate) fn close(self: &Arc<Self>) {
        self.gate().closed = true;
        self.evict();
    }

    /// Connections without streams.
    pub(crate) fn idle(&self) -> usize {
        self.gate().rows.iter().filter(|row| row.active == 0 && !row.retired).count()
    }

    /// Whether nobody has, makes or waits for a connection.
    pub(crate) fn is_empty(&self) -> bool {
        let gate = self.gate();
        gate.rows.is_empty() && gate.connecting == 0 && gate.queue.is_empty()
    }
}

impl Gate {
    fn row(&mut self, session: &Arc<Session>) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| Arc::ptr_eq(&row.session, session))
    }

    /// Connections that have no stream and begin none.
    fn take_ended(&mut self) -> Vec<Row> {
        self.rows.extract_if(.., |row| row.retired && row.active == 0).collect()
    }

    /// Those at the front who do not wait any more.
    fn forget_gone(&mut self) {
        while self.queue.front().is_some_and(|first| first.sender.is_closed()) {
            self.queue.pop_front();
        }
    }
}

impl Connecting {
    /// One more.
    pub(crate) fn of(group: &Arc<Group>) -> Self {
        group.gate().connecting += 1;
        Connecting { group: Some(Arc::clone(group)), underway: false }
    }

    /// There may be one more.
    pub(crate) fn begin(&mut self) {
        if let Some(group) = &self.group
            && !std::mem::replace(&mut self.underway, true)
        {
            group.gate().underway += 1;
        }
    }

    /// It is made no longer.
    fn end<'a>(&self, group: &'a Group) -> MutexGuard<'a, Gate> {
        let mut gate = group.gate();
        gate.connecting -= 1;
        gate.underway -= usize::from(self.underway);
        gate
    }

    /// It stands: the first stream on it is the caller's. A task drives it from now on.
    pub(crate) fn opened(mut self, opened: Opened, life: Life, place: Arc<dyn Home>) -> Option<Slot> {
        let group = self.group.take()?;
        let (session, now) = (Arc::clone(opened.session()), Instant::now());
        let mut gate = self.end(&group);
        gate.http1 = false;
        let retired = gate.closed;
        gate.rows.push(Row {
            session: Arc::clone(&session),
            active: 1,
            carried: 1,
            created: now,
            idle_since: now,
            retired: retired || group.max_requests == 1,
        });
        drop(gate);
        let slot = Slot { group: Arc::clone(&group), session, reused: false };
        tokio::spawn(opened.drive(Arc::clone(&group), life, place));
        group.fill();
        Some(slot)
    }

    /// The backend wants HTTP/1.
    pub(crate) fn http1(mut self) {
        let Some(group) = self.group.take() else { return };
        let mut gate = self.end(&group);
        gate.http1 = true;
        let queue = std::mem::take(&mut gate.queue);
        drop(gate);
        for waiting in queue {
            let _ = waiting.sender.send(Grant::Again);
        }
    }

    /// There is none to be had. Where there is no other, those who wait need not try one after the other.
    pub(crate) fn failed(mut self, kind: ErrorKind) {
        let Some(group) = self.group.take() else { return };
        let mut gate = self.end(&group);
        let alone = gate.connecting == 0 && gate.rows.iter().all(|row| row.retired);
        let queue = if alone { std::mem::take(&mut gate.queue) } else { VecDeque::new() };
        drop(gate);
        for waiting in queue {
            let _ = waiting.sender.send(Grant::Failed(kind));
        }
    }
}

impl Drop for Connecting {
    /// Whoever made it has left, or needs it no longer.
    fn drop(&mut self) {
        let Some(group) = self.group.take() else { return };
        let gate = self.end(&group);
        group.nominate(gate);
    }
}

impl Slot {
    /// What begins the stream; `None` where the connection has ended.
    pub(super) fn sender(&self) -> Option<SendRequest<Bytes>> {
        self.session.sender()
    }

    /// Whether the connection carried a request before.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// Bytes that came on the connection so far.
    pub(super) fn received(&self) -> u64 {
        self.session.received()
    }

    /// The connection is not to be used for further requests.
    pub(super) fn retire(&self) {
        self.group.retire(&self.session);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.group.release(&self.session);
    }
}
