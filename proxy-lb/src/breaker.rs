//! A circuit breaker for each backend.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use proxy_core::{Attempt, Backend, BackendSet, BackendState, Breaker, BreakerPermit, HealthSource, Instant, Verdict};
use tokio::sync::mpsc;

use crate::outlier::result;
use crate::registry::Registry;

mod circuit;
mod settings;

pub use settings::BreakerSettings;

use circuit::{Circuit, Pass, Turn};

/// News that wait to be told, at most. What is lost then shows in no status; the breaker works all the same.
const NEWS: usize = 1024;

/// A circuit breaker for each backend, and a limit to what one may have to do at a time.
///
/// Failures in a row open it: the backend gets nothing. After a while it is half open: a few requests are
/// let through at a time, whose success closes it, and whose failure opens it for twice as long. Give a
/// clone to [`ClusterBuilder::breaker`](proxy_core::ClusterBuilder::breaker), and [`run`](Self::run)
/// another, which shows open circuits in the backends' status, so that selectors pass them over at once.
/// A clone is a handle to the same breaker.
///
/// Connections, and requests that wait for one, are the pool's to limit:
/// [`max_open_per_backend`](proxy_core::PoolBuilder::max_open_per_backend) and
/// [`max_pending`](proxy_core::PoolBuilder::max_pending).
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::{BreakerSettings, CircuitBreaker, RoundRobin};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = CircuitBreaker::new(BreakerSettings::default());
/// let cluster = Cluster::builder(RoundRobin::new())
///     .backend("127.0.0.1:9001".parse()?)
///     .breaker(breaker.clone())
///     .build();
/// let telling = tokio::spawn(breaker.run(cluster.backends().clone()));
/// # telling.abort();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CircuitBreaker(Arc<Shared>);

struct Shared {
    settings: BreakerSettings,
    entries: Registry<Entry>,
    news: mpsc::Sender<News>,
    inbox: tokio::sync::Mutex<mpsc::Receiver<News>>,
}

/// A circuit that opened until then, or closed.
type News = (Backend, Option<Instant>);

/// What is known of one backend.
#[derive(Debug)]
struct Entry {
    requests: AtomicU32,
    retries: AtomicU32,
    /// Failures in a row while the circuit is closed.
    failures: AtomicU32,
    /// Whether the circuit is closed, so that the common case needs no lock.
    closed: AtomicBool,
    circuit: Mutex<Circuit>,
}

impl CircuitBreaker {
    /// A breaker with these limits.
    pub fn new(settings: BreakerSettings) -> Self {
        let (news, inbox) = mpsc::channel(NEWS);
        let inbox = tokio::sync::Mutex::new(inbox);
        CircuitBreaker(Arc::new(Shared { settings, entries: Registry::default(), news, inbox }))
    }

    /// Shows open circuits in the status of the backends of this set, until the future is dropped. A
    /// breaker is for one set: a second run waits for the first to end.
    ///
    /// # Cancel safety
    /// Dropping it takes back what it said of backends; circuits go on by themselves.
    pub async fn run(self, set: BackendSet) {
        let mut news = self.0.inbox.lock().await;
        let mut open = Open { set: &set, until: Vec::new() };
        let mut changes = set.changes();
        loop {
            tokio::select! {
                Some(told) = news.recv() => open.hear(told),
                () = open.next_end() => open.half_open(Instant::now()),
                () = changes.changed() => self.0.entries.retain(&set.backends()),
            }
        }
    }

    fn entry(&self, backend: &Backend) -> Arc<Entry> {
        self.0.entries.of(backend, || Entry {
            requests: AtomicU32::new(0),
            retries: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            closed: AtomicBool::new(true),
            circuit: Mutex::new(Circuit::new(&self.0.settings)),
        })
    }

    fn tell(&self, backend: &Backend, turn: Turn) {
        let until = match turn {
            Turn::None => return,
            Turn::Opened(until) => Some(until),
            Turn::Closed => None,
        };
        let _ = self.0.news.try_send((backend.clone(), until));
    }
}

impl Breaker for CircuitBreaker {
    fn admit(&self, backend: &Backend, number: u32, now: Instant) -> Option<BreakerPermit> {
        let (entry, settings) = (self.entry(backend), &self.0.settings);
        let retry = number > 1;
        if !take(&entry.requests, settings.max_requests) {
            return None;
        }
        if retry && !take(&entry.retries, settings.max_retries) {
            give(&entry.requests);
            return None;
        }
        match entry.pass(now) {
            Some(pass) => Some(BreakerPermit::new(pass.number())),
            None => {
                entry.leave(retry);
                None
            }
        }
    }

    fn permits(&self, backend: &Backend, number: u32, now: Instant) -> bool {
        let (entry, settings) = (self.entry(backend), &self.0.settings);
        let free = |count: &AtomicU32, limit: Option<u32>| limit.is_none_or(|max| count.load(Ordering::Relaxed) < max);
        let open = entry.closed.load(Ordering::Relaxed) || entry.circuit().permits(now);
        open && free(&entry.requests, settings.max_requests)
            && (number < 2 || free(&entry.retries, settings.max_retries))
    }

    fn on_end(&self, backend: &Backend, permit: BreakerPermit, attempt: &Attempt) {
        let entry = self.entry(backend);
        entry.leave(attempt.number > 1);
        let success = result::of(attempt).map(|verdict| verdict == result::Verdict::Success);
        let turn = entry.end(Pass::from_number(permit.number()), success, &self.0.settings);
        self.tell(backend, turn);
    }
}

impl Entry {
    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, now: Instant) -> Option<Pass> {
        if self.closed.load(Ordering::Relaxed) {
            return Some(Pass::Free);
        }
        self.circuit().pass(now)
    }

    fn leave(&self, retry: bool) {
        give(&self.requests);
        if retry {
            give(&self.retries);
        }
    }

    /// An attempt ended; `None` says nothing about the backend.
    fn end(&self, pass: Pass, success: Option<bool>, settings: &BreakerSettings) -> Turn {
        if let Pass::Free = pass {
            return self.end_free(success, settings);
        }
        let mut circuit = self.circuit();
        let turn = circuit.end(pass, success, Instant::now());
        if turn == Turn::Closed {
            self.failures.store(0, Ordering::Relaxed);
            self.closed.store(true, Ordering::Relaxed);
        }
        turn
    }

    /// One that began while the circuit was closed.
    fn end_free(&self, success: Option<bool>, settings: &BreakerSettings) -> Turn {
        match (success, settings.failures) {
            (Some(true), _) => {
                if self.failures.load(Ordering::Relaxed) != 0 {
                    self.failures.store(0, Ordering::Relaxed);
                }
                Turn::None
            }
            (Some(false), Some(limit)) if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= limit => {
                let mut circuit = self.circuit();
                let turn = circuit.open(Instant::now());
                self.closed.store(false, Ordering::Relaxed);
                turn
            }
            _ => Turn::None,
        }
    }
}

/// Takes one place under the limit.
fn take(count: &AtomicU32, limit: Option<u32>) -> bool {
    let before = count.fetch_add(1, Ordering::Relaxed);
    let free = limit.is_none_or(|max| before < max);
    if !free {
        give(count);
    }
    free
}

fn give(count: &AtomicU32) {
    count.fetch_sub(1, Ordering::Relaxed);
}

/// Open circuits as the set is told of them.
struct Open<'a> {
    set: &'a BackendSet,
    until: Vec<(Backend, Instant)>,
}

impl Open<'_> {
    fn hear(&mut self, (backend, until): News) {
        self.until.retain(|(known, _)| *known != backend);
        let Some(until) = until else {
            return self.report(&backend, BackendState::Healthy, "its circuit closed");
        };
        let time = until.saturating_duration_since(Instant::now());
        tracing::warn!(backend = backend.id(), ?time, "circuit open");
        self.report(&backend, BackendState::Unhealthy, "its circuit is open");
        self.until.push((backend, until));
    }

    async fn next_end(&self) {
        match self.until.iter().map(|(_, until)| *until).min() {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// It is a candidate again, and the breaker lets only a few requests through.
    fn half_open(&mut self, now: Instant) {
        let (over, rest) = self.until.drain(..).partition(|(_, until)| *until <= now);
        self.until = rest;
        for (backend, _) in over {
            self.report(&backend, BackendState::Healthy, "its circuit is half open");
        }
    }

    fn report(&self, backend: &Backend, state: BackendState, reason: &str) {
        self.set.report(backend, Verdict::new(HealthSource::Breaker, state, reason));
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        for (backend, _) in std::mem::take(&mut self.until) {
            self.report(&backend, BackendState::Healthy, "its circuit is no longer followed");
        }
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
