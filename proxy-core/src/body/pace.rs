//! How slow a body may be.

use std::task::{Context as Task, Poll};
use std::time::Duration;

use crate::clock::Instant;
use crate::http1::timer::Timer;

/// How slow a body may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) idle: Duration,
    /// Bytes per second over the body's whole time, after the first `idle`.
    pub(crate) min_rate: u64,
}

/// Holds a body to its pace. The clock is asked only once it had to be waited for.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    /// When reading first had to wait, and when it last brought something.
    waiting: Option<(Instant, Instant)>,
    read: u64,
    timer: Timer,
}

impl Pacer {
    pub(crate) fn new(pace: Pace) -> Self {
        Pacer { pace, waiting: None, read: 0, timer: Timer::default() }
    }

    /// So many bytes came.
    pub(crate) fn progress(&mut self, count: u64) {
        self.read += count;
        if let Some((_, last)) = &mut self.waiting {
            *last = Instant::now();
        }
    }

    /// Ready when it has been waited for longer than the pace allows.
    pub(crate) fn poll(&mut self, cx: &mut Task<'_>) -> Poll<()> {
        let (started, last) = *self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            (now, now)
        });
        let deadline = (last + self.pace.idle).min(self.rate_deadline(started));
        self.timer.poll_at(cx, deadline)
    }

    /// When the bytes read so far no longer make the minimum rate.
    fn rate_deadline(&self, started: Instant) -> Instant {
        let paid = self.read.checked_div(self.pace.min_rate).unwrap_or(u64::from(u32::MAX));
        started + self.pace.idle + Duration::from_secs(paid.min(u64::from(u32::MAX)))
    }
}
