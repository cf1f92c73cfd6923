//! One request's life, from its head to `on_done`.

use std::error::Error as StdError;
use std::ops::Deref;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, Version, header};
use tracing::Instrument;

use super::chain::{CatchPanic, run_on_request};
use super::{Route, Shared};
use crate::clock::Instant;
use crate::forwarding;
use crate::guard::guarded;
use crate::head::Known;
use crate::http1::framing::Options;
use crate::span;
use crate::{
    AttemptResult, Backend, Context, Error, ErrorKind, Fault, Flow, Outcome, Phase, Request, Response, Result, Timings,
};

/// A way to hold a proxy.
pub(crate) trait Proxied: Deref<Target = Shared> + Clone {}

impl<S: Deref<Target = Shared> + Clone> Proxied for S {}

/// Owns the context and the chain of a request, and fires `on_done` exactly once: when it is
/// finished, or when it is dropped because the client left or the server stopped.
pub(crate) struct Exchange<S: Proxied = Arc<Shared>> {
    /// The proxy: borrowed by the engine, shared where a response body owns the exchange.
    shared: S,
    ctx: Option<Box<Context>>,
    /// Filters whose `on_request` ran.
    ran: usize,
    status: Option<StatusCode>,
    error: Option<ErrorKind>,
    /// The phase the error belongs to: answering it is a later one.
    failed_in: Option<Phase>,
    /// The answer is a filter's, or says what went wrong.
    made_here: bool,
    sent: u64,
}

impl<S: Proxied> Exchange<S> {
    pub(crate) fn new(shared: S, ctx: Box<Context>) -> Self {
        if let Some(observer) = &shared.observer {
            let _ = guarded(|| {
                observer.on_request_started(ctx.peer());
                Ok(())
            });
        }
        Exchange {
            shared,
            ctx: Some(ctx),
            ran: 0,
            status: None,
            error: None,
            failed_in: None,
            made_here: false,
            sent: 0,
        }
    }

    pub(crate) fn ctx(&mut self) -> &mut Context {
        self.ctx.as_mut().expect("the context is there until the exchange is finished")
    }

    #[cfg(feature = "http2")]
    pub(crate) fn shared(&self) -> S {
        self.shared.clone()
    }

    /// Filters, routes, sends and filters again. Always has an answer.
    ///
    /// The request stays in the caller's slot until it is sent: each function that took it by value
    /// would keep room for it in the connection's task.
    pub(crate) async fn run(&mut self, slot: &mut Option<Request>, options: Options) -> Response {
        if let Some(request) = slot {
            self.prepare(request, options);
            if self.is_misdirected(request) {
                return self.refuse(&ErrorKind::Misdirected.into());
            }
        }
        self.enter_span();
        let (shared, span) = (self.shared.clone(), self.ctx().span.clone());
        match self.send(&shared, slot).instrument(span).await {
            Ok(response) if self.lacks_tunnel(&response) => self.refuse(&ErrorKind::NoTunnel.into()),
            Ok(response) => self.respond(response),
            Err(error) => self.refuse(&error),
        }
    }

    /// From here on what happens belongs to the request, for who listens to such things.
    fn enter_span(&mut self) {
        let ctx = self.ctx();
        if ctx.span.is_disabled() {
            ctx.span = span::request(ctx);
        }
    }

    /// Hop-by-hop fields go first, ours come after: a client cannot nominate ours away.
    fn prepare(&mut self, request: &mut Request, options: Options) {
        let shared = self.shared.clone();
        // HTTP/1.0 knows no expectations (RFC 9110 §10.1.1); forwarded as HTTP/1.1 it would be one.
        if request.head().version() == Version::HTTP_10 {
            request.head_mut().headers_mut().remove_known(Known::Expect);
        }
        let ctx = self.ctx();
        ctx.phase = Phase::Filter;
        ctx.upgrade_requested = shared.forwarding.apply(request.head_mut(), ctx.peer(), ctx.scheme(), options.upgrade)
            || *request.head().method() == Method::CONNECT;
        if let Some(address) = ctx.peer().address {
            let client = ctx.request().map(|head| shared.forwarding.client_addr(head, address.ip()));
            ctx.set_client(client);
        }
    }

    /// Whether the client asked for another host than it shook hands for (RFC 9110 §15.5.20): what was
    /// demanded of it there (a certificate) may not be what that host demands.
    fn is_misdirected(&mut self, request: &Request) -> bool {
        let any_host = self.shared.any_host;
        let tls = self.ctx().peer().tls.as_ref().filter(|_| !any_host);
        tls.is_some_and(|tls| request.head().authority().is_some_and(|host| !tls.covers(host)))
    }

    /// The answer to a request that failed before or within the proxy.
    pub(crate) fn refuse(&mut self, error: &Error) -> Response {
        self.blame(error.kind(), error.source());
        self.made_here = true;
        let shared = self.shared.clone();
        let ctx = self.ctx();
        let mut response = shared.run_on_error(error, ctx);
        if error.status() == StatusCode::METHOD_NOT_ALLOWED && !response.head().headers().contains(header::ALLOW) {
            let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
            response.head_mut().headers_mut().insert(header::ALLOW, allowed);
        }
        self.respond(response)
    }

    fn respond(&mut self, mut response: Response) -> Response {
        let (shared, ran) = (self.shared.clone(), self.ran);
        let failed = shared.run_on_response(ran, &mut response, self.ctx());
        if let Some(kind) = failed {
            self.blame(kind, None);
        }
        self.status = Some(response.head().status());
        self.ctx().phase = Phase::Relay;
        response
    }

    async fn send(&mut self, shared: &Shared, slot: &mut Option<Request>) -> Result<Response> {
        let request = slot.as_mut().ok_or(ErrorKind::ClientGone)?;
        for filter in &shared.filters {
            if let Flow::Respond(response) = self.filter(filter, request).await? {
                return Ok(response);
            }
        }
        let routed = self.route(shared, request)?;
        let route = self.ctx().route.and_then(|index| shared.route_at(index));
        for filter in route.map_or(&[][..], Route::filters) {
            if let Flow::Respond(response) = self.filter(filter, request).await? {
                return Ok(response);
            }
        }
        // A filter of the route may have chosen another upstream.
        let chosen = self.overridden(shared)?.or(routed).ok_or(ErrorKind::NoRoute)?;
        self.ctx().upstream = Some(chosen);
        let named = shared.upstream_at(chosen).ok_or(ErrorKind::NoUpstream)?;
        for filter in named.filters() {
            if let Flow::Respond(response) = self.filter(filter, request).await? {
                return Ok(response);
            }
        }
        let ctx = self.ctx();
        ctx.phase = Phase::Connect;
        let keeps_upgrade = ctx.upgrade_requested;
        let mut response = CatchPanic(named.upstream.send(slot.take().ok_or(ErrorKind::ClientGone)?, ctx)).await?;
        let keep = keeps_upgrade && response.has_tunnel();
        forwarding::strip_response(response.head_mut().headers_mut(), keep);
        Ok(response)
    }

    /// A client that got such a response would wait for a stream that does not exist.
    fn lacks_tunnel(&mut self, response: &Response) -> bool {
        let (status, ctx) = (response.head().status(), self.ctx());
        let connects = || ctx.request().is_some_and(|head| *head.method() == Method::CONNECT);
        let opens = status.is_informational() || (ctx.upgrade_requested && status.is_success() && connects());
        opens && !response.has_tunnel()
    }

    async fn filter(&mut self, filter: &Arc<dyn crate::Filter>, request: &mut Request) -> Result<Flow> {
        let flow = run_on_request(filter, request, self.ctx()).await?;
        // One that answers itself has had its say: `on_response` is for those before it.
        self.made_here = matches!(flow, Flow::Respond(_));
        self.ran += usize::from(!self.made_here);
        Ok(flow)
    }

    /// Finds the route and where it goes. Where a filter of the listener chose an upstream, that.
    fn route(&mut self, shared: &Shared, request: &Request) -> Result<Option<usize>> {
        let found = shared.find_route(request.head());
        self.ctx().route = found;
        let overridden = self.overridden(shared)?;
        Ok(overridden.or_else(|| found.and_then(|index| shared.pick(index))))
    }

    /// The upstream a filter asked for since the last call.
    fn overridden(&mut self, shared: &Shared) -> Result<Option<usize>> {
        let Some(name) = self.ctx().route_override.take() else { return Ok(None) };
        shared.find_upstream(&name).map(Some).ok_or_else(|| ErrorKind::NoUpstream.into())
    }

    /// Whether the answer was made here, and of what; `None` where it is an upstream's.
    #[cfg(feature = "http2")]
    pub(crate) fn made_here(&self) -> Option<Option<ErrorKind>> {
        self.made_here.then_some(self.error)
    }

    /// Something ended the request early; the first reason stands.
    pub(crate) fn fail(&mut self, kind: ErrorKind) {
        self.blame(kind, None);
    }

    /// Keeps the first reason, and logs it: one event for each request that does not go well.
    fn blame(&mut self, kind: ErrorKind, cause: Option<&(dyn StdError + 'static)>) {
        if self.error.is_some() {
            return;
        }
        self.error = Some(kind);
        self.failed_in = Some(self.ctx().phase);
        self.enter_span();
        let ctx = self.ctx();
        let _entered = ctx.span.enter();
        tracing::debug!(
            code = kind.code(),
            fault = kind.fault().as_str(),
            phase = ctx.phase.as_str(),
            client = ctx.client().map(tracing::field::display),
            upstream = ctx.upstream(),
            backend = ctx.backend().map(Backend::id),
            error = kind.text(),
            cause = cause.map(tracing::field::display),
            "request failed",
        );
    }

    /// The client broke a rule, or a plugin left nobody knows what behind.
    pub(crate) fn ends_connection(&self) -> bool {
        self.error.is_some_and(|kind| kind.fault() == Fault::Client || kind == ErrorKind::PluginPanic)
    }

    /// Bytes written to the client.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.sent = bytes;
    }

    /// Bytes that went through the tunnel which the response opened.
    pub(crate) fn tunnelled(&mut self, up: u64, down: u64) {
        self.ctx().received += up;
        self.sent += down;
    }

    /// The client got none of the answer.
    pub(crate) fn unanswered(&mut self) {
        self.status = None;
    }

    /// The request has ended. Gives the context back for the next one.
    pub(crate) fn finish(mut self, now: Instant) -> Option<Box<Context>> {
        self.end(now)
    }

    fn end(&mut self, now: Instant) -> Option<Box<Context>> {
        let mut ctx = self.ctx.take()?;
        if let Some(attempt) = &mut ctx.attempt {
            attempt.end(self.attempt_result(), now);
        }
        if self.shared.observer.is_some() || !ctx.span.is_disabled() || self.shared.has_filters(&ctx) {
            let outcome = self.outcome(&ctx, now);
            span::ended(&ctx.span, &outcome, &ctx);
            self.shared.run_on_done(&outcome, &ctx);
        }
        Some(ctx)
    }

    fn attempt_result(&self) -> AttemptResult {
        match (self.error, self.status) {
            (None, Some(status)) => AttemptResult::Response(status),
            (Some(kind), _) if kind.fault() == Fault::Upstream => AttemptResult::Failed(kind),
            _ => AttemptResult::Abandoned,
        }
    }

    fn outcome(&self, ctx: &Context, now: Instant) -> Outcome {
        Outcome {
            status: self.status,
            error: self.error,
            phase: self.failed_in.unwrap_or(ctx.phase),
            timings: Timings::of(&ctx.clocks, now),
            bytes_received: ctx.received,
            bytes_sent: self.sent,
            attempts: ctx.attempts,
        }
    }
}

impl<S: Proxied> Drop for Exchange<S> {
    fn drop(&mut self) {
        if self.ctx.is_some() {
            self.fail(ErrorKind::ShuttingDown);
            self.end(Instant::now());
        }
    }
}
