//! A door that only so many are behind, and a bounded queue before it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Counts who is inside, and lets the queue in as they leave.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    /// How many may wait.
    room: usize,
    /// Of each class, highest first: how much of the limit it may use, in percent.
    shares: Arc<[u8]>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    inside: usize,
    waiting: usize,
    /// By class. Those that gave up stay until they are met.
    queues: Box<[VecDeque<oneshot::Sender<Slot>>]>,
}

/// What became of who wants in.
pub(super) enum Entry {
    Inside(Slot),
    /// The slot comes through here.
    Waiting(oneshot::Receiver<Slot>),
    /// Even the queue is full.
    Full,
}

/// A place inside. Dropping it lets the next one in.
#[derive(Debug)]
pub(super) struct Slot(Option<Arc<Gate>>);

impl Gate {
    pub(super) fn new(limit: usize, room: usize, shares: Arc<[u8]>) -> Arc<Self> {
        let queues = shares.iter().map(|_| VecDeque::new()).collect();
        Arc::new(Gate { state: Mutex::new(State { limit, inside: 0, waiting: 0, queues }), room, shares })
    }

    pub(super) fn enter(self: &Arc<Self>, class: usize) -> Entry {
        let class = class.min(self.shares.len() - 1);
        let mut state = self.lock();
        if state.inside < self.limit_of(class, state.limit) {
            state.inside += 1;
            return Entry::Inside(Slot(Some(Arc::clone(self))));
        }
        if state.waiting >= self.room {
            state.forget_those_gone();
        }
        if state.waiting >= self.room {
            return Entry::Full;
        }
        let (sender, receiver) = oneshot::channel();
        state.queues[class].push_back(sender);
        state.waiting += 1;
        Entry::Waiting(receiver)
    }

    pub(super) fn set_limit(self: &Arc<Self>, limit: usize) {
        self.lock().limit = limit;
        self.let_in();
    }

    pub(super) fn inside(&self) -> usize {
        self.lock().inside
    }

    pub(super) fn limit(&self) -> usize {
        self.lock().limit
    }

    fn is_idle(&self) -> bool {
        let state = self.lock();
        state.inside == 0 && state.waiting == 0
    }

    /// Whether nobody is inside or before it, and nobody but its keeper holds it.
    pub(super) fn is_forgettable(gate: &Arc<Self>) -> bool {
        Arc::strong_count(gate) == 1 && gate.is_idle()
    }

    /// What a class may use; of a limit above 0 never nothing.
    fn limit_of(&self, class: usize, limit: usize) -> usize {
        (limit * usize::from(self.shares[class])).div_ceil(100)
    }

    fn leave(self: &Arc<Self>) {
        self.lock().inside -= 1;
        self.let_in();
    }

    /// Highest class first, first come first.
    fn let_in(self: &Arc<Self>) {
        while let Some(sender) = self.next() {
            // One that gave up in this moment: its slot comes back, and lets the next one in.
            let _ = sender.send(Slot(Some(Arc::clone(self))));
        }
    }

    fn next(&self) -> Option<oneshot::Sender<Slot>> {
        let mut state = self.lock();
        for class in 0..self.shares.len() {
            if state.inside >= self.limit_of(class, state.limit) {
                continue;
            }
            while let Some(sender) = state.queues[class].pop_front() {
                state.waiting -= 1;
                if !sender.is_closed() {
                    state.inside += 1;
                    return Some(sender);
                }
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_those_gone(&mut self) {
        self.queues.iter_mut().for_each(|queue| queue.retain(|sender| !sender.is_closed()));
        self.waiting = self.queues.iter().map(VecDeque::len).sum();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(limit: usize, room: usize, shares: &[u8]) -> Arc<Gate> {
        Gate::new(limit, room, shares.into())
    }

    fn inside(gate: &Arc<Gate>, class: usize) -> Slot {
        match gate.enter(class) {
            Entry::Inside(slot) => slot,
            _ => panic!("there is room"),
        }
    }

    fn waiting(gate: &Arc<Gate>, class: usize) -> oneshot::Receiver<Slot> {
        match gate.enter(class) {
            Entry::Waiting(receiver) => receiver,
            _ => panic!("there is room to wait"),
        }
    }

    #[test]
    fn the_queue_is_bounded_and_in_order() {
        let gate = gate(1, 2, &[100]);
        let first = inside(&gate, 0);
        let (mut second, mut third) = (waiting(&gate, 0), waiting(&gate, 0));
        assert!(matches!(gate.enter(0), Entry::Full));
        drop(first);
        let second = second.try_recv().unwrap();
        assert!(third.try_recv().is_err());
        drop(second);
        drop(third.try_recv().unwrap());
        assert!(gate.is_idle());
    }

    #[test]
    fn who_gives_up_takes_no_place() {
        let gate = gate(1, 1, &[100]);
        let first = inside(&gate, 0);
        drop(waiting(&gate, 0));
        let mut second = waiting(&gate, 0);
        drop(first);
        // Let in, and gone before it could see that.
        let granted = second.try_recv().unwrap();
        let third = waiting(&gate, 0);
        drop(granted);
        drop(third);
        assert!(gate.is_idle());
        drop(inside(&gate, 0));
    }

    #[test]
    fn lower_classes_have_a_share_and_wait_behind() {
        let gate = gate(4, 4, &[100, 50]);
        let low = [inside(&gate, 1), inside(&gate, 1)];
        let mut later = waiting(&gate, 1);
        let high = [inside(&gate, 0), inside(&gate, 0)];
        let mut first = waiting(&gate, 0);
        drop(low);
        assert!(first.try_recv().is_ok());
        drop(high);
        assert!(later.try_recv().is_ok());
    }

    #[test]
    fn a_raised_limit_lets_in() {
        let gate = gate(0, 5, &[100]);
        let mut waiters: Vec<_> = (0..5).map(|_| waiting(&gate, 0)).collect();
        gate.set_limit(3);
        let slots: Vec<_> = waiters.iter_mut().filter_map(|it| it.try_recv().ok()).collect();
        assert_eq!((slots.len(), gate.inside()), (3, 3));
        gate.set_limit(1);
        drop(slots);
        assert_eq!(gate.inside(), 1);
    }
}
