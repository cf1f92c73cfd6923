//! One try at one backend, from its start to its end.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use crate::backend::InFlight;
use crate::clock::Instant;
use crate::{Attempt, AttemptResult, Backend, BreakerPermit, ErrorKind};

/// Learns how attempts end.
pub(crate) trait AttemptSink: Send + Sync {
    fn attempt_ended(&self, backend: &Backend, attempt: &Attempt, permit: Option<BreakerPermit>);
}

/// An attempt that runs. Its end is reported exactly once, when it is dropped.
pub(crate) struct AttemptGuard {
    sink: Arc<dyn AttemptSink>,
    backend: Backend,
    _in_flight: InFlight,
    started: Instant,
    first_byte: Option<Instant>,
    ended: Option<Instant>,
    result: AttemptResult,
    number: u32,
    permit: Option<BreakerPermit>,
}

impl AttemptGuard {
    pub(crate) fn begin(sink: Arc<dyn AttemptSink>, backend: &Backend, number: u32, now: Instant) -> Self {
        AttemptGuard {
            sink,
            _in_flight: backend.begin(),
            backend: backend.clone(),
            started: now,
            first_byte: None,
            ended: None,
            result: AttemptResult::Abandoned,
            number,
            permit: None,
        }
    }

    /// A breaker let it through, and wants this back.
    pub(crate) fn with_permit(mut self, permit: Option<BreakerPermit>) -> Self {
        self.permit = permit;
        self
    }

    pub(crate) fn first_byte(&mut self, now: Instant) {
        self.first_byte = Some(now);
        self.backend.observe_latency(now - self.started);
    }

    /// The response is there. That is how it ended unless the engine says otherwise, which it does
    /// neither for a plugin's own request nor for one that a decorator sends once more.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.result = AttemptResult::Response(status);
    }

    /// It ends now, in this way.
    pub(crate) fn end(mut self, result: AttemptResult, now: Instant) {
        self.result = result;
        self.ended = Some(now);
    }

    pub(crate) fn fail(&mut self, kind: ErrorKind) {
        self.result = AttemptResult::Failed(kind);
    }
}

impl Drop for AttemptGuard {
    fn drop(&mut self) {
        let first_byte = self.first_byte.map(|at| at - self.started);
        let ended = self.ended.unwrap_or_else(Instant::now);
        let total = ended.saturating_duration_since(self.started);
        let attempt = Attempt { number: self.number, ..Attempt::new(self.result, first_byte, total) };
        self.sink.attempt_ended(&self.backend, &attempt, self.permit);
    }
}

impl fmt::Debug for AttemptGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptGuard").field("backend", &self.backend).finish_non_exhaustive()
    }
}
