//! Whether a backend gets requests: since when, who says so, and why.

use std::fmt;
use std::sync::Arc;

use crate::clock::Instant;

/// Whether a backend gets requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendState {
    /// It does.
    Healthy,
    /// Checks or outcomes say it cannot answer.
    Unhealthy,
    /// It finishes what it has; only what sticks to it still goes there.
    Draining,
    /// An operator took it out.
    Maintenance,
}

impl BackendState {
    const ALL: [BackendState; 4] =
        [BackendState::Healthy, BackendState::Unhealthy, BackendState::Draining, BackendState::Maintenance];

    pub(super) fn from_u8(value: u8) -> Self {
        Self::ALL[usize::from(value) % Self::ALL.len()]
    }

    /// A word for logs and APIs, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            BackendState::Healthy => "healthy",
            BackendState::Unhealthy => "unhealthy",
            BackendState::Draining => "draining",
            BackendState::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for BackendState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who judges a backend. Each has one verdict at a time; the gravest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthSource {
    /// Nobody has yet: it is new.
    Start,
    /// A person, or a program in their place.
    Operator,
    /// Active checks.
    Check,
    /// How its requests end, compared with the others.
    Outlier,
    /// Its circuit breaker.
    Breaker,
    /// What found it.
    Discovery,
    /// A plugin, by this name.
    Plugin(&'static str),
}

impl HealthSource {
    /// A word for logs and APIs, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            HealthSource::Start => "start",
            HealthSource::Operator => "operator",
            HealthSource::Check => "check",
            HealthSource::Outlier => "outlier",
            HealthSource::Breaker => "breaker",
            HealthSource::Discovery => "discovery",
            HealthSource::Plugin(name) => name,
        }
    }
}

/// What one source says of a backend. `Healthy` takes back what it said before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// Who says it.
    pub source: HealthSource,
    /// The state it asks for.
    pub state: BackendState,
    /// Why, for a person to read.
    pub reason: Arc<str>,
}

impl Verdict {
    /// A verdict of this source.
    pub fn new(source: HealthSource, state: BackendState, reason: impl Into<Arc<str>>) -> Self {
        Verdict { source, state, reason: reason.into() }
    }
}

/// The state of a backend: since when, who says so, and why. A clone is cheap.
///
/// `Display` prints `unhealthy (check: connection refused)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    verdict: Verdict,
    since: Instant,
}

impl Status {
    /// Whether it gets requests.
    pub fn state(&self) -> BackendState {
        self.verdict.state
    }

    /// When it came into this state. The reason may be younger.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whose verdict it is.
    pub fn source(&self) -> HealthSource {
        self.verdict.source
    }

    /// Why, for a person to read.
    pub fn reason(&self) -> &str {
        &self.verdict.reason
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}: {})", self.state(), self.source().name(), self.reason())
    }
}

/// The verdicts on one backend and what they come to.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// Those that are against it, the oldest first; one for each source.
    standing: Vec<Verdict>,
    status: Status,
}

impl Verdicts {
    pub(super) fn new(now: Instant) -> Self {
        let verdict = Verdict::new(HealthSource::Start, BackendState::Healthy, "nothing is known against it");
        Verdicts { standing: Vec::new(), status: Status { verdict, since: now } }
    }

    pub(super) fn status(&self) -> &Status {
        &self.status
    }

    /// Takes a verdict in. Returns the state before, if it is another now.
    pub(super) fn take(&mut self, verdict: Verdict, now: Instant) -> Option<BackendState> {
        let kept = self.standing.iter_mut().find(|kept| kept.source == verdict.source);
        match (kept, verdict.state) {
            (_, BackendState::Healthy) => self.standing.retain(|kept| kept.source != verdict.source),
            (Some(kept), _) => *kept = verdict.clone(),
            (None, _) => self.standing.push(verdict.clone()),
        }
        let before = self.status.state();
        let effective = self.gravest().cloned().unwrap_or(verdict);
        let since = if effective.state == before { self.status.since } else { now };
        self.status = Status { verdict: effective, since };
        (self.status.state() != before).then_some(before)
    }

    /// The oldest of the gravest.
    fn gravest(&self) -> Option<&Verdict> {
        self.standing.iter().rev().max_by_key(|verdict| verdict.state as u8)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_gravest_verdict_counts_and_the_oldest_of_equals() {
        use BackendState::*;
        use HealthSource::*;
        let start = Instant::now();
        let mut verdicts = Verdicts::new(start);
        let table = [
            (Check, Unhealthy, Unhealthy, "check", 0),
            (Outlier, Unhealthy, Unhealthy, "check", 0),
            (Operator, Maintenance, Maintenance, "operator", 2),
            (Check, Healthy, Maintenance, "operator", 2),
            (Operator, Draining, Draining, "operator", 4),
            (Operator, Healthy, Unhealthy, "outlier", 5),
            (Outlier, Healthy, Healthy, "outlier", 6),
            (Check, Healthy, Healthy, "check", 6),
        ];
        for (second, (source, state, expected, by, since)) in (0..).zip(table) {
            let now = start + Duration::from_secs(second);
            let before = verdicts.status().state();
            let changed = verdicts.take(Verdict::new(source, state, "why"), now);
            let status = verdicts.status();
            assert_eq!((status.state(), status.source().name()), (expected, by), "second {second}");
            assert_eq!(status.since(), start + Duration::from_secs(since), "second {second}");
            assert_eq!(changed, (before != expected).then_some(before), "second {second}");
        }
    }
}
