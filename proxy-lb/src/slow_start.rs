//! A backend that returns gets its share little by little.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proxy_core::{Backend, BackendSet, BackendState, Instant, SetEvent};
use tokio::sync::Notify;

/// How often shares change in a window: each change makes selectors rebuild their tables.
const STEPS: u32 = 20;

/// A backend that returns, or joins later than the others, gets its share little by little: caches are
/// cold, pools empty, code not yet compiled.
///
/// Its share grows from [`min_percent`](Self::min_percent) over the window, as Envoy has it: by
/// `(elapsed / window) ^ (1 / aggression)`. Selectors that choose by [`Backend::share`] heed it.
///
/// ```
/// use std::time::Duration;
/// use proxy_core::Cluster;
/// use proxy_lb::{RoundRobin, SlowStart};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::builder(RoundRobin::new()).backend("127.0.0.1:9001".parse()?).build();
/// let warming = tokio::spawn(SlowStart::new(Duration::from_secs(30)).run(cluster.backends().clone()));
/// # warming.abort();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SlowStart {
    window: Duration,
    aggression: f64,
    min_percent: u32,
}

impl SlowStart {
    /// Over this window, in a straight line, from a tenth on.
    pub fn new(window: Duration) -> Self {
        SlowStart { window, aggression: 1.0, min_percent: 10 }
    }

    /// Above 1 the share grows fast at first, below 1 slowly. Default 1.
    #[must_use]
    pub fn aggression(mut self, aggression: f64) -> Self {
        self.aggression = if aggression > 0.0 { aggression } else { 1.0 };
        self
    }

    /// The least share, in percent. Default 10: below, too few requests come to warm anything.
    #[must_use]
    pub fn min_percent(mut self, percent: u32) -> Self {
        self.min_percent = percent.min(100);
        self
    }

    /// Warms backends of this set up until the future is dropped; those that are warming up then have
    /// their whole share at once.
    ///
    /// # Cancel safety
    /// Dropping it leaves every backend with its whole share.
    pub async fn run(self, set: BackendSet) {
        let warming = Arc::new(Warming::default());
        let (heard, first) = (Arc::clone(&warming), self.ramp(Duration::ZERO));
        // Before the change shows, so that not one request comes too early.
        let _watch = set.watch(move |event| heard.hear(event, first));
        let _rest = WholeShares(&warming, &set);
        loop {
            match warming.is_empty() {
                true => warming.begun.notified().await,
                false => tokio::time::sleep(self.step()).await,
            }
            if warming.advance(Instant::now(), |elapsed| self.ramp(elapsed)) {
                set.refresh();
            }
        }
    }

    fn step(&self) -> Duration {
        (self.window / STEPS).max(Duration::from_millis(50))
    }

    /// The share of the weight after this time, in 256ths.
    fn ramp(&self, elapsed: Duration) -> u32 {
        let part = elapsed.as_secs_f64() / self.window.as_secs_f64().max(1e-9);
        let part = part.min(1.0).powf(1.0 / self.aggression).max(f64::from(self.min_percent) / 100.0);
        ((part * 256.0) as u32).max(1)
    }
}

/// Who is warming up, and since when.
#[derive(Default)]
struct Warming {
    since: Mutex<Vec<(Backend, Instant)>>,
    begun: Notify,
}

impl Warming {
    fn lock(&self) -> MutexGuard<'_, Vec<(Backend, Instant)>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn hear(&self, event: &SetEvent, first: u32) {
        match event {
            SetEvent::Changed(backend, BackendState::Unhealthy) => self.judge(backend, first),
            SetEvent::Changed(backend, _) if backend.state() != BackendState::Healthy => self.end(backend),
            SetEvent::Joined(backend) => self.judge(backend, first),
            SetEvent::Left(backend) => self.end(backend),
            _ => {}
        }
    }

    fn judge(&self, backend: &Backend, first: u32) {
        if backend.state() == BackendState::Healthy {
            backend.set_ramp(first);
            let mut since = self.lock();
            since.retain(|(known, _)| known != backend);
            since.push((backend.clone(), Instant::now()));
            drop(since);
            self.begun.notify_one();
        }
    }

    fn end(&self, backend: &Backend) {
        self.lock().retain(|(known, _)| known != backend);
        backend.set_ramp(256);
    }

    /// Sets every share anew; says whether any changed.
    fn advance(&self, now: Instant, ramp: impl Fn(Duration) -> u32) -> bool {
        let mut since = self.lock();
        let before = since.len();
        for (backend, begun) in since.iter() {
            backend.set_ramp(ramp(now.saturating_duration_since(*begun)));
        }
        since.retain(|(_, begun)| ramp(now.saturating_duration_since(*begun)) < 256);
        before > 0
    }
}

/// Gives everyone their whole share in the end.
struct WholeShares<'a>(&'a Warming, &'a BackendSet);

impl Drop for WholeShares<'_> {
    fn drop(&mut self) {
        let rest = std::mem::take(&mut *self.0.lock());
        for (backend, _) in &rest {
            backend.set_ramp(256);
        }
        if !rest.is_empty() {
            self.1.refresh();
        }
    }
}

impl fmt::Debug for Warming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warming").field("since", &self.since).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::{HealthSource, Verdict};

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn report(set: &BackendSet, id: &str, state: BackendState) {
        set.report(&set.get(id).unwrap(), Verdict::new(HealthSource::Check, state, "test"));
    }

    /// Shares of the whole, in percent, in the order of the set.
    fn shares(set: &BackendSet) -> Vec<u32> {
        let percent = |backend: &Backend| u64::from(backend.share()) * 100 / u64::from(backend.weight() << 16);
        set.backends().iter().map(|backend| percent(backend) as u32).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_returns_gets_its_share_little_by_little() {
        let set = BackendSet::new(["a:1", "b:1"].map(|id| Backend::new(id.parse().unwrap())));
        let warming = tokio::spawn(SlowStart::new(20 * S).run(set.clone()));
        tokio::task::yield_now().await;
        assert_eq!(shares(&set), [100, 100]);
        report(&set, "b:1", BackendState::Unhealthy);
        tokio::time::sleep(100 * S).await;
        report(&set, "b:1", BackendState::Healthy);
        assert_eq!(shares(&set), [100, 9], "not one request comes too early");
        let mut changes = set.changes();
        tokio::time::sleep(5 * S + S / 2).await;
        assert_eq!(shares(&set), [100, 25]);
        changes.changed().await; // selectors were told
        tokio::time::sleep(5 * S).await;
        assert_eq!(shares(&set), [100, 50]);
        // It fails again on the way: it begins anew.
        report(&set, "b:1", BackendState::Unhealthy);
        report(&set, "b:1", BackendState::Healthy);
        assert_eq!(shares(&set), [100, 9]);
        tokio::time::sleep(21 * S).await;
        assert_eq!(shares(&set), [100, 100]);
        // Who joins later warms up too; who is let go at once has it all.
        set.insert(Backend::builder("c:1".parse().unwrap()).weight(3).build());
        tokio::time::sleep(10 * S + S / 2).await;
        assert_eq!(shares(&set), [100, 100, 50]);
        warming.abort();
        assert!(warming.await.is_err());
        assert_eq!(shares(&set), [100, 100, 100]);
    }

    #[test]
    fn the_curve_bends_by_its_aggression() {
        let check = |aggression, percent, expected: [u32; 5]| {
            let slow = SlowStart::new(100 * S).aggression(aggression).min_percent(percent);
            assert_eq!([0, 25, 50, 75, 100].map(|second| slow.ramp(second * S)), expected, "{aggression}");
        };
        check(1.0, 10, [25, 64, 128, 192, 256]);
        check(2.0, 10, [25, 128, 181, 221, 256]);
        check(0.5, 10, [25, 25, 64, 144, 256]);
        check(1.0, 0, [1, 64, 128, 192, 256]);
        check(1.0, 100, [256, 256, 256, 256, 256]);
    }
}
