//! The server side: one client connection and all its streams, on one task.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection};

use super::budget::Budget;
use super::meter::Meter;
use super::seats::{Ready, Seats};
use super::stream::{Ended, Incoming};
use super::wire::{Line, Wire};
use super::{Http2, failure};
use crate::clock::Instant;
use crate::context::Link;
use crate::guard::guarded;
use crate::http1::drain;
use crate::http1::reader::Reader;
use crate::http1::timer::Timer;
use crate::serve::Draining;
use crate::{ErrorKind, Limits};

/// What a stream may have queued here beyond what its client took: more is left where it comes from.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams the codec resets by itself for what the client does (CVE-2025-8671), over a connection's life. Those
/// that it refuses because there are too many count, too: a client may well begin with that.
const MAX_MADE_RESETS: usize = 1024;
/// Streams that may be reset before anybody has seen them (CVE-2023-44487).
const MAX_UNSEEN_RESETS: usize = 64;
/// RFC 9113 §6.9.1.
const MAX_WINDOW: u32 = (1 << 31) - 1;
/// What the codec takes at least.
const MIN_BUDGET: usize = 25_600;
/// How long a closing connection is waited for.
const LINGER: Duration = Duration::from_secs(2);
/// Rounds after which others have their turn.
const ROUNDS: usize = 32;

/// Serves one client until either side has had enough; says how many requests there were.
pub(crate) async fn serve(link: Arc<Link>, draining: &Draining, reader: Reader) -> u64 {
    let Some(shared) = link.proxy.as_ref() else { return 0 };
    let settings = shared.http2.0.clone().unwrap_or_default();
    let wire = Wire::new(reader, Meter::new(settings.max_idle_frames, Instant::now()));
    let line = Arc::clone(wire.line());
    let handshake = builder(&settings, &shared.limits).handshake(wire);
    let patience = shared.timeouts.head;
    let mut handshake = Box::pin(tokio::time::timeout(patience, handshake));
    let shaken = poll_fn(|cx| {
        let shaken = handshake.as_mut().poll(cx);
        if shaken.is_pending()
            && let Poll::Ready(Err(_)) = line.poll_flush(cx)
        {
            return Poll::Ready(None);
        }
        shaken.map(Some)
    })
    .await;
    let connection = match shaken {
        Some(Ok(Ok(connection))) => connection,
        Some(Ok(Err(error))) => {
            report(&link, failure::of_connection(&error, &line.last_words()));
            return 0;
        }
        Some(Err(_)) | None => return 0,
    };
    let mut server = Server::new(connection, Arc::clone(&line), link, draining, &settings);
    poll_fn(|cx| server.poll(cx)).await;
    let requests = server.requests;
    let (failed, link) = (server.failed, Arc::clone(&server.link));
    drop(server);
    if failed.is_some() {
        linger(&link).await;
    }
    requests
}

fn builder(settings: &Http2, limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    // Ours come first: a head that is a little too large gets an answer like any other.
    let list = limits.max_head_bytes + 32 * (limits.max_headers + 1);
    let connection_window = settings.connection_window.min(MAX_WINDOW);
    builder
        .max_concurrent_streams(settings.max_streams.max(1))
        .initial_window_size(settings.stream_window.min(MAX_WINDOW))
        .initial_connection_window_size(connection_window)
        .enable_connect_protocol()
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(MAX_MADE_RESETS))
        .max_pending_accept_reset_streams(MAX_UNSEEN_RESETS)
        // What the codec would choose: set, since other versions choose otherwise, and end good connections.
        .data_frame_budget((connection_window as usize / 2).max(MIN_BUDGET));
    builder
}

/// One connection.
struct Server<'a> {
    connection: Connection<Wire, Bytes>,
    line: Arc<Line>,
    link: Arc<Link>,
    draining: &'a Draining,
    seats: Seats,
    ready: Arc<Ready>,
    /// The codec's waker.
    waker: Waker,
    /// The seats of a round; kept for its memory.
    round: Vec<u32>,
    timer: Timer,
    requests: u64,
    idle_since: Instant,
    /// When a field block began that is not here yet.
    block_since: Option<Instant>,
    /// The client was told that the connection ends, and when nothing was left to do.
    closing: Option<Option<Instant>>,
    resets: Budget,
    failed: Option<ErrorKind>,
}

impl<'a> Server<'a> {
    fn new(
        connection: Connection<Wire, Bytes>,
        line: Arc<Line>,
        link: Arc<Link>,
        draining: &'a Draining,
        settings: &Http2,
    ) -> Self {
        let (ready, now) = (Arc::<Ready>::default(), Instant::now());
        let waker = Waker::from(Arc::clone(&ready));
        waker.wake_by_ref();
        Server {
            connection,
            line,
            link,
            draining,
            seats: Seats::new(Arc::clone(&ready)),
            ready,
            waker,
            round: Vec::new(),
            timer: Timer::default(),
            requests: 0,
            idle_since: now,
            block_since: None,
            closing: None,
            resets: Budget::new(settings.max_resets, Duration::from_millis(20), now),
            failed: None,
        }
    }

    /// Whether it has had as many requests as it may.
    fn is_spent(&self) -> bool {
        let limits = self.link.proxy.as_ref().map(|shared| &shared.limits);
        limits.and_then(|limits| limits.max_requests_per_connection).is_some_and(|max| self.requests >= max)
    }

    /// Ready when the connection has ended.
    fn poll(&mut self, cx: &mut Task<'_>) -> Poll<()> {
        self.ready.look(cx.waker());
        for _ in 0..ROUNDS {
            self.follow();
            let mut round = std::mem::take(&mut self.round);
            let Some(codec) = self.ready.take(&mut round) else {
                self.round = round;
                return self.poll_rest(cx);
            };
            // What came is begun before anything is sent: the answers of a round leave together.
            let ended = codec && self.poll_codec().is_ready();
            for seat in round.drain(..) {
                if let Some(ended) = self.seats.poll(seat) {
                    self.count(ended);
                }
            }
            self.round = round;
            if ended {
                self.seats.poll_all();
                return Poll::Ready(());
            }
            if !tokio::task::coop::has_budget_remaining() {
                break;
            }
        }
        // Others first: what is ready stays so.
        cx.waker().wake_by_ref();
        let _ = self.line.poll_flush(cx);
        Poll::Pending
    }

    /// Nobody is ready: what is to be sent goes, and deadlines are looked at.
    fn poll_rest(&mut self, cx: &mut Task<'_>) -> Poll<()> {
        let mut codec = Task::from_waker(&self.waker);
        // An error shows when the codec reads.
        let flushed = self.line.poll_flush(&mut codec);
        if let Poll::Ready(Err(_)) = flushed {
            self.seats.poll_all();
            return Poll::Ready(());
        }
        match self.poll_deadline(cx) {
            Poll::Ready(Close::Now) => Poll::Ready(()),
            Poll::Ready(Close::Say(reason)) => {
                self.connection.abrupt_shutdown(reason);
                self.closing = Some(Some(Instant::now()));
                self.waker.wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Follows what the server wants: an end, or another proxy.
    fn follow(&mut self) {
        if self.draining.is_renewed(&self.link) {
            self.link = self.link.renewed(self.draining.current());
        }
        if self.closing.is_none() && (self.is_spent() || self.draining.is_on()) {
            self.connection.graceful_shutdown();
            self.closing = Some(None);
            self.waker.wake_by_ref();
        }
    }

    /// Reads, and takes in what came; writes what there is. Ready when the connection has ended.
    fn poll_codec(&mut self) -> Poll<()> {
        let waker = self.waker.clone();
        let mut cx = Task::from_waker(&waker);
        loop {
            match self.connection.poll_accept(&mut cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.requests += 1;
                    self.seats.admit(Incoming { link: Arc::clone(&self.link), request, respond });
                }
                Poll::Ready(Some(Err(error))) => {
                    self.fail(failure::of_connection(&error, &self.line.last_words()));
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if self.line.is_flooded() {
            self.end(ErrorKind::FrameFlood);
        }
        Poll::Pending
    }

    /// A request has ended.
    fn count(&mut self, ended: Ended) {
        match ended {
            Ended::Answered => self.resets.earn(1),
            Ended::Failed => {}
            Ended::Reset if self.resets.spend(Instant::now) => {}
            Ended::Reset => self.end(ErrorKind::RapidReset),
        }
        if self.seats.busy() == 0 {
            self.idle_since = Instant::now();
        }
    }

    /// The client has gone too far: the connection ends at once, and it is told why.
    fn end(&mut self, kind: ErrorKind) {
        if self.failed.is_none() {
            self.fail(Some(kind));
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            self.closing = Some(Some(Instant::now()));
            self.waker.wake_by_ref();
        }
    }

    fn fail(&mut self, kind: Option<ErrorKind>) {
        if self.failed.is_none() {
            report(&self.link, kind);
            self.failed = kind;
        }
    }

    fn poll_deadline(&mut self, cx: &mut Task<'_>) -> Poll<Close> {
        let Some((at, close)) = self.deadline() else { return Poll::Pending };
        match self.timer.poll_at(cx, at) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                if let Close::Say(Reason::ENHANCE_YOUR_CALM) = close {
                    self.fail(Some(ErrorKind::HeadTimeout));
                } else if self.line.blocked_since().is_some() {
                    self.fail(Some(ErrorKind::WriteTimeout));
                }
                Poll::Ready(close)
            }
        }
    }

    /// What the connection waits for at most, and what happens then.
    fn deadline(&mut self) -> Option<(Instant, Close)> {
        let timeouts = &self.link.proxy.as_ref()?.timeouts;
        if let Some(since) = self.line.blocked_since() {
            return Some((since + timeouts.write_idle, Close::Now));
        }
        if self.line.is_within_fields() {
            let since = *self.block_since.get_or_insert_with(Instant::now);
            return Some((since + timeouts.head, Close::Say(Reason::ENHANCE_YOUR_CALM)));
        }
        self.block_since = None;
        if self.seats.busy() > 0 {
            return None;
        }
        if let Some(closing) = &mut self.closing {
            return Some((*closing.get_or_insert_with(Instant::now) + LINGER, Close::Now));
        }
        let patience = if self.requests == 0 { timeouts.head } else { timeouts.keep_alive };
        Some((self.idle_since + patience, Close::Say(Reason::NO_ERROR)))
    }
}

/// How a connection ends.
enum Close {
    /// Without a word: the client would not take one.
    Now,
    Say(Reason),
}

fn report(link: &Link, kind: Option<ErrorKind>) {
    let (Some(kind), Some(shared)) = (kind, &link.proxy) else { return };
    let client = link.peer.address.map(|address| address.ip());
    tracing::debug!(code = kind.code(), client = client.map(tracing::field::display), "connection failed");
    if let Some(observer) = &shared.observer {
        let _ = guarded(|| {
            observer.on_connection_failed(&link.peer, kind);
            Ok(())
        });
    }
}

/// Throws away what the client sends on, so that our last words are not lost to a reset.
async fn linger(link: &Link) {
    let (Some(stream), Some(shared)) = (&link.client, &link.proxy) else { return };
    let (mut reader, mut left) = (Reader::new(stream.clone()), shared.limits.max_drain_bytes);
    let (mut timer, deadline) = (Timer::default(), Instant::now() + LINGER);
    poll_fn(|cx| match drain::poll_linger(cx, &mut reader, &mut left) {
        Poll::Pending => timer.poll_at(cx, deadline),
        ready => ready,
    })
    .await;
}
