//! What is counted about the requests of one listener, route and upstream.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use http::StatusCode;
use proxy_core::{Context, ErrorKind, Outcome, Phase};

use super::exemplars::Exemplars;
use crate::catalogue;
use crate::sample::{Samples, Value};
use crate::sharded::Sharded;
use crate::times::{Distribution, Times};

/// The classes of status, and none.
pub(crate) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

const PHASES: [Phase; 6] = [Phase::Head, Phase::Filter, Phase::Connect, Phase::Send, Phase::Relay, Phase::Tunnel];

/// What is counted about the requests of one listener, route and upstream.
pub(crate) struct Series {
    pub(crate) route: Arc<str>,
    pub(crate) upstream: Arc<str>,
    cells: Sharded<Cells>,
    /// By kind and phase; none before the first failure.
    failures: OnceLock<Box<[AtomicU64]>>,
    limited: AtomicU64,
    exemplars: Exemplars,
}

#[derive(Default)]
struct Cells {
    by_class: [AtomicU64; CLASSES.len()],
    received: AtomicU64,
    sent: AtomicU64,
    total: Times,
    queue: Times,
    connect: Times,
    first_byte: Times,
}

impl Series {
    pub(super) fn new(route: &str, upstream: &str) -> Self {
        Series {
            route: route.into(),
            upstream: upstream.into(),
            cells: Sharded::default(),
            failures: OnceLock::new(),
            limited: AtomicU64::new(0),
            exemplars: Exemplars::default(),
        }
    }

    /// A request has ended.
    pub(super) fn count(&self, outcome: &Outcome, context: &Context) {
        let (cells, timings) = (self.cells.mine(), &outcome.timings);
        cells.by_class[class(outcome.status)].fetch_add(1, Ordering::Relaxed);
        cells.total.observe(timings.total);
        let parts =
            [(&cells.queue, timings.queue), (&cells.connect, timings.connect), (&cells.first_byte, timings.first_byte)];
        for (times, time) in parts {
            if let Some(time) = time {
                times.observe(time);
            }
        }
        self.exemplars.note(context, timings.total);
        add(&cells.received, outcome.bytes_received);
        add(&cells.sent, outcome.bytes_sent);
        if let Some(kind) = outcome.error {
            self.fail(kind, outcome.phase);
        } else if outcome.status == Some(StatusCode::TOO_MANY_REQUESTS) && context.attempts() == 0 {
            self.limited.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn fail(&self, kind: ErrorKind, phase: Phase) {
        let all = || ErrorKind::ALL.iter().flat_map(|_| PHASES).map(|_| AtomicU64::new(0)).collect();
        let kind = ErrorKind::ALL.iter().position(|candidate| *candidate == kind);
        let phase = PHASES.iter().position(|candidate| *candidate == phase);
        if let (Some(kind), Some(phase)) = (kind, phase) {
            self.failures.get_or_init(all)[kind * PHASES.len() + phase].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Requests by class, in the order of [`CLASSES`].
    pub(crate) fn by_class(&self) -> [u64; CLASSES.len()] {
        std::array::from_fn(|class| self.sum(|cells| &cells.by_class[class]))
    }

    /// Requests that a limit answered.
    pub(crate) fn limited(&self) -> u64 {
        self.limited.load(Ordering::Relaxed)
    }

    /// How long requests took as a whole.
    pub(crate) fn total(&self) -> Distribution {
        Distribution::of(&self.cells, |cells| &cells.total)
    }

    /// Bytes from and to clients.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.sum(|cells| &cells.received), self.sum(|cells| &cells.sent))
    }

    /// Requests that failed, by reason.
    pub(crate) fn failed(&self) -> impl Iterator<Item = (ErrorKind, Phase, u64)> + '_ {
        let reasons = ErrorKind::ALL.iter().flat_map(|kind| PHASES.map(|phase| (*kind, phase)));
        let counts = self.failures.get().into_iter().flat_map(|counts| counts.iter());
        let all = reasons.zip(counts).map(|((kind, phase), count)| (kind, phase, count.load(Ordering::Relaxed)));
        all.filter(|(.., count)| *count > 0)
    }

    /// As that of raw connections or of datagrams: of those to no upstream too, and without a route.
    pub(super) fn sample_sessions(&self, listener: &Arc<str>, samples: &mut Samples) {
        let labels = [listener, &self.upstream];
        samples.count(&catalogue::SESSIONS, &labels, self.by_class().iter().sum());
        for (kind, phase, count) in self.failed() {
            let reason = reason(kind, phase);
            samples.count(&catalogue::SESSION_FAILURES, &[&labels[..], &reason.each_ref()].concat(), count);
        }
        let (received, sent) = self.bytes();
        samples.count(&catalogue::SESSION_RECEIVED, &labels, received);
        samples.count(&catalogue::SESSION_SENT, &labels, sent);
        samples.push(&catalogue::SESSION_DURATION, &labels, Value::Times(self.total()));
        let connect = Distribution::of(&self.cells, |cells| &cells.connect);
        samples.push(&catalogue::SESSION_CONNECT, &labels, Value::Times(connect));
    }

    fn sum(&self, cell: impl Fn(&Cells) -> &AtomicU64) -> u64 {
        self.cells.iter().map(|cells| cell(cells).load(Ordering::Relaxed)).sum()
    }

    pub(super) fn sample(&self, listener: &Arc<str>, samples: &mut Samples) {
        let labels = [listener, &self.route, &self.upstream];
        for (class, count) in CLASSES.into_iter().zip(self.by_class()) {
            if count > 0 {
                samples.count(&catalogue::REQUESTS, &[&labels[..], &[&class.into()]].concat(), count);
            }
        }
        for (kind, phase, count) in self.failed() {
            let reason = reason(kind, phase);
            samples.count(&catalogue::FAILURES, &[&labels[..], &reason.each_ref()].concat(), count);
        }
        let (received, sent) = self.bytes();
        samples.count(&catalogue::RECEIVED, &labels, received);
        samples.count(&catalogue::SENT, &labels, sent);
        samples.count(&catalogue::REQUESTS_LIMITED, &labels, self.limited());
        samples.push(&catalogue::DURATION, &labels, Value::Times(self.total()));
        samples.with(self.exemplars.all());
        let part = |times: fn(&Cells) -> &Times| Value::Times(Distribution::of(&self.cells, times));
        samples.push(&catalogue::QUEUE, &labels, part(|cells| &cells.queue));
        samples.push(&catalogue::CONNECT, &labels, part(|cells| &cells.connect));
        samples.push(&catalogue::FIRST_BYTE, &labels, part(|cells| &cells.first_byte));
    }
}

/// As labels.
fn reason(kind: ErrorKind, phase: Phase) -> [Arc<str>; 3] {
    [kind.fault().as_str(), phase.as_str(), kind.code()].map(Arc::from)
}

/// The place in [`CLASSES`].
pub(super) fn class(status: Option<StatusCode>) -> usize {
    status.map_or(0, |status| usize::from(status.as_u16() / 100).min(CLASSES.len() - 1))
}

/// Most requests have no body: an addition of nothing is left out.
fn add(counter: &AtomicU64, bytes: u64) {
    if bytes > 0 {
        counter.fetch_add(bytes, Ordering::Relaxed);
    }
}
