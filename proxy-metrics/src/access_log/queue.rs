//! Lines that wait to be written.

use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::sink::Sink;
use crate::metrics::LogCounts;

/// Lines that wait to be written: two blocks of memory that change places, so that those who log hold the
/// lock for one copy of their line, and the writer for none.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes those who wait for it.
    idle: Condvar,
    capacity: usize,
    /// How long a line may wait for others.
    pause: Duration,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    writing: bool,
    urgent: bool,
    reopen: bool,
    closed: bool,
}

impl Queue {
    pub(super) fn new(capacity: usize, pause: Duration) -> Self {
        Queue { state: Mutex::default(), work: Condvar::new(), idle: Condvar::new(), capacity, pause }
    }

    /// Takes a line; `false` where there is no room for it. It does not wait for the writer.
    pub(super) fn push(&self, line: &[u8]) -> bool {
        let mut state = self.lock();
        let (before, after) = (state.lines.len(), state.lines.len() + line.len());
        if after > self.capacity {
            return false;
        }
        state.lines.extend_from_slice(line);
        let half = self.capacity / 2;
        let full = before < half && after >= half;
        state.urgent |= full;
        drop(state);
        // One call of the system for each batch, not for each line.
        if before == 0 || full {
            self.work.notify_one();
        }
        true
    }

    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
        self.work.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    pub(super) fn flush(&self, within: Duration) -> bool {
        let mut state = self.lock();
        state.urgent = true;
        self.work.notify_one();
        let busy = |state: &mut State| state.writing || state.reopen || !state.lines.is_empty();
        let waited = self.idle.wait_timeout_while(state, within, busy);
        let (_state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }

    /// Writes what comes until the queue is closed and empty. The business of its own thread.
    pub(super) fn write_to(&self, mut sink: Sink, counts: &LogCounts) {
        let mut batch = Vec::new();
        while let Some(reopen) = self.next(&mut batch) {
            let lost = sink.write(&batch);
            counts.dropped.fetch_add(lost, Ordering::Relaxed);
            if reopen {
                sink.reopen();
            }
            self.lock().writing = false;
            self.idle.notify_all();
        }
    }

    /// Waits for lines and swaps them for `batch`; says whether the sink is to be opened anew behind them.
    /// `None`: it is closed, and nothing is left.
    fn next(&self, batch: &mut Vec<u8>) -> Option<bool> {
        batch.clear();
        // A burst is over: its memory goes back.
        batch.shrink_to(self.capacity / 8);
        let nothing = |state: &mut State| state.lines.is_empty() && !state.reopen && !state.closed;
        let state = self.work.wait_while(self.lock(), nothing).unwrap_or_else(PoisonError::into_inner);
        let can_wait = |state: &mut State| !state.urgent && !state.reopen && !state.closed;
        let waited = self.work.wait_timeout_while(state, self.pause, can_wait);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed && !state.reopen && state.lines.is_empty() {
            return None;
        }
        std::mem::swap(&mut state.lines, batch);
        state.writing = true;
        state.urgent = false;
        Some(std::mem::take(&mut state.reopen))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
