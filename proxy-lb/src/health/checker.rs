//! Asks every backend of a set, and tells the set.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use proxy_core::{Backend, BackendSet, BackendState, HealthSource, Instant, Verdict};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::pace::{Pace, Slots};
use super::streak::{Streak, Turn};
use super::{Check, CheckFailure, HealthSettings, StartState};

/// Verdicts that are told to the set as one change, at most.
const BATCH: usize = 4096;

/// Asks every backend of a set again and again, and tells the set who is well.
///
/// It runs in the caller's runtime, a small task for each backend, and follows the set as backends come
/// and go. It asks those in maintenance too, so that it is known how they are when they return.
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::{HealthChecker, HealthSettings, HttpCheck, RoundRobin};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::builder(RoundRobin::new()).backend("127.0.0.1:9001".parse()?).build();
/// let checker = HealthChecker::new(cluster.backends().clone(), HttpCheck::get("/healthz")?, HealthSettings::default());
/// let checking = tokio::spawn(checker.run());
/// # checking.abort();
/// # Ok(())
/// # }
/// ```
pub struct HealthChecker {
    set: BackendSet,
    check: Box<dyn Check>,
    settings: HealthSettings,
}

/// What a task found out about its backend.
type Found = (Backend, Verdict);

impl HealthChecker {
    /// Will ask the backends of this set in this way.
    pub fn new(set: BackendSet, check: impl Check, settings: HealthSettings) -> Self {
        HealthChecker { set, check: Box::new(check), settings }
    }

    /// Asks until the future is dropped; what it said of backends stands.
    ///
    /// # Cancel safety
    /// Dropping it stops all checks.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn run(self) {
        let (tell, mut found) = mpsc::unbounded_channel();
        let mut changes = self.set.changes();
        let mut tasks = Tasks::new(self.check, self.settings, tell);
        let mut batch = Vec::new();
        loop {
            tasks.follow(&self.set);
            tokio::select! {
                () = changes.changed() => {}
                _ = found.recv_many(&mut batch, BATCH) => { self.set.report_all(batch.drain(..)); }
                Some(ended) = tasks.running.join_next() => tasks.tidy(ended.is_err_and(|error| error.is_panic())),
            }
        }
    }
}

/// The tasks that ask, one for each backend.
struct Tasks {
    asker: Arc<Asker>,
    running: JoinSet<()>,
    by_backend: HashMap<Backend, AbortHandle>,
    seed: u64,
}

impl Tasks {
    fn new(check: Box<dyn Check>, settings: HealthSettings, tell: mpsc::UnboundedSender<Found>) -> Self {
        let seed = settings.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let asker = Arc::new(Asker { slots: Slots::new(&settings, Instant::now()), check, settings, tell });
        Tasks { asker, running: JoinSet::new(), by_backend: HashMap::new(), seed }
    }

    /// Starts what is missing, and ends what is about backends that left.
    fn follow(&mut self, set: &BackendSet) {
        let members = set.backends();
        if members.len() < self.by_backend.len() || members.iter().any(|it| !self.by_backend.contains_key(it)) {
            let members: HashSet<_> = members.iter().collect();
            self.by_backend.retain(|backend, task| {
                let stays = members.contains(backend);
                if !stays {
                    task.abort();
                }
                stays
            });
        }
        let new: Vec<_> = members.into_iter().filter(|backend| !self.by_backend.contains_key(backend)).collect();
        self.hold_back(set, &new);
        for backend in new {
            let seed = self.next_seed();
            let pace = Pace::new(&self.asker.settings, seed);
            let task = self.running.spawn(Arc::clone(&self.asker).ask_on(backend.clone(), pace));
            self.by_backend.insert(backend, task);
        }
    }

    /// Those that nobody has judged yet get no requests until they are checked, where that is asked for.
    fn hold_back(&self, set: &BackendSet, new: &[Backend]) {
        if self.asker.settings.start == StartState::DownUntilChecked {
            let unjudged = new.iter().filter(|backend| backend.status().source() == HealthSource::Start);
            let verdict = Verdict::new(HealthSource::Start, BackendState::Unhealthy, "not checked yet");
            set.report_all(unjudged.map(|backend| (backend.clone(), verdict.clone())));
        }
    }

    /// A task ended: it was told to, or its check panicked, which is a plugin's fault. That backend is asked
    /// anew.
    fn tidy(&mut self, panicked: bool) {
        if panicked {
            tracing::error!("a health check panicked");
            self.by_backend.retain(|_, task| !task.is_finished());
        }
    }

    fn next_seed(&mut self) -> u64 {
        // Pace mixes it: neighbours will do.
        self.seed = self.seed.wrapping_add(1);
        self.seed
    }
}

/// What the tasks share.
struct Asker {
    check: Box<dyn Check>,
    slots: Slots,
    settings: HealthSettings,
    /// Where they tell what they found: a few verdicts for each backend at most.
    tell: mpsc::UnboundedSender<Found>,
}

impl Asker {
    async fn ask_on(self: Arc<Self>, backend: Backend, mut pace: Pace) {
        let target = self.settings.stand_in(&backend);
        let mut streak = self.streak(&backend);
        tokio::time::sleep_until(self.slots.from(Instant::now() + pace.first(streak.is_settled_up()))).await;
        loop {
            let (started, in_haste) = (Instant::now(), !streak.is_settled_up());
            let answer = self.ask(&target).await;
            let turn = streak.record(answer.is_ok());
            if turn != Turn::None {
                self.tell(&backend, turn, &answer);
            }
            let settled = streak.is_settled_up();
            // Those that were asked in haste together part again.
            let pause = if in_haste && settled { pace.first(true) } else { pace.next(settled) };
            tokio::time::sleep_until(self.slots.from(started + pause)).await;
        }
    }

    /// A backend that checks found down before these began is down until they find it well.
    fn streak(&self, backend: &Backend) -> Streak {
        let (rise, fall) = (self.settings.rise, self.settings.fall);
        let status = backend.status();
        match (status.source(), status.state()) {
            (HealthSource::Check, BackendState::Unhealthy) => Streak::down(rise, fall),
            (HealthSource::Start, BackendState::Unhealthy) => Streak::undecided(rise, fall),
            _ => Streak::up(rise, fall),
        }
    }

    async fn ask(&self, target: &Backend) -> Result<(), CheckFailure> {
        let timeout = self.settings.timeout;
        let answer = tokio::time::timeout(timeout, self.check.check(target)).await;
        answer.unwrap_or_else(|_| Err(CheckFailure::new(format!("no answer within {timeout:?}"))))
    }

    /// It has been checked, so that it is new counts no longer.
    fn tell(&self, backend: &Backend, turn: Turn, answer: &Result<(), CheckFailure>) {
        let checked = Verdict::new(HealthSource::Start, BackendState::Healthy, "checked");
        let verdicts = match answer {
            Err(failure) if turn == Turn::Down => {
                tracing::warn!(backend = backend.id(), reason = %failure, "unhealthy");
                [Verdict::new(HealthSource::Check, BackendState::Unhealthy, failure.to_string()), checked]
            }
            _ => {
                tracing::info!(backend = backend.id(), "healthy");
                [checked, Verdict::new(HealthSource::Check, BackendState::Healthy, "it answers")]
            }
        };
        for verdict in verdicts {
            // The checker that nobody listens to is being dropped, and this task with it.
            let _ = self.tell.send((backend.clone(), verdict));
        }
    }
}

impl fmt::Debug for HealthChecker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthChecker")
            .field("set", &self.set)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
