//! Whether Redis is worth asking.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proxy_core::Instant;

/// Counts failures in a row. After some it is an outage: then only one asks now and then, so that the
/// others need not wait for the deadline.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// The common case is read without the lock.
    on: AtomicBool,
    /// There was a failure since the last success.
    failing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// When the next one may ask.
    next: Option<Instant>,
}

/// One slow answer is none.
const FAILURES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Outage {
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Whether to ask. In an outage it says so to one, and to the next only after a pause.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        if !self.is_on() {
            return true;
        }
        let mut state = self.lock();
        match state.next {
            Some(next) if now < next => false,
            _ => {
                state.next = Some(now + pause(state.failures));
                true
            }
        }
    }

    /// Takes in how it went; says if an outage began (`true`) or ended.
    pub(super) fn note(&self, ok: bool, now: Instant) -> Option<bool> {
        if ok && !self.is_on() && self.failing.swap(false, Ordering::Relaxed) {
            self.lock().failures = 0;
        }
        if ok && !self.is_on() {
            return None;
        }
        let mut state = self.lock();
        if ok {
            *state = State::default();
            return self.on.swap(false, Ordering::Relaxed).then_some(false);
        }
        self.failing.store(true, Ordering::Relaxed);
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES {
            return None;
        }
        state.next = Some(now + pause(state.failures));
        (!self.on.swap(true, Ordering::Relaxed)).then_some(true)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(FAILURES).min(10);
    (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_begin_an_outage_and_one_success_ends_it() {
        let outage = Outage::default();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!([(); 3].map(|()| outage.note(false, start)), [None, None, Some(true)]);
        assert!(!outage.may_ask(after(49)));
        // One asks, the others do not.
        assert_eq!([(); 2].map(|()| outage.may_ask(after(50))), [true, false]);
        assert_eq!(outage.note(false, after(50)), None);
        assert!(!outage.may_ask(after(149)));
        assert!(outage.may_ask(after(150)));
        assert_eq!(outage.note(true, after(151)), Some(false));
        assert!(outage.may_ask(after(151)) && outage.may_ask(after(151)));
    }

    #[test]
    fn pauses_are_bounded() {
        assert_eq!(pause(FAILURES), FIRST_PAUSE);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
