//! Connections and requests of a listener.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy_core::{Context, ErrorKind, Observer, Outcome, Peer};

use super::open::Connections;
use super::series::Series;
use super::{Failures, lock};
use crate::catalogue;
use crate::growing::Growing;
use crate::sample::{Samples, Value};
use crate::sharded::Sharded;
use crate::times::{Distribution, Times};

/// What a route or an upstream is called in a label where there is none.
const NONE: &str = "none";

/// Observes one proxy: its connections and requests. See [`Metrics::listener`](super::Metrics::listener).
///
/// For one proxy only: it knows routes and upstreams by their places in it.
pub struct ListenerMetrics {
    listener: Arc<Listener>,
    /// By route, then by upstream; place 0 is for none.
    table: Growing<Growing<Arc<Series>>>,
    /// Of connections that have no request, by upstream.
    sessions: Growing<Arc<Series>>,
}

/// What is counted about a listener, whichever proxy serves it.
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    cells: Sharded<Cells>,
    series: Mutex<Vec<Arc<Series>>>,
    /// Of connections that have no request; their route is none.
    sessions: Mutex<Vec<Arc<Series>>>,
    handshakes: Sharded<Handshakes>,
    failures: Arc<Failures>,
    pub(crate) open: Connections,
    /// Why connections were ended, and how many. Few reasons, and rare.
    broken: Mutex<Vec<(ErrorKind, u64)>>,
    /// Observers that live.
    observers: AtomicUsize,
}

#[derive(Default)]
struct Cells {
    opened: AtomicU64,
    closed: AtomicU64,
    started: AtomicU64,
    ended: AtomicU64,
}

#[derive(Default)]
struct Handshakes {
    full: Times,
    resumed: Times,
    failed: AtomicU64,
}

impl ListenerMetrics {
    pub(super) fn new(listener: Arc<Listener>) -> Self {
        listener.observers.fetch_add(1, Ordering::Relaxed);
        ListenerMetrics { listener, table: Growing::default(), sessions: Growing::default() }
    }

    /// Lets go of the series of routes and upstreams that `keep` does not know: after a reload.
    pub fn retain(&self, keep: impl Fn(&str, &str) -> bool) {
        for series in [&self.listener.series, &self.listener.sessions] {
            lock(series).retain(|series| keep(&series.route, &series.upstream));
        }
    }

    fn series(&self, context: &Context) -> &Arc<Series> {
        let place = |index: Option<usize>| index.map_or(0, |index| index + 1);
        let of_route = self.table.at(place(context.route_index()), Growing::default);
        of_route.at(place(context.upstream_index()), || {
            let upstream = context.upstream().unwrap_or(NONE);
            of_names(&self.listener.series, context.route().unwrap_or(NONE), upstream)
        })
    }

    fn sessions(&self, context: &Context) -> &Arc<Series> {
        let place = context.upstream_index().map_or(0, |index| index + 1);
        self.sessions.at(place, || of_names(&self.listener.sessions, NONE, context.upstream().unwrap_or(NONE)))
    }
}

impl Observer for ListenerMetrics {
    fn on_connection_opened(&self, peer: &Peer) {
        self.listener.cells.mine().opened.fetch_add(1, Ordering::Relaxed);
        self.listener.open.opened(peer);
    }

    fn on_connection_closed(&self, peer: &Peer, _: u64) {
        self.listener.cells.mine().closed.fetch_add(1, Ordering::Relaxed);
        self.listener.open.closed(peer);
    }

    fn on_connection_failed(&self, _: &Peer, error: ErrorKind) {
        let mut broken = lock(&self.listener.broken);
        match broken.iter_mut().find(|(kind, _)| *kind == error) {
            Some((_, count)) => *count += 1,
            None => broken.push((error, 1)),
        }
    }

    fn on_handshake(&self, peer: &Peer, time: Duration) {
        let handshakes = self.listener.handshakes.mine();
        match &peer.tls {
            Some(tls) if tls.resumed => handshakes.resumed.observe(time),
            Some(_) => handshakes.full.observe(time),
            None => drop(handshakes.failed.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn on_relayed(&self, outcome: &Outcome, context: &Context) {
        self.sessions(context).count(outcome, context);
        self.note(outcome, context);
    }

    fn on_request_started(&self, _: &Peer) {
        self.listener.cells.mine().started.fetch_add(1, Ordering::Relaxed);
    }

    fn on_request_ended(&self, outcome: &Outcome, context: &Context) {
        self.listener.cells.mine().ended.fetch_add(1, Ordering::Relaxed);
        self.series(context).count(outcome, context);
        self.note(outcome, context);
    }
}

impl ListenerMetrics {
    fn note(&self, outcome: &Outcome, context: &Context) {
        if outcome.error.is_some() {
            self.listener.failures.note(&self.listener.name, outcome, context);
        }
    }
}

/// The series of these names: once for each route and upstream of each proxy.
fn of_names(series: &Mutex<Vec<Arc<Series>>>, route: &str, upstream: &str) -> Arc<Series> {
    let mut all = lock(series);
    if let Some(known) = all.iter().find(|series| &*series.route == route && &*series.upstream == upstream) {
        return Arc::clone(known);
    }
    let new = Arc::new(Series::new(route, upstream));
    all.push(Arc::clone(&new));
    new
}

impl Drop for ListenerMetrics {
    fn drop(&mut self) {
        self.listener.observers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Listener {
    pub(super) fn new(name: &Arc<str>, failures: &Arc<Failures>) -> Arc<Self> {
        Arc::new(Listener {
            name: Arc::clone(name),
            cells: Sharded::default(),
            series: Mutex::default(),
            sessions: Mutex::default(),
            handshakes: Sharded::default(),
            failures: Arc::clone(failures),
            open: Connections::default(),
            broken: Mutex::default(),
            observers: AtomicUsize::new(0),
        })
    }

    pub(super) fn is_used(&self) -> bool {
        self.observers.load(Ordering::Relaxed) > 0
    }

    /// By route and upstream.
    pub(crate) fn all_series(&self) -> Vec<Arc<Series>> {
        lock(&self.series).clone()
    }

    /// Raw connections and sessions of datagrams, by upstream.
    pub(crate) fn all_sessions(&self) -> Vec<Arc<Series>> {
        lock(&self.sessions).clone()
    }

    /// TLS handshakes: full, resumed, failed.
    pub(crate) fn handshakes(&self) -> [u64; 3] {
        let [full, resumed] = self.handshake_times().map(|times| times.count());
        [full, resumed, self.handshakes.iter().map(|it| it.failed.load(Ordering::Relaxed)).sum()]
    }

    fn handshake_times(&self) -> [Distribution; 2] {
        [Distribution::of(&self.handshakes, |it| &it.full), Distribution::of(&self.handshakes, |it| &it.resumed)]
    }

    /// Client connections: admitted, and open.
    pub(crate) fn connections(&self) -> (u64, u64) {
        // What ended is read first: it cannot be more than what began.
        let closed = self.sum(|cells| &cells.closed);
        let opened = self.sum(|cells| &cells.opened);
        (opened, opened - closed.min(opened))
    }

    /// Requests that run.
    pub(crate) fn in_flight(&self) -> u64 {
        let ended = self.sum(|cells| &cells.ended);
        self.sum(|cells| &cells.started).saturating_sub(ended)
    }

    fn sum(&self, cell: impl Fn(&Cells) -> &AtomicU64) -> u64 {
        self.cells.iter().map(|cells| cell(cells).load(Ordering::Relaxed)).sum()
    }

    pub(super) fn sample(&self, samples: &mut Samples) {
        let (opened, open) = self.connections();
        samples.count(&catalogue::CONNECTIONS, &[&self.name], opened);
        samples.number(&catalogue::CONNECTIONS_OPEN, &[&self.name], open as f64);
        for (kind, count) in &*lock(&self.broken) {
            samples.count(&catalogue::CONNECTION_FAILURES, &[&self.name, &Arc::from(kind.code())], *count);
        }
        samples.number(&catalogue::REQUESTS_IN_FLIGHT, &[&self.name], self.in_flight() as f64);
        self.all_series().iter().for_each(|series| series.sample(&self.name, samples));
        self.all_sessions().iter().for_each(|series| series.sample_sessions(&self.name, samples));
        self.sample_handshakes(samples);
    }

    /// Nothing, where nobody shakes hands.
    fn sample_handshakes(&self, samples: &mut Samples) {
        let counts = self.handshakes();
        if counts == [0; 3] {
            return;
        }
        for (result, count) in ["full", "resumed", "failed"].into_iter().zip(counts) {
            samples.count(&catalogue::HANDSHAKES, &[&self.name, &result.into()], count);
        }
        let [mut times, resumed] = self.handshake_times();
        times.add(&resumed);
        samples.push(&catalogue::HANDSHAKE, &[&self.name], Value::Times(times));
    }
}

impl fmt::Debug for ListenerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerMetrics").field("listener", &self.listener.name).finish_non_exhaustive()
    }
}
