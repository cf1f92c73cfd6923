//! The requests that failed last.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use http::StatusCode;
use proxy_core::{Backend, Context, Outcome, RequestIdValue, Trace};

use super::lock;

/// How many are remembered.
const KEPT: usize = 100;

/// The longest part of a request target that is remembered, in bytes.
const LONGEST: usize = 256;

/// A request that failed, for a person to read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// When it ended.
    pub at: SystemTime,
    /// Where it came in.
    pub listener: Arc<str>,
    /// The route it took.
    pub route: Option<Box<str>>,
    /// The upstream it was for.
    pub upstream: Option<Box<str>>,
    /// The backend that was asked last.
    pub backend: Option<Box<str>>,
    /// Who asked.
    pub client: Option<IpAddr>,
    /// Method and target, the target cut after 256 bytes. Bytes that are not printable ASCII are escaped.
    pub request: Box<str>,
    /// Its id, where it has one.
    pub request_id: Option<Box<str>>,
    /// The trace it belongs to, where that is known.
    pub trace_id: Option<Box<str>>,
    /// What the client got.
    pub status: Option<StatusCode>,
    /// Who ended it, and in which phase.
    pub reason: (&'static str, &'static str),
    /// The reason code.
    pub code: &'static str,
    /// Attempts at backends.
    pub attempts: u32,
}

/// The last of them.
#[derive(Default)]
pub(crate) struct Failures(Mutex<VecDeque<Failure>>);

impl Failures {
    /// Remembers one; not while another thread does: under a flood of them, a gap is cheaper than waiting.
    pub(super) fn note(&self, listener: &Arc<str>, outcome: &Outcome, context: &Context) {
        let (Ok(mut kept), Some(kind)) = (self.0.try_lock(), outcome.error) else { return };
        if kept.len() == KEPT {
            kept.pop_back();
        }
        kept.push_front(Failure {
            at: SystemTime::now(),
            listener: Arc::clone(listener),
            route: context.route().map(Into::into),
            upstream: context.upstream().map(Into::into),
            backend: context.backend().map(Backend::id).map(Into::into),
            client: context.client(),
            request: request(context),
            request_id: context.get::<RequestIdValue>().map(|id| id.as_str().into()),
            trace_id: context.get::<Trace>().map(|trace| trace.trace_id().into()),
            status: outcome.status,
            reason: outcome.reason(),
            code: kind.code(),
            attempts: outcome.attempts,
        });
    }

    pub(super) fn list(&self) -> Vec<Failure> {
        lock(&self.0).iter().cloned().collect()
    }
}

fn request(context: &Context) -> Box<str> {
    let Some(head) = context.request() else { return "".into() };
    let target = head.target();
    let shown = &target[..target.len().min(LONGEST)];
    let more = if shown.len() < target.len() { "…" } else { "" };
    format!("{} {}{more}", head.method(), shown.escape_ascii()).into()
}
