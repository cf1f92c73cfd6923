//! Who uses a forward proxy, and for which hosts.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use proxy_core::{Context, Filter, Outcome, User};

use super::lock;
use crate::catalogue::{self, Metric};
use crate::sample::Samples;

/// The label of all that have no row of their own.
const OTHERS: &str = "(others)";
/// Names of hosts are shorter (RFC 1035 §2.3.4), and those of users as well.
const MAX_NAME: usize = 255;

/// A filter that counts requests and bytes by user and by host: see [`Metrics::usage`](super::Metrics::usage).
///
/// Tunnels count as a request each, with what went through them. A host is one that was connected to, or asked: clients
/// that name others fill no rows. Where there are as many rows as there may be, all further names share one.
pub struct UsageMetrics(Arc<Usage>);

/// What is counted of one listener, whichever proxy serves it.
pub(crate) struct Usage {
    listener: Arc<str>,
    users: Mutex<Table>,
    hosts: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    most: usize,
    rows: HashMap<Arc<str>, Counts>,
    others: Counts,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    requests: u64,
    received: u64,
    sent: u64,
}

impl UsageMetrics {
    pub(super) fn new(usage: Arc<Usage>, users: usize, hosts: usize) -> Self {
        lock(&usage.users).most = users;
        lock(&usage.hosts).most = hosts;
        UsageMetrics(usage)
    }
}

impl Filter for UsageMetrics {
    fn on_done(&self, outcome: &Outcome, context: &Context) {
        if let Some(user) = context.get::<User>() {
            lock(&self.0.users).count(user.name(), outcome);
        }
        let host = context.request().filter(|_| context.attempts() > 0).and_then(|head| head.host());
        if let Some(host) = host {
            let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
            lock(&self.0.hosts).count(&host, outcome);
        }
    }
}

impl Usage {
    pub(super) fn new(listener: &Arc<str>) -> Arc<Self> {
        Arc::new(Usage { listener: Arc::clone(listener), users: Mutex::default(), hosts: Mutex::default() })
    }

    pub(super) fn sample(&self, samples: &mut Samples) {
        use catalogue::{HOST_RECEIVED, HOST_REQUESTS, HOST_SENT, USER_RECEIVED, USER_REQUESTS, USER_SENT};
        lock(&self.users).sample(&self.listener, [&USER_REQUESTS, &USER_RECEIVED, &USER_SENT], samples);
        lock(&self.hosts).sample(&self.listener, [&HOST_REQUESTS, &HOST_RECEIVED, &HOST_SENT], samples);
    }
}

impl Table {
    fn count(&mut self, name: &str, outcome: &Outcome) {
        let has_room = self.rows.len() < self.most && name.len() <= MAX_NAME;
        let counts = match self.rows.get_mut(name) {
            Some(counts) => counts,
            None if has_room => self.rows.entry(name.into()).or_default(),
            None => &mut self.others,
        };
        counts.requests += 1;
        counts.received += outcome.bytes_received;
        counts.sent += outcome.bytes_sent;
    }

    /// In the order of the names, so that two scrapes are alike.
    fn sample(&self, listener: &Arc<str>, metrics: [&'static Metric; 3], samples: &mut Samples) {
        let mut rows: Vec<_> = self.rows.iter().map(|(name, counts)| (Arc::clone(name), *counts)).collect();
        rows.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        if self.others.requests > 0 {
            rows.push((OTHERS.into(), self.others));
        }
        for (name, counts) in &rows {
            for (metric, count) in metrics.into_iter().zip([counts.requests, counts.received, counts.sent]) {
                samples.count(metric, &[listener, name], count);
            }
        }
    }
}

impl fmt::Debug for UsageMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsageMetrics").field("listener", &self.0.listener).finish_non_exhaustive()
    }
}
