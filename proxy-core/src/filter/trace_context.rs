//! Which trace a request belongs to.

use std::fmt;
use std::pin::Pin;

use super::ids::Ids;
use super::{Continue, Filter, Flow};
use crate::{Context, Headers, Request, Result, span};

mod parent;
mod state;

pub(crate) use parent::Parent;
#[cfg(feature = "fuzzing")]
pub(crate) use parent::parse as read_parent;
pub(crate) use state::is_state;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Continues the trace that a request belongs to, or starts one, and tells the backend (W3C Trace Context):
/// `traceparent` names this proxy's part of the trace as the parent of the backend's. The [`Trace`] is in the
/// [`Context`], for filters behind this one and for logs, and in the fields of the request's `tracing` span, for
/// whoever exports those.
///
/// What a client sends is held to the letter: a `traceparent` that is malformed, all zeros or there twice is replaced
/// by a new trace, and then, or where it is malformed itself, `tracestate` is removed. A good `tracestate` is passed
/// on as it is.
///
/// ```
/// use proxy_core::{BuildError, Proxy, Route, TraceContext, Upstream};
///
/// fn traced(api: impl Upstream) -> Result<Proxy, BuildError> {
///     let filter = TraceContext::new().sample(0.01); // of the traces that begin here
///     Proxy::builder().filter(filter).upstream("api", api).route(Route::to("api")).build()
/// }
/// ```
#[derive(Debug)]
pub struct TraceContext {
    trust_incoming: bool,
    /// Of 2⁶³ traces that begin here, so many are sampled.
    sampled: u64,
    ids: Ids,
}

impl Default for TraceContext {
    fn default() -> Self {
        TraceContext { trust_incoming: true, sampled: ALL, ids: Ids::PerThread }
    }
}

/// As many traces as a share is drawn from: the numbers of 63 bits.
const ALL: u64 = 1 << 63;

impl TraceContext {
    /// Continues traces; samples all that begin here.
    pub fn new() -> Self {
        TraceContext::default()
    }

    /// Whether the trace that a request brings is continued. Where clients are strangers, their traces are theirs, and
    /// so is the choice of what is sampled: then a new one begins here. Default: it is.
    #[must_use]
    pub fn trust_incoming(mut self, trust: bool) -> Self {
        self.trust_incoming = trust;
        self
    }

    /// The share of the traces that begin here which are sampled, 0 to 1. It is drawn from the trace's id, as
    /// OpenTelemetry's `TraceIdRatioBased` does it. A trace that is continued stays what it is. Default: 1.
    #[must_use]
    pub fn sample(mut self, share: f64) -> Self {
        self.sampled = (share.clamp(0.0, 1.0) * ALL as f64) as u64;
        self
    }

    /// The same ids in every run, for tests.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.ids = Ids::seeded(seed);
        self
    }

    fn continued(&self, headers: &Headers) -> Option<Parent> {
        if !self.trust_incoming {
            return None;
        }
        let mut all = headers.get_all(TRACEPARENT);
        match (all.next(), all.next()) {
            (Some(only), None) => parent::parse(only),
            _ => None,
        }
    }

    fn started(&self) -> Parent {
        // An id of zeros would be none (§3.2.2.3).
        let id = self.ids.next().max(1);
        let sampled = (id as u64 >> 1) < self.sampled;
        Parent::new(id, sampled)
    }
}

impl Filter for TraceContext {
    // Not `async`: it does not wait, so its future takes no memory.
    fn on_request<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        request: &'life1 mut Request,
        context: &'life2 mut Context,
    ) -> Pin<Box<dyn Future<Output = Result<Flow>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
    {
        let headers = request.head_mut().headers_mut();
        let continued = self.continued(headers);
        if continued.is_none() || !is_state(headers.get_all(TRACESTATE)) {
            headers.remove(TRACESTATE);
        }
        let span = (self.ids.next() as u64).max(1);
        let trace = match &continued {
            Some(parent) => Trace::new(parent, span, true),
            None => Trace::new(&self.started(), span, false),
        };
        headers.remove(TRACEPARENT);
        headers.add(TRACEPARENT.as_bytes(), &trace.text);
        span::traced(&context.span, &trace);
        context.insert(trace);
        Box::pin(Continue)
    }
}

/// Which trace a request belongs to, in its [`Context`].
///
/// ```
/// use proxy_core::{Context, Trace};
///
/// fn log(context: &Context) {
///     if let Some(trace) = context.get::<Trace>() {
///         println!("trace {}", trace.trace_id());
///     }
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trace {
    /// What the backend is told: ASCII.
    text: [u8; parent::LEN],
    /// The span that the client named, where the trace is continued.
    parent: Option<[u8; 16]>,
}

impl Trace {
    fn new(parent: &Parent, span: u64, continued: bool) -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[parent::TRACE_ID].copy_from_slice(&parent.trace_id);
        parent::write_hex(&mut text[parent::SPAN_ID], span.into());
        parent::write_hex(&mut text[parent::FLAGS], parent.flags.into());
        Trace { text, parent: continued.then_some(parent.span_id) }
    }

    /// The trace's id: 32 digits of lower-case hexadecimal, as the others are.
    pub fn trace_id(&self) -> &str {
        self.part(parent::TRACE_ID)
    }

    /// The id of this request's span, which is the parent of the backend's: 16 digits.
    pub fn span_id(&self) -> &str {
        self.part(parent::SPAN_ID)
    }

    /// The id of the span that the client named; `None` where the trace began here.
    pub fn parent_span_id(&self) -> Option<&str> {
        self.parent.as_ref().and_then(|id| std::str::from_utf8(id).ok())
    }

    /// Whether somebody who came before, or this proxy where the trace began here, wants it recorded.
    pub fn is_sampled(&self) -> bool {
        // The last digit; the flag is its lowest bit.
        self.text[parent::LEN - 1] & 1 == 1
    }

    /// The field as the backend gets it.
    pub fn traceparent(&self) -> &str {
        self.part(0..parent::LEN)
    }

    fn part(&self, range: std::ops::Range<usize>) -> &str {
        std::str::from_utf8(&self.text[range]).unwrap_or_default()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("traceparent", &self.traceparent())
            .field("parent_span_id", &self.parent_span_id())
            .finish()
    }
}

#[cfg(test)]
mod tests;
