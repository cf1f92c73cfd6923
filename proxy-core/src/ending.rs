//! What is said at the end of a raw connection, or of a session of datagrams.

use std::error::Error as _;
use std::sync::Arc;

use crate::clock::Instant;
use crate::guard::guarded;
use crate::{Backend, Context, Error, ErrorKind, Filter, Observer, Outcome, Timings, span};

/// `what` did not end well: one event says why.
pub(crate) fn note(what: &str, error: &Error, ctx: &Context) {
    let _entered = ctx.span.enter();
    tracing::debug!(
        code = error.code(),
        fault = error.fault().as_str(),
        phase = ctx.phase.as_str(),
        client = ctx.client().map(tracing::field::display),
        upstream = ctx.upstream(),
        backend = ctx.backend().map(Backend::id),
        error = error.kind().text(),
        cause = error.source().map(tracing::field::display),
        "{what} failed",
    );
}

/// The outcome of what has no request: so many bytes came from the client, so many went to it.
pub(crate) fn outcome(error: Option<ErrorKind>, ctx: &Context, now: Instant, [received, sent]: [u64; 2]) -> Outcome {
    Outcome {
        status: None,
        error,
        phase: ctx.phase,
        timings: Timings::of(&ctx.clocks, now),
        bytes_received: received,
        bytes_sent: sent,
        attempts: ctx.attempts,
    }
}

/// Tells every filter, and the observer at last.
pub(crate) fn tell(
    filters: &[Arc<dyn Filter>],
    observer: Option<&Arc<dyn Observer>>,
    outcome: &Outcome,
    ctx: &Context,
) {
    span::ended(&ctx.span, outcome, ctx);
    for filter in filters {
        let _ = guarded(|| {
            filter.on_done(outcome, ctx);
            Ok(())
        });
    }
    if let Some(observer) = observer {
        let _ = guarded(|| {
            observer.on_relayed(outcome, ctx);
            Ok(())
        });
    }
}
