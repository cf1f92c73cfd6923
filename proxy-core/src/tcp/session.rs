//! One raw connection, from its first byte to its last.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use proxy_zerocopy::Options;

use super::Shared;
use super::client_hello::{ClientHello, Peeked, peek};
use crate::clock::Instant;
use crate::context::{Link, Raw};
use crate::ending;
use crate::http1::reader::Reader;
use crate::http1::tunnel::Tunnel;
use crate::proxy::CatchPanic;
use crate::relay::{Relay, reason};
use crate::{AttemptResult, Context, Error, ErrorKind, Fault, Phase, Result};

/// Relays one connection.
pub(super) async fn serve(link: &Arc<Link>) {
    let (Some(stream), Some(Raw::Tcp(shared))) = (&link.client, &link.raw) else { return };
    let client = Tunnel::new(Reader::new(stream.clone()));
    let mut ctx = crate::context::take(link, Instant::now());
    ctx.span = tracing::Span::current();
    let mut session = Session { shared, ctx: Some(ctx), client, relayed: None, error: None };
    // Boxed, so that a connection that is relayed has no room for how it was opened.
    match Box::pin(session.open()).await {
        Ok(upstream) => session.relay(upstream).await,
        Err(error) => session.fail(&error),
    }
    session.end();
}

/// Ends exactly once: when it is told to, or when it is dropped because the server stopped.
struct Session<'a> {
    shared: &'a Shared,
    ctx: Option<Box<Context>>,
    client: Tunnel,
    /// Once the upstream is connected.
    relayed: Option<(Relay, Tunnel)>,
    error: Option<ErrorKind>,
}

impl Session<'_> {
    fn ctx(&mut self) -> &mut Context {
        self.ctx.as_mut().expect("the context is there until the session has ended")
    }

    /// Chooses an upstream and connects to it.
    async fn open(&mut self) -> Result<Tunnel> {
        let chosen = self.choose().await?;
        let shared = self.shared;
        let upstream = &shared.upstreams.get(chosen).ok_or(ErrorKind::NoUpstream)?.upstream;
        let ctx = self.ctx();
        ctx.upstream = Some(chosen);
        ctx.phase = Phase::Connect;
        Ok(CatchPanic(upstream.connect(None, ctx)).await?.into())
    }

    async fn choose(&mut self) -> Result<usize, ErrorKind> {
        let (router, settings) = (&self.shared.router, &self.shared.settings);
        if !router.looks_at_hellos() {
            return router.fallback().ok_or(ErrorKind::NoRoute);
        }
        let deadline = self.ctx().clocks.started + settings.hello;
        let mut wanted = 0;
        let client = &mut self.client;
        let hello = poll_fn(|cx| poll_hello(cx, client.reader(), &mut wanted, settings.max_hello_bytes));
        let hello = tokio::time::timeout_at(deadline, hello).await;
        match hello.unwrap_or(Err(ErrorKind::ClientHelloTimeout)) {
            Ok(hello) => router.find(&hello).ok_or(ErrorKind::NoRoute),
            Err(ErrorKind::NotTls) => router.fallback().ok_or(ErrorKind::NotTls),
            Err(kind) => Err(kind),
        }
    }

    async fn relay(&mut self, mut upstream: Tunnel) {
        self.ctx().phase = Phase::Tunnel;
        let settings = &self.shared.settings;
        let options = Options::new().idle_timeout(settings.idle).lifetime(settings.lifetime);
        let relay = Relay::new(&mut self.client, Vec::new(), &mut upstream, &options, settings.splice);
        let (relay, upstream) = self.relayed.insert((relay, upstream));
        let client = &mut self.client;
        let result = poll_fn(|cx| relay.poll(cx, client, upstream)).await;
        if let Err(error) = result {
            let kind = reason(&error);
            self.fail(&Error::new(kind).with_source(error));
        }
    }

    /// It does not end well: one event says why.
    fn fail(&mut self, error: &Error) {
        self.error = Some(error.kind());
        ending::note("connection", error, self.ctx());
    }

    fn end(&mut self) {
        let Some(mut ctx) = self.ctx.take() else { return };
        if self.error.is_some() {
            self.reset();
        }
        let now = Instant::now();
        if let (Some(attempt), Some(_)) = (&mut ctx.attempt, &self.relayed) {
            let blamed = self.error.filter(|kind| kind.fault() == Fault::Upstream);
            attempt.end(blamed.map_or(AttemptResult::Relayed, AttemptResult::Failed), now);
        }
        let moved = self.relayed.as_ref().map(|(relay, _)| relay.transferred()).unwrap_or_default();
        let outcome = ending::outcome(self.error, &ctx, now, [moved.a_to_b, moved.b_to_a]);
        ending::tell(&self.shared.filters, self.shared.observer(), &outcome, &ctx);
        crate::context::give(ctx);
    }

    /// Has both sockets send a reset when they are closed.
    fn reset(&self) {
        let upstream = self.relayed.as_ref().and_then(|(_, upstream)| upstream.socket());
        for socket in self.client.socket().into_iter().chain(upstream) {
            // One that fails is closed already.
            let _ = socket.set_zero_linger();
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if self.ctx.is_some() {
            self.fail(&ErrorKind::ShuttingDown.into());
            self.end();
        }
    }
}

/// Reads until the hello is whole, and leaves it in the reader. It is looked at again only once there are as
/// many bytes as the last look `wanted`.
fn poll_hello(
    cx: &mut Task<'_>,
    reader: &mut Reader,
    wanted: &mut usize,
    max: usize,
) -> Poll<Result<ClientHello, ErrorKind>> {
    loop {
        if reader.buffer.len() >= *wanted {
            match peek(reader.buffer.filled(), max) {
                Peeked::Hello(hello) => return Poll::Ready(Ok(hello)),
                Peeked::Refused(kind) => return Poll::Ready(Err(kind)),
                Peeked::Incomplete { wanted: more } => *wanted = more,
            }
        }
        match ready!(reader.poll_fill(cx)) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Poll::Ready(Err(ErrorKind::ClientGone)),
        }
    }
}
