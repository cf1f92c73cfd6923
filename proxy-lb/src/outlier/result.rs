//! What the end of an attempt says about its backend.

use proxy_core::{Attempt, AttemptResult, ErrorKind};

/// What an attempt says about its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    /// An error of its own making: a status from 500 on that is none of the next.
    Failure,
    /// It cannot serve: 502, 503, 504, or no usable answer at all.
    GatewayFailure,
}

/// `None` where nothing is learnt about the backend.
pub(crate) fn of(attempt: &Attempt) -> Option<Verdict> {
    match attempt.result {
        AttemptResult::Response(status) => Some(match status.as_u16() {
            502..=504 => Verdict::GatewayFailure,
            500.. => Verdict::Failure,
            _ => Verdict::Success,
        }),
        AttemptResult::Relayed => Some(Verdict::Success),
        AttemptResult::Failed(kind) => is_the_backends_fault(kind).then_some(Verdict::GatewayFailure),
        _ => None,
    }
}

/// Our own limits, and what clients and plugins do, say nothing about it.
fn is_the_backends_fault(kind: ErrorKind) -> bool {
    use ErrorKind::{
        BadResponse, BadResponseBody, ConnectRefused, ConnectTimeout, Resolve, ResponseStalled, ResponseTimeout,
        ServiceFailed, UnexpectedUpgrade, UpstreamGone, UpstreamIo,
    };
    matches!(
        kind,
        ConnectRefused
            | ConnectTimeout
            | Resolve
            | UpstreamGone
            | UpstreamIo
            | BadResponse
            | BadResponseBody
            | UnexpectedUpgrade
            | ResponseTimeout
            | ResponseStalled
            | ServiceFailed
    )
}
