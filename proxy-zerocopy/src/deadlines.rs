use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::Options;

/// 30 years, so that adding it to the clock cannot overflow; Tokio's own "far future".
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Which deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    Idle,
    Lifetime,
}

/// Notices that nothing has moved for a while, or that a stream has lived for long enough.
///
/// There is one timer for both. Progress only notes the time; the timer is moved to the new deadline
/// when it fires, so a busy stream touches it once per timeout instead of once per read.
#[derive(Debug)]
pub(crate) struct Deadlines {
    idle: Option<Duration>,
    lifetime: Option<Duration>,
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    timer: Pin<Box<Sleep>>,
    started_at: Instant,
    active_at: Instant,
    progress: u64,
}

impl Deadlines {
    pub(crate) fn new(options: &Options) -> Self {
        let capped = |limit: Option<Duration>| limit.map(|limit| limit.min(LONGEST));
        Self { idle: capped(options.idle_timeout), lifetime: capped(options.lifetime), armed: None }
    }

    /// Ready once `progress`, a number that grows with each move, has stood still for the idle
    /// timeout, or the lifetime is over. Both count from the first call.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>, progress: u64) -> Poll<Expired> {
        if self.idle.is_none() && self.lifetime.is_none() {
            return Poll::Pending;
        }
        let (idle, lifetime) = (self.idle, self.lifetime);
        let armed = self.armed.get_or_insert_with(|| Armed::new(idle, lifetime, progress));
        armed.note(progress);
        armed.poll_expired(cx, idle, lifetime)
    }
}

impl Armed {
    fn new(idle: Option<Duration>, lifetime: Option<Duration>, progress: u64) -> Self {
        let now = Instant::now();
        let (deadline, _) = earlier(now, now, idle, lifetime);
        Self { timer: Box::pin(sleep_until(deadline)), started_at: now, active_at: now, progress }
    }

    fn note(&mut self, progress: u64) {
        if self.progress != progress {
            self.progress = progress;
            self.active_at = Instant::now();
        }
    }

    fn poll_expired(
        &mut self,
        cx: &mut Context<'_>,
        idle: Option<Duration>,
        lifetime: Option<Duration>,
    ) -> Poll<Expired> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let (deadline, expired) = earlier(self.active_at, self.started_at, idle, lifetime);
            if deadline <= Instant::now() {
                return Poll::Ready(expired);
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

/// The deadline that passes first, and what it means.
fn earlier(
    active_at: Instant,
    started_at: Instant,
    idle: Option<Duration>,
    lifetime: Option<Duration>,
) -> (Instant, Expired) {
    let silent = (active_at + idle.unwrap_or(LONGEST), Expired::Idle);
    let old = (started_at + lifetime.unwrap_or(LONGEST), Expired::Lifetime);
    if old.0 < silent.0 { old } else { silent }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn progress_postpones_the_end() {
        let start = Instant::now();
        let mut idle = Deadlines::new(&Options::new().idle_timeout(10 * S));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(idle.poll_expired(&mut cx, 0).is_pending());
        tokio::time::advance(9 * S).await;
        assert!(idle.poll_expired(&mut cx, 1).is_pending());
        assert_eq!(poll_fn(|cx| idle.poll_expired(cx, 1)).await, Expired::Idle);
        assert_eq!(start.elapsed(), 19 * S);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_postpones_the_end_of_the_lifetime() {
        for idle in [None, Some(10 * S)] {
            let start = Instant::now();
            let mut both = Deadlines::new(&Options::new().idle_timeout(idle).lifetime(25 * S));
            let mut cx = Context::from_waker(Waker::noop());
            for progress in 0..3 {
                assert!(both.poll_expired(&mut cx, progress).is_pending());
                tokio::time::advance(8 * S).await;
            }
            assert_eq!(poll_fn(|cx| both.poll_expired(cx, 3)).await, Expired::Lifetime);
            assert_eq!(start.elapsed(), 25 * S);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_there_is_no_timer() {
        let mut none = Deadlines::new(&Options::new());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(none.poll_expired(&mut cx, 0).is_pending());
        assert!(none.armed.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_limit_does_not_overflow() {
        let mut long = Deadlines::new(&Options::new().idle_timeout(Duration::MAX).lifetime(Duration::MAX));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(long.poll_expired(&mut cx, 0).is_pending());
    }
}
