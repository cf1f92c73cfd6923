//! One connection to a backend.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::group::Group;
use crate::clock::Instant;
use crate::pool::{Home, PoolHttp2};
use crate::{Error, ErrorKind, Io, Result};

/// What a stream may have queued here beyond what its backend took.
const SEND_BUFFER: usize = 64 * 1024;
/// A head that a cluster may take: beyond, the codec refuses it before any of our limits is asked.
const MAX_HEAD_LIST: u32 = 256 * 1024;
/// Streams that the codec resets by itself for what a backend does, over a connection's life.
const MAX_MADE_RESETS: usize = 1024;
/// RFC 9113 §6.9.1.
const MAX_WINDOW: u64 = (1 << 31) - 1;
/// What the codec takes at least.
const MIN_BUDGET: usize = 25_600;
/// How often a connection is looked at: what it waits for is exact to a quarter.
const SHORTEST_TICK: Duration = Duration::from_millis(50);
const LONGEST_TICK: Duration = Duration::from_secs(5);
/// Ticks that a connection which is closing may take to say so.
const LINGER_TICKS: u32 = 2;

/// What requests see of a connection.
pub(super) struct Session {
    /// Until no stream is begun any more.
    send: Mutex<Option<SendRequest<Bytes>>>,
    /// Streams that the backend takes at a time.
    limit: AtomicUsize,
    received: Arc<AtomicU64>,
}

/// How long connections are used.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) idle_timeout: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Duration,
}

/// A connection whose backend has said that it speaks HTTP/2.
pub(crate) struct Opened {
    session: Arc<Session>,
    connection: Connection<Counted, Bytes>,
}

/// Shakes hands. The backend's settings are awaited: one that speaks something else gets no request.
pub(crate) async fn open(io: Box<dyn Io>, settings: &PoolHttp2) -> Result<Opened> {
    let refused = |source: h2::Error| Error::new(ErrorKind::ConnectHttp2).with_source(source);
    let received = Arc::<AtomicU64>::default();
    let io = Counted { io, received: Arc::clone(&received) };
    let (send, mut connection) = builder(settings).handshake(io).await.map_err(refused)?;
    std::future::poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(Error::new(ErrorKind::ConnectHttp2))),
        Poll::Ready(Err(error)) => Poll::Ready(Err(refused(error))),
        Poll::Pending if connection.max_concurrent_send_streams() == 0 => Poll::Pending,
        Poll::Pending => Poll::Ready(Ok(())),
    })
    .await?;
    let limit = AtomicUsize::new(connection.max_concurrent_send_streams());
    let session = Arc::new(Session { send: Mutex::new(Some(send)), limit, received });
    Ok(Opened { session, connection })
}

fn builder(settings: &PoolHttp2) -> Builder {
    let stream = u64::from(settings.stream_window).min(MAX_WINDOW);
    // As much as all streams together: no client that reads slowly keeps others' responses back.
    let connection = stream.saturating_mul(settings.max_streams.max(1) as u64).min(MAX_WINDOW);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        // Unknown until the backend's settings are here.
        .initial_max_send_streams(0)
        .initial_window_size(stream as u32)
        .initial_connection_window_size(connection as u32)
        .max_header_list_size(MAX_HEAD_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(MAX_MADE_RESETS))
        // What the codec would choose: set, since other versions choose otherwise, and end good connections.
        .data_frame_budget((connection as usize / 2).max(MIN_BUDGET));
    builder
}

impl Session {
    fn send(&self) -> MutexGuard<'_, Option<SendRequest<Bytes>>> {
        self.send.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What begins a stream; `None` where none is begun any more.
    pub(super) fn sender(&self) -> Option<SendRequest<Bytes>> {
        self.send().clone()
    }

    /// Begins no stream any more: the connection ends with its last one.
    pub(super) fn close(&self) {
        drop(self.send().take());
    }

    /// Streams that the backend takes at a time.
    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Bytes that came so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Whether the backend, or the connection's end, refuses further streams.
    fn is_refused(&self, cx: &mut Task<'_>) -> bool {
        self.send().as_mut().is_some_and(|send| matches!(send.poll_ready(cx), Poll::Ready(Err(_))))
    }
}

impl Opened {
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Drives the connection until it ends; its place is taken for as long.
    pub(super) fn drive(self, group: Arc<Group>, life: Life, place: Arc<dyn Home>) -> impl Future<Output = ()> + Send {
        let Opened { session, mut connection } = self;
        let pinger = connection.ping_pong().map(|pings| Pinger::new(pings, &life));
        let ticks = ticks(&life);
        let mut driver = Driver { connection, session, group, life, pinger, ticks, ends_in: None, _place: place };
        async move { std::future::poll_fn(|cx| driver.poll(cx)).await }
    }
}

fn ticks(life: &Life) -> Interval {
    let ping = life.ping_interval.map(|interval| interval.min(life.ping_timeout));
    let shortest = [Some(life.idle_timeout), life.max_age, ping].into_iter().flatten().min();
    let period = shortest.map_or(LONGEST_TICK, |shortest| shortest / 4).clamp(SHORTEST_TICK, LONGEST_TICK);
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The task of a connection.
struct Driver {
    connection: Connection<Counted, Bytes>,
    session: Arc<Session>,
    group: Arc<Group>,
    life: Life,
    pinger: Option<Pinger>,
    ticks: Interval,
    /// Ticks that are left to a connection which has no streams and begins none.
    ends_in: Option<u32>,
    /// Given up once the connection is closed.
    _place: Arc<dyn Home>,
}

impl Driver {
    /// Ready when the connection has ended.
    fn poll(&mut self, cx: &mut Task<'_>) -> Poll<()> {
        if Pin::new(&mut self.connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let limit = self.connection.max_concurrent_send_streams();
        if self.session.limit.swap(limit, Ordering::Relaxed) < limit {
            self.group.fill();
        }
        if self.session.is_refused(cx) {
            self.group.retire(&self.session);
        }
        if let Some(pinger) = &mut self.pinger {
            pinger.poll_pong(cx);
        }
        while self.ticks.poll_tick(cx).is_ready() {
            if self.tick().is_ready() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Ready when there is nothing to wait for any more.
    fn tick(&mut self) -> Poll<()> {
        let now = Instant::now();
        if let Some(left) = &mut self.ends_in {
            *left = left.saturating_sub(1);
            return if *left == 0 { Poll::Ready(()) } else { Poll::Pending };
        }
        let Some(busy) = self.group.look_after(&self.session, &self.life, now) else {
            self.ends_in = Some(LINGER_TICKS);
            return Poll::Pending;
        };
        match &mut self.pinger {
            Some(pinger) if busy => pinger.tick(self.session.received(), now),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.group.gone(&self.session);
    }
}

/// Asks a silent backend whether it is there.
struct Pinger {
    pings: PingPong,
    interval: Option<Duration>,
    timeout: Duration,
    /// When the backend last said something, and how much it had said then.
    heard: Option<(u64, Instant)>,
    asked: Option<Instant>,
}

impl Pinger {
    fn new(pings: PingPong, life: &Life) -> Self {
        Pinger { pings, interval: life.ping_interval, timeout: life.ping_timeout, heard: None, asked: None }
    }

    fn poll_pong(&mut self, cx: &mut Task<'_>) {
        if self.asked.is_some() && self.pings.poll_pong(cx).is_ready() {
            self.asked = None;
        }
    }

    /// Ready when the backend has not answered in time.
    fn tick(&mut self, received: u64, now: Instant) -> Poll<()> {
        let Some(interval) = self.interval else { return Poll::Pending };
        if let Some(asked) = self.asked {
            return if now.saturating_duration_since(asked) < self.timeout { Poll::Pending } else { Poll::Ready(()) };
        }
        let since = match self.heard {
            Some((before, since)) if before == received => since,
            _ => self.heard.insert((received, now)).1,
        };
        if now.saturating_duration_since(since) >= interval && self.pings.send_ping(Ping::opaque()).is_ok() {
            self.asked = Some(now);
        }
        Poll::Pending
    }
}

/// Counts what comes.
struct Counted {
    io: Box<dyn Io>,
    received: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Task<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = room.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, room))?;
        self.received.fetch_add((room.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Task<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
