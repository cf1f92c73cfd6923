//! Spans: one for each connection, and one for each request.
//!
//! Their names, fields and this module's path, which is their target, are what subscribers rely on.

use std::pin::Pin;

use tracing::field::{self, Empty};
use tracing::{Instrument, Span, debug_span};

use crate::{Backend, Context, ErrorKind, Outcome, Peer, RequestHead, Trace};

/// A client's connection, or a session of its datagrams.
pub(crate) fn connection(peer: &Peer) -> Span {
    debug_span!(
        "connection",
        client = peer.client().map(field::display),
        listener = peer.listener.as_deref(),
        // Of those whose bytes are relayed as they are: when they end.
        upstream = Empty,
        backend = Empty,
        attempts = Empty,
        received = Empty,
        sent = Empty,
        connect = Empty,
        total = Empty,
        reason = Empty,
        phase = Empty,
        code = Empty,
    )
}

/// A request whose head is known, or is known to be none.
pub(crate) fn request(ctx: &Context) -> Span {
    debug_span!(
        "request",
        method = ctx.request().map(|head| head.method().as_str()),
        // Without its query, in which many a secret is sent.
        path = ctx.request().map(RequestHead::path),
        host = ctx.request().and_then(RequestHead::host),
        version = ctx.request().map(|head| format!("{:?}", head.version())).as_deref(),
        scheme = ctx.scheme(),
        client = ctx.client().map(field::display),
        listener = ctx.peer().listener.as_deref(),
        // Where a filter knows.
        trace_id = Empty,
        span_id = Empty,
        parent_span_id = Empty,
        sampled = Empty,
        // When it ends; times in seconds.
        route = Empty,
        upstream = Empty,
        backend = Empty,
        attempts = Empty,
        status = Empty,
        received = Empty,
        sent = Empty,
        queue = Empty,
        connect = Empty,
        first_byte = Empty,
        total = Empty,
        reason = Empty,
        phase = Empty,
        code = Empty,
    )
}

/// Which trace a request belongs to.
pub(crate) fn traced(span: &Span, trace: &Trace) {
    if span.is_disabled() {
        return;
    }
    span.record("trace_id", trace.trace_id());
    span.record("span_id", trace.span_id());
    span.record("sampled", trace.is_sampled());
    if let Some(parent) = trace.parent_span_id() {
        span.record("parent_span_id", parent);
    }
}

/// How it ended. What a span has no field for is left out.
pub(crate) fn ended(span: &Span, outcome: &Outcome, ctx: &Context) {
    if span.is_disabled() {
        return;
    }
    let texts = [
        ("route", ctx.route()),
        ("upstream", ctx.upstream()),
        ("backend", ctx.backend().map(Backend::id)),
        ("reason", Some(outcome.reason().0)),
        ("phase", outcome.error.map(|_| outcome.phase.as_str())),
        ("code", outcome.error.map(ErrorKind::code)),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            span.record(name, text);
        }
    }
    let timings = &outcome.timings;
    let times = [("queue", timings.queue), ("connect", timings.connect), ("first_byte", timings.first_byte)];
    for (name, time) in times.into_iter().chain([("total", Some(timings.total))]) {
        if let Some(time) = time {
            span.record(name, time.as_secs_f64());
        }
    }
    if let Some(status) = outcome.status {
        span.record("status", status.as_u16());
    }
    span.record("attempts", outcome.attempts);
    span.record("received", outcome.bytes_received);
    span.record("sent", outcome.bytes_sent);
}

/// Serves a connection in a task of its own, within its span where somebody wants that.
pub(crate) fn spawn(span: Span, connection: impl Future<Output = ()> + Send + 'static) {
    // In a box: a task moves its future half a dozen times from here to its end, and this one is large.
    let connection = Box::pin(connection);
    if span.is_disabled() {
        // The span would take its place in the task of an idle connection, too.
        tokio::spawn(connection);
    } else {
        let connection: Pin<Box<dyn Future<Output = ()> + Send>> = connection;
        tokio::spawn(connection.instrument(span));
    }
}
