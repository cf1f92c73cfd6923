//! One try at one backend, from its start to its end.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use crate::clock::Instant;
use crate::{Attempt, AttemptResult, Backend, BreakerPermit, Error, ErrorKind, Target};

/// Learns how attempts end.
pub(crate) trait AttemptSink: Send + Sync {
    /// Datagrams of an attempt are answered.
    fn reached(&self, backend: &Backend);

    /// Datagrams of an attempt are not taken.
    fn unreachable(&self, backend: &Backend, error: &Error);

    fn attempt_ended(&self, backend: &Backend, attempt: &Attempt, permit: Option<BreakerPermit>);
}

/// An attempt. Its end is reported exactly once: when it is said to have ended, or else when it is
/// dropped. It stays with its request, which shows its backend until the last hook has run.
pub(crate) struct AttemptGuard {
    sink: Arc<dyn AttemptSink>,
    target: Target,
    started: Instant,
    first_byte: Option<Instant>,
    result: AttemptResult,
    ended: bool,
    number: u32,
    permit: Option<BreakerPermit>,
}

impl AttemptGuard {
    pub(crate) fn begin(sink: Arc<dyn AttemptSink>, target: Target, number: u32, now: Instant) -> Self {
        target.backend().begin();
        AttemptGuard {
            sink,
            target,
            started: now,
            first_byte: None,
            result: AttemptResult::Abandoned,
            ended: false,
            number,
            permit: None,
        }
    }

    /// A breaker let it through, and wants this back.
    pub(crate) fn with_permit(mut self, permit: Option<BreakerPermit>) -> Self {
        self.permit = permit;
        self
    }

    /// What is connected to.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn backend(&self) -> &Backend {
        self.target.backend()
    }

    pub(crate) fn first_byte(&mut self, now: Instant) {
        self.first_byte = Some(now);
        self.backend().observe_latency(now - self.started);
    }

    /// The response is there. That is how it ended unless the engine says otherwise, which it does
    /// neither for a plugin's own request nor for one that a decorator sends once more.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.result = AttemptResult::Response(status);
    }

    /// A raw connection stands. That is how it ended unless the engine says otherwise.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.first_byte(now);
        self.result = AttemptResult::Relayed;
    }

    /// The first datagram has come back. That is how it ended unless the engine says otherwise.
    pub(crate) fn reached(&mut self, now: Instant) {
        self.connected(now);
        self.sink.reached(self.target.backend());
    }

    /// It ends now: the backend does not take datagrams.
    pub(crate) fn unreachable(&mut self, error: &Error, now: Instant) {
        self.sink.unreachable(self.target.backend(), error);
        self.end(AttemptResult::Failed(error.kind()), now);
    }

    pub(crate) fn fail(&mut self, kind: ErrorKind) {
        self.result = AttemptResult::Failed(kind);
    }

    /// It ends now, in this way.
    pub(crate) fn end(&mut self, result: AttemptResult, now: Instant) {
        self.result = result;
        self.report(now);
    }

    fn report(&mut self, now: Instant) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.backend().end();
        let first_byte = self.first_byte.map(|at| at - self.started);
        let total = now.saturating_duration_since(self.started);
        let attempt = Attempt { number: self.number, ..Attempt::new(self.result, first_byte, total) };
        self.sink.attempt_ended(self.backend(), &attempt, self.permit);
    }
}

impl Drop for AttemptGuard {
    fn drop(&mut self) {
        if !self.ended {
            self.report(Instant::now());
        }
    }
}

impl fmt::Debug for AttemptGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptGuard").field("backend", self.backend()).finish_non_exhaustive()
    }
}
