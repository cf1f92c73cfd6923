//! Load without requests, for tests of selectors.

use std::time::Duration;

use crate::{Attempt, AttemptResult, Backend};

/// An attempt at a backend that runs until this is dropped: it counts as in flight.
///
/// ```
/// use proxy_core::{Backend, testing::Busy};
///
/// let backend = Backend::new("a:1".parse()?);
/// let attempts = [Busy::with(&backend), Busy::with(&backend)];
/// assert_eq!(backend.in_flight(), 2);
/// drop(attempts);
/// assert_eq!(backend.in_flight(), 0);
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Debug)]
pub struct Busy(Backend);

impl Busy {
    /// One more attempt in flight.
    pub fn with(backend: &Backend) -> Self {
        backend.begin();
        Busy(backend.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What [`Selector::on_outcome`](crate::Selector::on_outcome) is told of an attempt whose first byte,
/// if it had one, came when it ended.
pub fn attempt(result: AttemptResult, total: Duration) -> Attempt {
    let answered = matches!(result, AttemptResult::Response(_));
    Attempt::new(result, answered.then_some(total), total)
}
