//! One coarse timer per connection, armed lazily.

use std::pin::Pin;
use std::task::{Context as Task, Poll, Waker};

use tokio::time::Sleep;

use crate::clock::Instant;

/// Wakes its task at a deadline that mostly moves later. A timer armed for an earlier instant is left
/// alone: it fires, finds the deadline moved, and is armed again. So a request costs no timer.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    waker: Option<Waker>,
}

impl Timer {
    /// Ready once `at` has passed; until then the task is woken for it.
    pub(crate) fn poll_at(&mut self, cx: &mut Task<'_>, at: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        let waits_for_us = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if waits_for_us && sleep.deadline() <= at && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        if !waits_for_us {
            self.waker = Some(cx.waker().clone());
        }
        sleep.as_mut().poll(cx)
    }
}
