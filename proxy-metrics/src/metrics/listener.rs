//! Connections and requests of a listener.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use proxy_core::{Context, ErrorKind, Observer, Outcome, Peer};

use super::series::Series;
use super::{Failures, lock};
use crate::catalogue;
use crate::growing::Growing;
use crate::sample::Samples;
use crate::sharded::Sharded;

/// What a route or an upstream is called in a label where there is none.
const NONE: &str = "none";

/// Observes one proxy: its connections and requests. See [`Metrics::listener`](super::Metrics::listener).
///
/// For one proxy only: it knows routes and upstreams by their places in it.
pub struct ListenerMetrics {
    listener: Arc<Listener>,
    /// By route, then by upstream; place 0 is for none.
    table: Growing<Growing<Arc<Series>>>,
}

/// What is counted about a listener, whichever proxy serves it.
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    cells: Sharded<Cells>,
    series: Mutex<Vec<Arc<Series>>>,
    failures: Arc<Failures>,
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

impl ListenerMetrics {
    pub(super) fn new(listener: Arc<Listener>) -> Self {
        listener.observers.fetch_add(1, Ordering::Relaxed);
        ListenerMetrics { listener, table: Growing::default() }
    }

    /// Lets go of the series of routes and upstreams that `keep` does not know: after a reload.
    pub fn retain(&self, keep: impl Fn(&str, &str) -> bool) {
        lock(&self.listener.series).retain(|series| keep(&series.route, &series.upstream));
    }

    fn series(&self, context: &Context) -> &Arc<Series> {
        let place = |index: Option<usize>| index.map_or(0, |index| index + 1);
        let of_route = self.table.at(place(context.route_index()), Growing::default);
        of_route.at(place(context.upstream_index()), || {
            self.listener.series(context.route().unwrap_or(NONE), context.upstream().unwrap_or(NONE))
        })
    }
}

impl Observer for ListenerMetrics {
    fn on_connection_opened(&self, _: &Peer) {
        self.listener.cells.mine().opened.fetch_add(1, Ordering::Relaxed);
    }

    fn on_connection_closed(&self, _: &Peer, _: u64) {
        self.listener.cells.mine().closed.fetch_add(1, Ordering::Relaxed);
    }

    fn on_connection_failed(&self, _: &Peer, error: ErrorKind) {
        let mut broken = lock(&self.listener.broken);
        match broken.iter_mut().find(|(kind, _)| *kind == error) {
            Some((_, count)) => *count += 1,
            None => broken.push((error, 1)),
        }
    }

    fn on_request_started(&self, _: &Peer) {
        self.listener.cells.mine().started.fetch_add(1, Ordering::Relaxed);
    }

    fn on_request_ended(&self, outcome: &Outcome, context: &Context) {
        self.listener.cells.mine().ended.fetch_add(1, Ordering::Relaxed);
        self.series(context).count(outcome, context);
        if outcome.error.is_some() {
            self.listener.failures.note(&self.listener.name, outcome, context);
        }
    }
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
            failures: Arc::clone(failures),
            broken: Mutex::default(),
            observers: AtomicUsize::new(0),
        })
    }

    pub(super) fn is_used(&self) -> bool {
        self.observers.load(Ordering::Relaxed) > 0
    }

    /// The series of these names: once for each route and upstream of each proxy.
    fn series(&self, route: &str, upstream: &str) -> Arc<Series> {
        let mut all = lock(&self.series);
        if let Some(known) = all.iter().find(|series| &*series.route == route && &*series.upstream == upstream) {
            return Arc::clone(known);
        }
        let new = Arc::new(Series::new(route, upstream));
        all.push(Arc::clone(&new));
        new
    }

    /// By route and upstream.
    pub(crate) fn all_series(&self) -> Vec<Arc<Series>> {
        lock(&self.series).clone()
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
    }
}

impl fmt::Debug for ListenerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerMetrics").field("listener", &self.listener.name).finish_non_exhaustive()
    }
}
