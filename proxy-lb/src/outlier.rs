//! Outlier detection: backends that fail requests are left alone for a while.

use std::fmt;
use std::sync::Arc;

use proxy_core::{
    Attempt, Backend, BackendSet, BackendState, Candidates, HealthSource, Instant, SelectionContext, Selector, Verdict,
};
use tokio::sync::mpsc;

use crate::registry::Registry;

mod ejections;
mod latency;
pub(crate) mod result;
mod settings;
mod success_rate;
mod tally;

pub use settings::{LatencyComparison, OutlierSettings, SuccessRate};

use ejections::Ejections;
use tally::{Sample, Tally};

/// Suspects that wait to be judged, at most: there is one for several failures in a row.
const SUSPECTS: usize = 1024;

/// Sees from traffic which backends fail, and ejects them from their set for a while.
///
/// A backend is ejected for failures in a row, for a success rate far below that of the others (Envoy's
/// algorithm), or for being much slower than they are. Each time it stays out longer. How requests end is
/// learnt through the selector, which [`around`](Self::around) wraps; [`run`](Self::run) ejects and lets
/// return. A clone is a handle to the same detector.
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::{OutlierDetector, OutlierSettings, RoundRobin};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let detector = OutlierDetector::new(OutlierSettings::default());
/// let cluster = Cluster::builder(detector.around(RoundRobin::new())).backend("127.0.0.1:9001".parse()?).build();
/// let detecting = tokio::spawn(detector.run(cluster.backends().clone()));
/// # detecting.abort();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OutlierDetector(Arc<Shared>);

struct Shared {
    settings: OutlierSettings,
    tallies: Registry<Tally>,
    suspects: mpsc::Sender<(Backend, String)>,
    judge: tokio::sync::Mutex<mpsc::Receiver<(Backend, String)>>,
}

impl OutlierDetector {
    /// A detector with these thresholds.
    pub fn new(settings: OutlierSettings) -> Self {
        let (suspects, judge) = mpsc::channel(SUSPECTS);
        let judge = tokio::sync::Mutex::new(judge);
        OutlierDetector(Arc::new(Shared { settings, tallies: Registry::default(), suspects, judge }))
    }

    /// The same selector, and this detector sees how its choices end: a few atomic additions for each.
    pub fn around<S: Selector>(&self, selector: S) -> Watched<S> {
        Watched { selector, detector: self.clone() }
    }

    /// Ejects backends of this set and lets them return, until the future is dropped; then those that are
    /// out return. A detector is for one set: a second run waits for the first to end.
    ///
    /// # Cancel safety
    /// Dropping it ends all ejections.
    pub async fn run(self, set: BackendSet) {
        let shared = &self.0;
        let mut suspects = shared.judge.lock().await;
        let mut court = Court::new(shared, &set);
        let mut changes = set.changes();
        let mut ticks = tokio::time::interval_at(Instant::now() + shared.settings.interval, shared.settings.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some((backend, reason)) = suspects.recv() => court.eject(&backend, &reason),
                () = court.next_return() => court.release(),
                _ = ticks.tick() => court.compare(),
                () = changes.changed() => {
                    let members = set.backends();
                    shared.tallies.retain(&members);
                    court.ejections.retain(&members);
                }
            }
        }
    }

    fn saw(&self, backend: &Backend, attempt: &Attempt) {
        let Some(result) = result::of(attempt) else { return };
        let tally = self.0.tallies.of(backend, Tally::default);
        if let Some(reason) = tally.record(result, attempt.first_byte, &self.0.settings) {
            // When the queue is full many are suspected, and this one will be again.
            let _ = self.0.suspects.try_send((backend.clone(), reason));
        }
    }
}

/// Who is out, and the set that has to know.
struct Court<'a> {
    shared: &'a Shared,
    set: &'a BackendSet,
    ejections: Ejections,
}

impl<'a> Court<'a> {
    fn new(shared: &'a Shared, set: &'a BackendSet) -> Self {
        Court { shared, set, ejections: Ejections::new(&shared.settings) }
    }

    fn eject(&mut self, backend: &Backend, reason: &str) {
        let members = self.set.backends();
        if !members.contains(backend) {
            return;
        }
        match self.ejections.eject(backend, members.len(), Instant::now()) {
            Some(time) => {
                tracing::warn!(backend = backend.id(), reason, ?time, "ejected");
                // It has paid for what it did so far: on its return only what comes then counts.
                self.shared.tallies.of(backend, Tally::default).take();
                let reason = format!("{reason}; for {time:?}");
                self.set.report(backend, Verdict::new(HealthSource::Outlier, BackendState::Unhealthy, reason));
            }
            None => tracing::debug!(backend = backend.id(), reason, "not ejected: it is out, or too many are"),
        }
    }

    async fn next_return(&self) {
        match self.ejections.next_return() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    fn release(&mut self) {
        let returned = self.ejections.release(Instant::now());
        self.let_return(returned, "its ejection ended");
    }

    fn let_return(&self, backends: Vec<Backend>, reason: &str) {
        let verdict = Verdict::new(HealthSource::Outlier, BackendState::Healthy, reason);
        for backend in &backends {
            tracing::info!(backend = backend.id(), reason, "returns");
        }
        self.set.report_all(backends.into_iter().map(|backend| (backend, verdict.clone())));
    }

    /// Compares the backends by what they did since the last time.
    fn compare(&mut self) {
        self.ejections.forgive();
        let samples: Vec<(Backend, Sample)> =
            self.shared.tallies.all().iter().map(|(backend, tally)| (backend.clone(), tally.take())).collect();
        let mut outliers = success_rate::outliers(&samples, &self.shared.settings);
        outliers.extend(latency::outliers(&samples, &self.shared.settings));
        for (backend, reason) in outliers {
            self.eject(&backend, &reason);
        }
    }
}

impl Drop for Court<'_> {
    /// Nobody would let them return.
    fn drop(&mut self) {
        let out = self.ejections.all();
        self.let_return(out, "outlier detection ended");
    }
}

/// A selector whose choices an [`OutlierDetector`] follows.
#[derive(Debug)]
pub struct Watched<S> {
    selector: S,
    detector: OutlierDetector,
}

impl<S: Selector> Selector for Watched<S> {
    fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend> {
        self.selector.select(candidates, context)
    }

    fn on_change(&self, backends: &[Backend]) {
        self.selector.on_change(backends);
    }

    fn on_outcome(&self, backend: &Backend, attempt: &Attempt) {
        self.detector.saw(backend, attempt);
        self.selector.on_outcome(backend, attempt);
    }
}

impl fmt::Debug for OutlierDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutlierDetector").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
