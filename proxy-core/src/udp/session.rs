//! One client and its backend, from the first datagram to the last.

use std::any::Any;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep_until};

use super::Shared;
use super::socket::{Sent, Way, is_refusal, send_to};
use crate::clock::Instant;
use crate::context::Link;
use crate::ending;
use crate::guard::guarded;
use crate::span;
use crate::{Address, AttemptResult, Backend, BackendState, Context, Error, ErrorKind, Fault, Phase, Result};

/// The largest datagram there is, with its headers.
pub(super) const MAX_DATAGRAM: usize = 64 * 1024;
/// Answers that are brought back before other tasks get a turn.
const ROUNDS: usize = 32;

thread_local! {
    /// What answers are read into: nothing of one stays in it.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One client and its backend. It ends exactly once: when it is told to, or when it is dropped because the server
/// stopped.
pub(super) struct Session {
    client: SocketAddr,
    shared: Arc<Shared>,
    link: Arc<Link>,
    backend: Backend,
    /// Whether the backend was in order when it was chosen; it may have been the last resort.
    was_well: bool,
    way: Way,
    began: Instant,
    /// Milliseconds from then to when something moved last.
    moved: AtomicU64,
    asked: AtomicU32,
    answered: AtomicU32,
    received: AtomicU64,
    sent: AtomicU64,
    task: OnceLock<AbortHandle>,
    /// Until it ends.
    life: Mutex<Option<Life>>,
}

/// What a session has until it ends.
struct Life {
    ctx: Box<Context>,
    /// What filters and limits want back.
    _held: Box<dyn Any + Send>,
}

/// What a session's client may do with its next datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send it on.
    Same,
    /// Begin another session.
    Another,
}

impl Session {
    /// Chooses a backend for a new client.
    pub(super) fn begin(
        shared: Arc<Shared>,
        link: Arc<Link>,
        client: SocketAddr,
        held: Box<dyn Any + Send>,
    ) -> Option<Arc<Self>> {
        let now = Instant::now();
        let mut ctx = crate::context::take(&link, now);
        ctx.span = span::connection(ctx.peer());
        ctx.upstream = Some(0);
        ctx.phase = Phase::Connect;
        let assigned = guarded(|| shared.upstream.assign(&mut ctx));
        let backend = match (assigned, ctx.backend()) {
            (Ok(()), Some(backend)) => backend.clone(),
            (Ok(()), None) => return refused(&shared, ctx, &ErrorKind::NoBackend.into()),
            (Err(error), _) => return refused(&shared, ctx, &error),
        };
        if let Some(observer) = &shared.observer {
            observer.on_connection_opened(&link.peer);
        }
        Some(Arc::new(Session {
            client,
            shared,
            link,
            was_well: is_well(&backend),
            backend,
            way: Way::default(),
            began: now,
            moved: AtomicU64::new(0),
            asked: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            task: OnceLock::new(),
            life: Mutex::new(Some(Life { ctx, _held: held })),
        }))
    }

    pub(super) fn client(&self) -> SocketAddr {
        self.client
    }

    /// Has this task ended with the session.
    pub(super) fn runs_in(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    /// Opens the way to the backend where nothing has to be waited for.
    pub(super) fn open(&self) -> Result<()> {
        match self.backend.address() {
            Address::Tcp(address) => self.open_to(*address),
            Address::Name(..) => Ok(()),
            Address::Unix(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn open_to(&self, address: SocketAddr) -> Result<()> {
        self.way.open(address).map_err(|error| Error::new(ErrorKind::ConnectRefused).with_source(error))
    }

    /// What is to be done with the next datagram: this session's are counted, and its backend may have failed.
    pub(super) fn next(&self) -> Next {
        let enough = self.shared.settings.requests.is_some_and(|most| self.asked.load(Ordering::Relaxed) >= most);
        match enough || (self.was_well && !is_well(&self.backend)) {
            true => Next::Another,
            false => Next::Same,
        }
    }

    /// Sends a datagram of the client on.
    ///
    /// # Errors
    /// If the backend does not take it.
    pub(super) fn send(&self, datagram: &[u8]) -> Result<()> {
        match self.way.send(datagram) {
            Sent::Yes => {
                self.touch();
                self.asked.fetch_add(1, Ordering::Relaxed);
                self.received.fetch_add(datagram.len() as u64, Ordering::Relaxed);
                Ok(())
            }
            Sent::Dropped => Ok(()),
            Sent::Refused(error) => Err(Error::new(ErrorKind::ConnectRefused).with_source(error)),
        }
    }

    /// Brings back answers through `front` until there is no more to come.
    ///
    /// # Errors
    /// If the backend cannot be reached.
    pub(super) async fn run(&self, front: &UdpSocket) -> Result<()> {
        if let Address::Name(host, port) = self.backend.address() {
            self.resolve(host, *port).await?;
        }
        let mut timer = Box::pin(sleep_until(self.began + self.shared.settings.idle));
        tokio::select! {
            biased;
            result = poll_fn(|cx| self.poll(cx, front, &mut timer)) => result,
            error = self.way.refusal() => Err(Error::new(ErrorKind::ConnectRefused).with_source(error)),
        }
    }

    /// Within the time that a session may be idle.
    async fn resolve(&self, host: &str, port: u16) -> Result<()> {
        let unresolved = |error| Error::new(ErrorKind::Resolve).with_source(error);
        let lookup = tokio::time::timeout(self.shared.settings.idle, tokio::net::lookup_host((host, port)));
        let found = lookup.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unresolved)?;
        let mut failed = Error::new(ErrorKind::Resolve);
        for address in found {
            match self.open_to(address) {
                Ok(()) => return Ok(()),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn poll(&self, cx: &mut Task<'_>, front: &UdpSocket, timer: &mut Pin<Box<Sleep>>) -> Poll<Result<()>> {
        for _ in 0..ROUNDS {
            match self.poll_answer(cx, front) {
                Poll::Ready(Ok(())) if self.is_answered() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_idle(cx, timer),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Brings one answer back.
    fn poll_answer(&self, cx: &mut Task<'_>, front: &UdpSocket) -> Poll<Result<()>> {
        ROOM.with_borrow_mut(|room| {
            room.resize(MAX_DATAGRAM, 0);
            let count = ready!(self.way.poll_receive(cx, room)).map_err(|error| {
                let kind = if is_refusal(&error) { ErrorKind::ConnectRefused } else { ErrorKind::UpstreamIo };
                Error::new(kind).with_source(error)
            })?;
            self.touch();
            if self.answered.fetch_add(1, Ordering::Relaxed) == 0 {
                self.first_answer();
            }
            // Where there is no room for it, or the client's machine is unknown, it is lost as any datagram is.
            if send_to(front, &room[..count], self.client).is_ok() {
                self.sent.fetch_add(count as u64, Ordering::Relaxed);
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Ready once nothing has moved for too long.
    fn poll_idle(&self, cx: &mut Task<'_>, timer: &mut Pin<Box<Sleep>>) -> Poll<Result<()>> {
        loop {
            ready!(timer.as_mut().poll(cx));
            let moved = self.began + Duration::from_millis(self.moved.load(Ordering::Relaxed));
            let deadline = moved + self.shared.settings.idle;
            if deadline <= Instant::now() {
                let missing = self.shared.settings.responses.is_some() && !self.is_answered();
                return Poll::Ready(if missing { Err(ErrorKind::ResponseTimeout.into()) } else { Ok(()) });
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// Whether every datagram of the client has as many answers as there are to be.
    fn is_answered(&self) -> bool {
        let Some(each) = self.shared.settings.responses else { return false };
        let expected = u64::from(self.asked.load(Ordering::Relaxed)) * u64::from(each);
        u64::from(self.answered.load(Ordering::Relaxed)) >= expected
    }

    fn first_answer(&self) {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Life { ctx, .. }) = &mut *life else { return };
        let now = Instant::now();
        ctx.phase = Phase::Tunnel;
        ctx.clocks.first_byte = Some(now);
        if let Some(attempt) = &mut ctx.attempt {
            attempt.reached(now);
        }
    }

    fn touch(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(since, Ordering::Relaxed);
    }

    /// It ends now, for this reason if not by itself. Whoever comes second does nothing.
    pub(super) fn end(&self, result: Result<()>) {
        let life = self.life.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Life { mut ctx, _held }) = life else { return };
        let now = Instant::now();
        let error = result.err();
        let kind = error.as_ref().map(Error::kind);
        if let Some(attempt) = &mut ctx.attempt {
            match &error {
                Some(error) if error.fault() == Fault::Upstream => attempt.unreachable(error, now),
                _ => attempt.end(AttemptResult::Relayed, now),
            }
        }
        if let Some(error) = &error {
            ending::note("session", error, &ctx);
        }
        let moved = [&self.received, &self.sent].map(|count| count.load(Ordering::Relaxed));
        let outcome = ending::outcome(kind, &ctx, now, moved);
        ending::tell(&self.shared.filters, self.shared.observer(), &outcome, &ctx);
        if let Some(observer) = &self.shared.observer {
            observer.on_connection_closed(&self.link.peer, 0);
        }
        crate::context::give(ctx);
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end(Err(ErrorKind::ShuttingDown.into()));
    }
}

/// What draining and healthy backends are: whoever has a session goes on with it.
fn is_well(backend: &Backend) -> bool {
    matches!(backend.state(), BackendState::Healthy | BackendState::Draining)
}

/// There is no backend for a client.
fn refused(shared: &Shared, ctx: Box<Context>, error: &Error) -> Option<Arc<Session>> {
    ending::note("session", error, &ctx);
    let outcome = ending::outcome(Some(error.kind()), &ctx, Instant::now(), [0; 2]);
    ending::tell(&shared.filters, shared.observer(), &outcome, &ctx);
    crate::context::give(ctx);
    None
}
