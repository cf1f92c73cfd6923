//! The requests of a connection, within its one task.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll, Wake, Waker};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, StreamId};

use super::head;
use super::stream::{self, Ended, Incoming, Work};
use crate::ResponseHead;
use crate::interim::Responder;

/// Seats that are kept for the next request when nobody sits on them.
const SPARE: usize = 8;

/// A seat is a future that serves one request after the other, with the waker and the timer that go with it:
/// a request costs no allocation for them, and no future is moved.
pub(super) struct Seats {
    all: Vec<Option<Place>>,
    free: Vec<u32>,
    /// Places in `all` without a seat.
    vacant: Vec<u32>,
    ready: Arc<Ready>,
}

struct Place {
    seat: Arc<Seat>,
    waker: Waker,
    work: Work,
}

/// What of a seat is shared with who wakes it, and with who answers its client.
pub(super) struct Seat {
    index: u32,
    ready: Arc<Ready>,
    queued: AtomicBool,
    /// No lock is ever contended: one task has all of them.
    incoming: Mutex<Option<Incoming>>,
    respond: Mutex<Option<SendResponse<Bytes>>>,
    rest: Mutex<Rest>,
    ended: Mutex<Option<Ended>>,
}

/// What becomes of a request body that nobody has read to its end.
#[derive(Default)]
enum Rest {
    /// It is reset.
    #[default]
    Unwanted,
    /// That of this stream is kept.
    Wanted(StreamId),
    Left(RecvStream),
}

/// Who is to be polled. It wakes the connection's task, unless that is looking already.
#[derive(Default)]
pub(super) struct Ready(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    seats: Vec<u32>,
    /// The codec is ready, too.
    codec: bool,
    /// Whoever is ready is seen anyway: the task is at it, or was woken.
    awake: bool,
    task: Option<Waker>,
}

impl Seats {
    pub(super) fn new(ready: Arc<Ready>) -> Self {
        Seats { all: Vec::new(), free: Vec::new(), vacant: Vec::new(), ready }
    }

    /// Requests under way.
    pub(super) fn busy(&self) -> usize {
        self.all.len() - self.vacant.len() - self.free.len()
    }

    /// Begins with a request. The seat it has is ready.
    pub(super) fn admit(&mut self, incoming: Incoming) {
        let index = self.free.pop().unwrap_or_else(|| self.add());
        if let Some(Some(place)) = self.all.get(index as usize) {
            *lock(&place.seat.incoming) = Some(incoming);
            place.seat.wake_by_ref();
        }
    }

    fn add(&mut self) -> u32 {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() as u32 - 1
        });
        let seat = Arc::new(Seat {
            index,
            ready: Arc::clone(&self.ready),
            queued: AtomicBool::new(false),
            incoming: Mutex::new(None),
            respond: Mutex::new(None),
            rest: Mutex::default(),
            ended: Mutex::new(None),
        });
        let place = Place { waker: Arc::clone(&seat).into(), work: stream::work(Arc::clone(&seat)), seat };
        self.all[index as usize] = Some(place);
        index
    }

    /// Polls a seat; says how its request ended, if it has.
    pub(super) fn poll(&mut self, index: u32) -> Option<Ended> {
        let place = self.all.get_mut(index as usize)?.as_mut()?;
        place.seat.queued.store(false, Ordering::Release);
        let _ = place.work.as_mut().poll(&mut Task::from_waker(&place.waker));
        let ended = lock(&place.seat.ended).take()?;
        if self.free.len() < SPARE {
            self.free.push(index);
        } else {
            self.all[index as usize] = None;
            self.vacant.push(index);
        }
        Some(ended)
    }

    /// Polls all of them: the connection has ended, and they see it.
    pub(super) fn poll_all(&mut self) {
        for index in 0..self.all.len() as u32 {
            self.poll(index);
        }
    }
}

impl Seat {
    /// The next request of this seat.
    pub(super) fn poll_incoming(&self) -> Poll<Incoming> {
        lock(&self.incoming).take().map_or(Poll::Pending, Poll::Ready)
    }

    pub(super) fn answer_through(&self, respond: SendResponse<Bytes>) {
        *lock(&self.respond) = Some(respond);
    }

    /// Ready once the client has taken its request back, or is gone.
    pub(super) fn poll_reset(&self, cx: &mut Task<'_>) -> Poll<()> {
        match &mut *lock(&self.respond) {
            Some(respond) => respond.poll_reset(cx).map(|_| ()),
            None => Poll::Pending,
        }
    }

    pub(super) fn take_response(&self) -> Option<SendResponse<Bytes>> {
        lock(&self.respond).take()
    }

    /// Has what is left of this stream's body kept, until it is [taken](Self::take_rest).
    pub(super) fn keep_rest(&self, of: StreamId) {
        *lock(&self.rest) = Rest::Wanted(of);
    }

    /// Nobody reads on.
    pub(super) fn leave(&self, recv: RecvStream) {
        let mut rest = lock(&self.rest);
        if matches!(&*rest, Rest::Wanted(id) if *id == recv.stream_id()) && !recv.is_end_stream() {
            *rest = Rest::Left(recv);
        }
    }

    pub(super) fn take_rest(&self) -> Option<RecvStream> {
        match std::mem::take(&mut *lock(&self.rest)) {
            Rest::Left(recv) => Some(recv),
            Rest::Unwanted | Rest::Wanted(_) => None,
        }
    }

    pub(super) fn end(&self, ended: Ended) {
        *lock(&self.ended) = Some(ended);
    }
}

impl Responder for Seat {
    fn interim(&self, head: &ResponseHead) {
        if let (Some(respond), Ok(response)) = (&mut *lock(&self.respond), head::response(head, None)) {
            // A client that is gone is seen elsewhere.
            let _ = respond.send_informational(response);
        }
    }
}

impl Wake for Seat {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.add(|queue| queue.seats.push(self.index));
        }
    }
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.add(|queue| queue.codec = true);
    }
}

impl Ready {
    fn add(&self, ready: impl FnOnce(&mut Queue)) {
        let mut queue = lock(&self.0);
        ready(&mut queue);
        let task = if queue.awake { None } else { queue.task.clone() };
        queue.awake = true;
        drop(queue);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// The task looks: nobody has to wake it until it stops.
    pub(super) fn look(&self, task: &Waker) {
        let mut queue = lock(&self.0);
        queue.awake = true;
        if !queue.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            queue.task = Some(task.clone());
        }
    }

    /// The seats that are ready, and whether the codec is. `None`, and the task is woken again, where nobody is.
    pub(super) fn take(&self, seats: &mut Vec<u32>) -> Option<bool> {
        let mut queue = lock(&self.0);
        seats.clear();
        std::mem::swap(seats, &mut queue.seats);
        let codec = std::mem::take(&mut queue.codec);
        queue.awake = codec || !seats.is_empty();
        queue.awake.then_some(codec)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
