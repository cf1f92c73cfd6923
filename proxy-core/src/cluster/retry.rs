//! When a request is tried again.

use std::time::Duration;

use super::RetryBudget;
use crate::http1::client::Failure;
use crate::{Backend, Body, Error, ErrorKind};

/// Races with an origin that closes idle connections, which one request may lose without paying.
const STALE: u32 = 3;

/// When a request is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries of one request in all, the first included; 1 turns retries off. Default 3.
    pub attempts: u32,
    /// Retries of requests that may have reached a backend, as a percentage of requests. Default 20.
    /// Failed connects are not counted: they add no load.
    pub budget_percent: u32,
    /// The pause before the second retry; it doubles with each, and a random part of it is taken.
    /// The first retry goes to another backend at once. Default 25 ms.
    pub backoff: Duration,
    /// The longest pause. Default 250 ms.
    pub max_backoff: Duration,
    /// Bytes of a body kept so that a request can be sent again. Default 64 KiB.
    pub max_replay_bytes: usize,
    /// Statuses of gRPC, such as 14 (`UNAVAILABLE`), after which a call is tried again where it got nothing but
    /// that status, over HTTP/2: no message of an answer, and so nothing that its client has seen. Whether the call was
    /// begun there only its service knows: choose those that say so. Default: none.
    pub grpc_statuses: Vec<u8>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts: 3,
            budget_percent: 20,
            backoff: Duration::from_millis(25),
            max_backoff: Duration::from_millis(250),
            max_replay_bytes: 64 * 1024,
            grpc_statuses: Vec::new(),
        }
    }
}

/// The retries of one request.
pub(super) struct Retries<'a> {
    policy: &'a RetryPolicy,
    budget: &'a RetryBudget,
    tried: Vec<Backend>,
    spent: u32,
    stale: u32,
    /// The next try is for a stale connection: at once, and to the same backend if need be.
    at_once: bool,
}

impl<'a> Retries<'a> {
    pub(super) fn new(policy: &'a RetryPolicy, budget: &'a RetryBudget) -> Self {
        budget.deposit();
        Retries { policy, budget, tried: Vec::new(), spent: 1, stale: 0, at_once: false }
    }

    pub(super) fn is_first(&self) -> bool {
        self.spent == 1 && self.stale == 0
    }

    /// Backends that failed this request.
    pub(super) fn tried(&self) -> &[Backend] {
        &self.tried
    }

    /// A connect failed: nothing was sent, so every method may go elsewhere.
    pub(super) fn after_connect(&mut self, backend: &Backend) -> bool {
        self.next(backend)
    }

    /// An exchange failed. Returns the error and, where it may be tried again, the body for that. A backend
    /// that was silent for too long is not asked twice: it takes another that was not tried, `elsewhere`.
    pub(super) fn after_exchange(
        &mut self,
        backend: Option<&Backend>,
        failure: Failure,
        idempotent: bool,
        elsewhere: bool,
    ) -> (Error, Option<Body>) {
        let Failure { error, unanswered, unprocessed, reused, body, response: _ } = failure;
        if unprocessed {
            let again = self.after_refusal(backend, reused && error.kind() != ErrorKind::StreamRefused);
            return (error, body.filter(|_| again));
        }
        if error.kind() == ErrorKind::GrpcStatus {
            let again = self.spent < self.policy.attempts && self.budget.withdraw();
            let again = again && backend.is_some_and(|backend| self.next(backend));
            return (error, body.filter(|_| again));
        }
        let broke = matches!(error.kind(), ErrorKind::UpstreamGone | ErrorKind::UpstreamIo | ErrorKind::StreamReset);
        let silent = elsewhere && error.kind() == ErrorKind::ResponseTimeout;
        if !((broke || silent) && unanswered && idempotent) {
            return (error, None);
        }
        let again = match broke && reused && self.stale < STALE {
            true => {
                self.stale += 1;
                self.at_once = true;
                true
            }
            false => {
                let may = self.spent < self.policy.attempts && self.budget.withdraw();
                may && backend.is_some_and(|backend| self.next(backend))
            }
        };
        (error, body.filter(|_| again))
    }

    /// The backend did nothing with the request, so every method may be tried again: at once where the connection was
    /// about to end anyway, elsewhere where the backend has too much to do.
    fn after_refusal(&mut self, backend: Option<&Backend>, ending: bool) -> bool {
        if ending && self.stale < STALE {
            self.stale += 1;
            self.at_once = true;
            return true;
        }
        backend.is_some_and(|backend| self.next(backend))
    }

    fn next(&mut self, backend: &Backend) -> bool {
        self.at_once = false;
        if self.spent >= self.policy.attempts {
            return false;
        }
        self.spent += 1;
        self.tried.push(backend.clone());
        true
    }

    /// How long to wait before the next try: full jitter over a doubling bound.
    pub(super) fn pause(&self, random: u64) -> Option<Duration> {
        if self.at_once || self.spent <= 2 {
            return None;
        }
        let doubled = self.policy.backoff.saturating_mul(1 << (self.spent - 3).min(16));
        let bound = u64::try_from(doubled.min(self.policy.max_backoff).as_micros()).unwrap_or(u64::MAX);
        Some(Duration::from_micros(random % bound.max(1)))
    }
}
