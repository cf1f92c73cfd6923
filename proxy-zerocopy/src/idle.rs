use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// 30 years, so that adding it to the clock cannot overflow; Tokio's own "far future".
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Notices that nothing has moved for a while.
///
/// There is one timer. Progress only notes the time; the timer is moved to the new deadline when
/// it fires, so a busy stream touches it once per timeout instead of once per read.
#[derive(Debug)]
pub(crate) struct Idle {
    limit: Option<Duration>,
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    timer: Pin<Box<Sleep>>,
    active_at: Instant,
    progress: u64,
}

impl Idle {
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self { limit: limit.map(|limit| limit.min(LONGEST)), armed: None }
    }

    /// Ready once `progress`, a number that grows with each move, has stood still for the limit.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>, progress: u64) -> Poll<()> {
        let Some(limit) = self.limit else {
            return Poll::Pending;
        };
        let armed = self.armed.get_or_insert_with(|| Armed::new(limit, progress));
        armed.note(progress);
        armed.poll_expired(cx, limit)
    }
}

impl Armed {
    fn new(limit: Duration, progress: u64) -> Self {
        Self { timer: Box::pin(sleep(limit)), active_at: Instant::now(), progress }
    }

    fn note(&mut self, progress: u64) {
        if self.progress != progress {
            self.progress = progress;
            self.active_at = Instant::now();
        }
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let deadline = self.active_at + limit;
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn progress_postpones_the_end() {
        let start = Instant::now();
        let mut idle = Idle::new(Some(Duration::from_secs(10)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(idle.poll_expired(&mut cx, 0).is_pending());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(idle.poll_expired(&mut cx, 1).is_pending());
        poll_fn(|cx| idle.poll_expired(cx, 1)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(19));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_there_is_no_timer() {
        let mut idle = Idle::new(None);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(idle.poll_expired(&mut cx, 0).is_pending());
        assert!(idle.armed.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_limit_does_not_overflow() {
        let mut idle = Idle::new(Some(Duration::MAX));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(idle.poll_expired(&mut cx, 0).is_pending());
    }
}
