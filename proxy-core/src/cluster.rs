//! Backends, a selector, a pool and retries: an upstream.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, StatusCode};

use crate::attempt::{AttemptGuard, AttemptSink};
use crate::clock::Instant;
use crate::connector::NextHopRefusal;
use crate::guard::guarded;
use crate::http1::client::{self, Failure, Rules};
use crate::http2;
use crate::pool::{Connection, Lease, Pool, Protocol, SharedPool};
use crate::{
    Address, Attempt, Backend, BackendSet, Body, Breaker, BreakerPermit, ClientHandshake, Context, Error, ErrorKind,
    Observer, Phase, ProxyHeaderSender, Request, RequestHead, Response, Result, SelectionContext, Selector, SetEvent,
    Target, Upstream,
};

mod admission;
mod budget;
mod builder;
mod next_hop;
mod quarantine;
mod retry;

pub use builder::{ClusterBuilder, UpstreamHttp2};
pub use next_hop::NextHop;
pub use retry::RetryPolicy;

use admission::Choice;
use budget::RetryBudget;
use quarantine::Quarantine;
use retry::Retries;

/// How long a backend may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// To get a connection, the wait for a free one included. Default 5 s.
    pub connect: Duration,
    /// Without progress from the end of the request to the response head; 504 beyond. Default 60 s.
    pub response: Duration,
    /// Without a byte within the response body. Default 60 s.
    pub idle: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        UpstreamTimeouts {
            connect: Duration::from_secs(5),
            response: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        }
    }
}

/// Backends behind a selector and a pool.
///
/// A failed attempt goes to another backend where that is safe: always when nothing was sent, and for
/// idempotent methods (RFC 9110 §9.2.2) also when the connection broke before any answer, or none came in
/// time and another backend is left to ask.
///
/// ```
/// use proxy_core::{Cluster, selector_fn};
///
/// let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
///     .backend("127.0.0.1:9001".parse()?)
///     .backend("127.0.0.1:9002".parse()?)
///     .build();
/// assert_eq!(cluster.backends().backends().len(), 2);
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
pub struct Cluster<S, P = SharedPool> {
    core: Arc<Core<S>>,
    pool: Arc<P>,
}

/// What attempts report to.
struct Core<S> {
    selector: S,
    set: BackendSet,
    observer: Option<Arc<dyn Observer>>,
    breaker: Option<Box<dyn Breaker>>,
    policy: RetryPolicy,
    budget: RetryBudget,
    quarantine: Quarantine,
    timeouts: UpstreamTimeouts,
    /// Says who the client is at the start of each connection.
    introduces: Option<ProxyHeaderSender>,
    rules: Rules,
    /// What backends are spoken to in.
    protocol: Protocol,
    /// How connections are made secure.
    tls: Option<Arc<dyn ClientHandshake>>,
    next_hop: NextHop,
    /// Seed of the next random number.
    random: AtomicU64,
}

impl<S> Core<S> {
    /// What a request is sent in. Where there is a choice, one that opens a tunnel goes over HTTP/1.1.
    fn protocol_of(&self, ctx: &Context) -> Protocol {
        match self.protocol {
            Protocol::Negotiated if ctx.upgrade_requested => Protocol::Http1,
            protocol => protocol,
        }
    }
}

impl<S: Selector> Core<S> {
    fn set_changed(&self, candidates: &[Backend], events: &[SetEvent]) {
        // What a panic says has been logged; the selector keeps what it had.
        let _ = guarded(|| {
            self.selector.on_change(candidates);
            Ok(())
        });
        for event in events {
            if let (SetEvent::Changed(backend, _), Some(observer)) = (event, &self.observer) {
                let _ = guarded(|| {
                    observer.on_health(backend, backend.state());
                    Ok(())
                });
            }
        }
    }
}

impl<S: Selector> AttemptSink for Core<S> {
    fn reached(&self, backend: &Backend) {
        self.quarantine.release(backend);
    }

    fn unreachable(&self, backend: &Backend, error: &Error) {
        self.quarantine.confine(backend, error);
    }

    fn attempt_ended(&self, backend: &Backend, attempt: &Attempt, permit: Option<BreakerPermit>) {
        // It runs in a drop: a panic there would end the process where another is on its way. What
        // it says has been logged, and there is nobody else to tell.
        let _ = guarded(|| {
            self.selector.on_outcome(backend, attempt);
            Ok(())
        });
        if let (Some(breaker), Some(permit)) = (&self.breaker, permit) {
            let _ = guarded(|| {
                breaker.on_end(backend, permit, attempt);
                Ok(())
            });
        }
        if let Some(observer) = &self.observer {
            let _ = guarded(|| {
                observer.on_attempt(backend, attempt);
                Ok(())
            });
        }
    }
}

impl Cluster<crate::SelectorFn<fn(&crate::Candidates<'_>, &SelectionContext<'_>) -> Option<Backend>>> {
    /// A cluster of one.
    pub fn single(backend: Backend) -> Self {
        let only: fn(&crate::Candidates<'_>, &SelectionContext<'_>) -> Option<Backend> =
            |candidates, _| candidates.at(0).cloned();
        Cluster::builder(crate::selector_fn(only)).with(backend).build()
    }
}

impl<S: Selector> Cluster<S> {
    /// Starts a cluster that this selector chooses from.
    pub fn builder(selector: S) -> ClusterBuilder<S> {
        ClusterBuilder::new(selector)
    }
}

impl<S: Selector, P: Pool> Cluster<S, P> {
    /// The backends, to be looked at or changed while requests run. Idle connections to those that leave
    /// are closed.
    pub fn backends(&self) -> &BackendSet {
        &self.core.set
    }

    /// The selector.
    pub fn selector(&self) -> &S {
        &self.core.selector
    }

    /// The pool.
    pub fn pool(&self) -> &P {
        &self.pool
    }

    /// Sends the request to this backend, which need not be in the set: for an upstream that chooses by
    /// itself, such as a forward proxy. Pool, timeouts, breaker and observer are the cluster's; a request
    /// that lost the race with an idle connection's end, or that is safe to repeat, is tried again here,
    /// and a backend that cannot be connected to is neither tried again nor remembered.
    ///
    /// # Errors
    /// As for [`Upstream::send`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the attempt up: its connection is closed, never reused.
    pub fn send_to<'a>(
        &'a self,
        backend: &'a Backend,
        request: Request,
        context: &'a mut Context,
    ) -> impl Future<Output = Result<Response>> + Send + use<'a, S, P> {
        self.exchange(Some(backend), request, context)
    }

    /// A new connection to this backend, which need not be in the set, for bytes of any protocol: never
    /// one that the pool kept, and never kept by it.
    ///
    /// # Errors
    /// As for [`Upstream::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the half-made connection.
    pub fn connect_to<'a>(
        &'a self,
        backend: &'a Backend,
        context: &'a mut Context,
    ) -> impl Future<Output = Result<Connection>> + Send + use<'a, S, P> {
        self.open(Some(backend), None, false, context)
    }

    fn pick(&self, head: Option<&RequestHead>, ctx: &Context, tried: &[Backend], now: Instant) -> Result<Backend> {
        let context = SelectionContext::new(ctx.client(), head).after(tried);
        let core = &self.core;
        core.set.with(|snapshot| {
            let all = snapshot.candidates();
            let chosen = if tried.is_empty() && !core.quarantine.is_active() {
                (!all.is_empty()).then(|| core.selector.select(&all, &context)).flatten()
            } else {
                let untried = |backend: &&Backend| !tried.contains(backend);
                let mut rest = core.quarantine.filter(all.iter().filter(untried), now);
                if rest.is_empty() {
                    // Next in line: a backup, or another zone.
                    rest = core.set.eligible(&core.quarantine.filter(snapshot.all().iter().filter(untried), now));
                }
                match rest.is_empty() {
                    true => (!all.is_empty()).then(|| core.selector.select(&all, &context)).flatten(),
                    false => core.selector.select(&snapshot.candidates_among(&rest), &context),
                }
            };
            chosen.ok_or_else(|| ErrorKind::NoBackend.into())
        })
    }

    /// Whether there is a candidate that this request has not been sent to.
    fn has_another(&self, last: Option<&Backend>, tried: &[Backend]) -> bool {
        let untried = |backend: &Backend| Some(backend) != last && !tried.contains(backend);
        self.core.set.with(|snapshot| snapshot.candidates().iter().any(untried))
    }

    /// A connection for the attempt that was begun.
    async fn lease(&self, ctx: &mut Context, started: Instant) -> Result<Lease> {
        let attempt = ctx.attempt.as_ref().ok_or(ErrorKind::NoBackend)?;
        if let Some(lease) = self.pool.checkout(attempt.target(), started) {
            ctx.clocks.connected = Some(started);
            return Ok(lease);
        }
        let lease = self.pool.acquire(attempt.target(), Some(started + self.core.timeouts.connect)).await?;
        ctx.clocks.connected = Some(Instant::now());
        Ok(lease)
    }

    /// One try: a connection, then the exchange on it.
    async fn attempt(&self, head: &mut RequestHead, body: Body, ctx: &mut Context, started: Instant) -> Tried {
        ctx.phase = Phase::Connect;
        let mut lease = match self.lease(ctx, started).await {
            Ok(lease) => lease,
            Err(error) => return Tried::NotConnected(error, body),
        };
        ctx.phase = Phase::Send;
        add_host(head, ctx.backend());
        if let Some(stream) = lease.take_stream() {
            let (request, secure) = ((head, body), self.core.tls.is_some());
            let exchange = http2::client::exchange(stream, request, secure, &self.core.rules, ctx);
            return Box::pin(exchange).await.map_or_else(Tried::Failed, Tried::Answered);
        }
        if self.core.protocol == Protocol::Http2 {
            // The pool is none of ours, and has connections of HTTP/1 alone.
            return Tried::NotConnected(ErrorKind::Unsupported.into(), body);
        }
        let mut exchange = client::Exchange::new(lease, head, body, &self.core.rules);
        let result = poll_fn(|cx| exchange.poll(cx, ctx)).await;
        match exchange.conclude(result, head.method(), ctx) {
            Ok(response) => Tried::Answered(response),
            Err(failure) => Tried::Failed(failure),
        }
    }

    fn begin(&self, (backend, permit): Choice, way: Way<'_>, ctx: &mut Context, now: Instant) {
        ctx.attempts += 1;
        ctx.attempt = None;
        ctx.clocks.connecting.get_or_insert(now);
        let sink: Arc<dyn AttemptSink> = Arc::<Core<S>>::clone(&self.core);
        let target = Target::of(backend, way.protocol, way.tls);
        let target = match way.destination {
            None => target,
            Some(destination) => target.with_destination(Arc::clone(destination)),
        };
        let target = match &self.core.introduces {
            None => target,
            Some(sender) => target.with_proxy_header(sender.header(ctx.peer())),
        };
        ctx.attempt = Some(AttemptGuard::begin(sink, target, ctx.attempts, now).with_permit(permit));
    }

    fn answered(&self, status: StatusCode, ctx: &mut Context) {
        let first_byte = ctx.clocks.first_byte;
        if let Some(attempt) = &mut ctx.attempt {
            attempt.answered(status);
            if let Some(first_byte) = first_byte {
                attempt.first_byte(first_byte);
            }
            self.core.quarantine.release(attempt.backend());
        }
    }

    /// A raw connection stands.
    fn connected(&self, ctx: &mut Context) {
        let now = ctx.clocks.connected.unwrap_or_else(Instant::now);
        if let Some(attempt) = &mut ctx.attempt {
            attempt.connected(now);
            self.core.quarantine.release(attempt.backend());
        }
    }

    /// Whether a request that could not be sent may go elsewhere.
    fn after_connect(&self, error: &Error, retries: &mut Retries<'_>, ctx: &Context) -> bool {
        // A refusal says nothing about the backend, and mostly every other would refuse as well.
        let helps = NextHopRefusal::of(error).is_none_or(NextHopRefusal::is_worth_another);
        helps
            && ctx.backend().is_some_and(|backend| {
                self.core.quarantine.confine(backend, error);
                retries.after_connect(backend)
            })
    }

    fn random(&self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014): any seed will do, and a lost race only repeats a number.
        let mut z = self.core.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// What an attempt's connection is.
#[derive(Clone, Copy)]
struct Way<'a> {
    protocol: Protocol,
    tls: Option<&'a Arc<dyn ClientHandshake>>,
    destination: Option<&'a Arc<str>>,
}

/// How one attempt went.
enum Tried {
    Answered(Response),
    NotConnected(Error, Body),
    Failed(Failure),
}

impl<S: Selector, P: Pool> Cluster<S, P> {
    /// The exchange of a request: with `chosen`, or else with whom the selector chooses.
    async fn exchange(&self, chosen: Option<&Backend>, request: Request, ctx: &mut Context) -> Result<Response> {
        if *request.head().method() == Method::CONNECT {
            return Err(ErrorKind::ConnectRefusedHere.into());
        }
        let (mut head, mut body) = request.into_parts();
        let idempotent = head.method().is_idempotent();
        let mut retries = Retries::new(&self.core.policy, &self.core.budget);
        let destination = self.core.next_hop.destination_of(&head)?;
        let way = Way {
            protocol: self.core.protocol_of(ctx),
            tls: self.core.tls.as_ref(),
            destination: destination.as_ref(),
        };
        loop {
            let now = if retries.is_first() { ctx.clocks.started } else { Instant::now() };
            let choice = self.choose(chosen, Some(&head), ctx, retries.tried(), now)?;
            let tried = if ctx.has_filters() {
                let backend = choice.0.clone();
                self.begin(choice, way, ctx, now);
                // A fresh copy of the edits for each attempt: its hooks see no other attempt's.
                let mut fresh = head.clone();
                ctx.forward(&mut fresh, &backend)?;
                self.attempt(&mut fresh, body, ctx, now).await
            } else {
                self.begin(choice, way, ctx, now);
                self.attempt(&mut head, body, ctx, now).await
            };
            let (error, again) = match tried {
                Tried::Answered(response) => {
                    self.answered(response.head().status(), ctx);
                    return Ok(response);
                }
                Tried::NotConnected(error, rest) => {
                    let again = chosen.is_none() && self.after_connect(&error, &mut retries, ctx);
                    (error, again.then_some(rest))
                }
                Tried::Failed(mut failure) => {
                    let elsewhere = chosen.is_none() && self.has_another(ctx.backend(), retries.tried());
                    let response = failure.response.take();
                    let (error, again) = retries.after_exchange(ctx.backend(), failure, idempotent, elsewhere);
                    if let (Some(response), None) = (response, &again) {
                        self.answered(response.head().status(), ctx);
                        return Ok(*response);
                    }
                    (error, again)
                }
            };
            if let Some(attempt) = &mut ctx.attempt {
                attempt.fail(error.kind());
            }
            body = again.ok_or(error)?;
            if let Some(pause) = retries.pause(self.random()) {
                Box::pin(tokio::time::sleep(pause)).await;
            }
        }
    }

    /// A connection for bytes of any protocol, to `chosen` or to whom the selector chooses, and on from there to the
    /// `destination`. `secured`: over TLS, where the backends speak it.
    async fn open(
        &self,
        chosen: Option<&Backend>,
        destination: Option<Arc<str>>,
        secured: bool,
        ctx: &mut Context,
    ) -> Result<Connection> {
        let mut retries = Retries::new(&self.core.policy, &self.core.budget);
        let tls = self.core.tls.as_ref().filter(|_| secured);
        let way = Way { protocol: Protocol::Raw, tls, destination: destination.as_ref() };
        loop {
            let now = Instant::now();
            let choice = self.choose(chosen, None, ctx, retries.tried(), now)?;
            self.begin(choice, way, ctx, now);
            match self.lease(ctx, now).await {
                Ok(lease) => {
                    self.connected(ctx);
                    return Ok(lease.into_connection());
                }
                Err(error) => {
                    let again = chosen.is_none() && self.after_connect(&error, &mut retries, ctx);
                    if let Some(attempt) = &mut ctx.attempt {
                        attempt.fail(error.kind());
                    }
                    if !again {
                        return Err(error);
                    }
                }
            }
            if let Some(pause) = retries.pause(self.random()) {
                Box::pin(tokio::time::sleep(pause)).await;
            }
        }
    }
}

#[async_trait]
impl<S: Selector, P: Pool> Upstream for Cluster<S, P> {
    // Written by hand: the exchange is the future in the box, and not one that is moved into another.
    fn send<'life0, 'life1, 'async_trait>(
        &'life0 self,
        request: Request,
        ctx: &'life1 mut Context,
    ) -> Pin<Box<dyn Future<Output = Result<Response>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.exchange(None, request, ctx))
    }

    async fn connect(&self, destination: Option<&str>, ctx: &mut Context) -> Result<Connection> {
        // Where the client names the server, TLS is the client's to speak: unless it is for the proxy in between.
        let secured = destination.is_none() || self.core.next_hop != NextHop::Origin;
        self.open(None, self.core.next_hop.destination(destination), secured, ctx).await
    }

    fn assign(&self, ctx: &mut Context) -> Result<()> {
        if self.core.introduces.is_some() {
            // A header for each datagram is another protocol.
            return Err(ErrorKind::Unsupported.into());
        }
        let now = Instant::now();
        let choice = self.choose(None, None, ctx, &[], now)?;
        self.begin(choice, Way { protocol: Protocol::Raw, tls: None, destination: None }, ctx, now);
        Ok(())
    }
}

/// An HTTP/1.0 client need not name a host; an HTTP/1.1 request must.
fn add_host(head: &mut RequestHead, backend: Option<&Backend>) {
    if let Some(backend) = backend
        && !head.headers().has(crate::head::Known::Host)
    {
        let named = head.authority_bytes().map(<[u8]>::to_vec);
        let host = named.unwrap_or_else(|| match backend.address() {
            Address::Unix(_) => b"localhost".to_vec(),
            address => address.to_string().into_bytes(),
        });
        head.headers_mut().add(b"Host", &host);
    }
}

impl<S: fmt::Debug, P> fmt::Debug for Cluster<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("selector", &self.core.selector)
            .field("set", &self.core.set)
            .finish_non_exhaustive()
    }
}
