//! What is known, as JSON.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use proxy_core::Backend;
use serde_json::{Value, json};

use super::State;
use crate::metrics::{BackendCounts, Failure, Limit, Listener, Metrics, Series, Upstream};
use crate::times::{BOUNDS, Distribution, seconds, unix};

/// Everything that the dashboard shows.
pub(super) fn everything(state: &State) -> Value {
    json!({
        "status": status(state),
        "listeners": listeners(&state.metrics),
        "upstreams": upstreams(&state.metrics),
        "limits": limits(&state.metrics),
        "failures": failures(&state.metrics),
        "reload": state.reloads.last(),
    })
}

pub(super) fn status(state: &State) -> Value {
    let process = state.metrics.process().into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "readiness": state.readiness.borrow().name(),
        "time": unix(SystemTime::now()),
        "process": Value::Object(process.collect()),
        "access_log": state.metrics.log_counts().map(|(lines, dropped)| json!({ "lines": lines, "dropped": dropped })),
        "reloads": state.metrics.reloads(),
        "bounds": BOUNDS.map(seconds),
    })
}

pub(super) fn listeners(metrics: &Metrics) -> Value {
    metrics.listeners().iter().map(|it| listener(it)).collect()
}

fn listener(listener: &Listener) -> Value {
    let (connections, open) = listener.connections();
    let mut sums = Sums::default();
    listener.all_series().iter().for_each(|series| sums.add(series));
    let mut value = sums.json();
    value["name"] = json!(*listener.name);
    value["connections"] = json!(connections);
    value["connections_open"] = json!(open);
    let [full, resumed, failed] = listener.handshakes();
    value["tls_handshakes"] = json!({ "full": full, "resumed": resumed, "failed": failed });
    value["sessions"] = sessions(&listener.all_sessions());
    value["requests_in_flight"] = json!(listener.in_flight());
    value
}

/// Raw connections and sessions of datagrams that ended.
fn sessions(series: &[Arc<Series>]) -> Value {
    let mut sums = Sums::default();
    series.iter().for_each(|series| sums.add(series));
    let failed: u64 = series.iter().flat_map(|series| series.failed()).map(|(.., count)| count).sum();
    json!({
        "ended": sums.by_class.iter().sum::<u64>(),
        "failed": failed,
        "received_bytes": sums.received,
        "sent_bytes": sums.sent,
    })
}

/// Per listener, route and upstream that was asked for so far.
pub(super) fn routes(metrics: &Metrics) -> Value {
    let of = |listener: &Listener| {
        let name = listener.name.clone();
        listener.all_series().into_iter().map(move |series| {
            let mut sums = Sums::default();
            sums.add(&series);
            let mut value = sums.json();
            value["listener"] = json!(*name);
            value["route"] = json!(*series.route);
            value["upstream"] = json!(*series.upstream);
            value
        })
    };
    metrics.listeners().iter().flat_map(|listener| of(listener)).collect()
}

/// Requests of several series.
#[derive(Default)]
struct Sums {
    by_class: [u64; 6],
    limited: u64,
    received: u64,
    sent: u64,
    total: Distribution,
}

impl Sums {
    fn add(&mut self, series: &Series) {
        for (sum, count) in self.by_class.iter_mut().zip(series.by_class()) {
            *sum += count;
        }
        let (received, sent) = series.bytes();
        self.limited += series.limited();
        self.received += received;
        self.sent += sent;
        self.total.add(&series.total());
    }

    fn json(&self) -> Value {
        let [none, informational, success, redirection, client, server] = self.by_class;
        json!({
            "requests": self.by_class.iter().sum::<u64>(),
            "statuses": {
                "none": none, "1xx": informational, "2xx": success, "3xx": redirection, "4xx": client, "5xx": server,
            },
            "limited": self.limited,
            "received_bytes": self.received,
            "sent_bytes": self.sent,
            "durations": { "buckets": self.total.buckets, "sum": self.total.seconds() },
        })
    }
}

pub(super) fn upstreams(metrics: &Metrics) -> Value {
    metrics.upstreams().iter().map(|it| upstream(it)).collect()
}

pub(super) fn upstream(upstream: &Upstream) -> Value {
    let backends = upstream.backends();
    let backends = backends.iter().map(|(one, _)| backend(one, upstream.backend_counts(one)));
    json!({
        "name": *upstream.name,
        "retries": upstream.retries(),
        "pool": pool(upstream),
        "backends": backends.collect::<Value>(),
    })
}

pub(super) fn pool(upstream: &Upstream) -> Value {
    let stats = upstream.pool();
    json!({
        "opened": stats.opened,
        "reused": stats.reused,
        "closed": stats.closed,
        "idle": stats.idle,
        "waiting": stats.waiting,
        "waits": upstream.waits(),
        "reuse_ratio": stats.reuse_ratio(),
    })
}

pub(super) fn backend(backend: &Backend, counts: BackendCounts) -> Value {
    let status = backend.status();
    json!({
        "id": backend.id(),
        "state": status.state().name(),
        "since": unix(SystemTime::now().checked_sub(status.since().elapsed()).unwrap_or(UNIX_EPOCH)),
        "source": status.source().name(),
        "reason": status.reason(),
        "weight": backend.weight(),
        "labels": Value::Object(backend.labels().map(|(name, value)| (name.to_owned(), json!(value))).collect()),
        "requests_in_flight": backend.in_flight(),
        "latency": backend.latency().map(|latency| latency.as_secs_f64()),
        "attempts": counts.attempts(),
        "errors": counts.errors(),
    })
}

pub(super) fn limits(metrics: &Metrics) -> Value {
    metrics.limits().iter().map(limit).collect()
}

fn limit(Limit { name, kind, state }: &Limit) -> Value {
    let mut value = json!({
        "name": **name,
        "kind": kind,
        "keys": state.keys,
        "forgotten": state.forgotten,
        "requests_in_flight": state.in_flight,
        "most": state.most,
    });
    for (decision, count) in state.decisions() {
        value[decision] = json!(count);
    }
    value
}

pub(super) fn failures(metrics: &Metrics) -> Value {
    metrics.failures().iter().map(failure).collect()
}

fn failure(failure: &Failure) -> Value {
    json!({
        "time": unix(failure.at),
        "listener": *failure.listener,
        "route": failure.route,
        "upstream": failure.upstream,
        "backend": failure.backend,
        "client": failure.client.map(|client| client.to_string()),
        "request": failure.request,
        "request_id": failure.request_id,
        "trace_id": failure.trace_id,
        "status": failure.status.map(|status| status.as_u16()),
        "reason": format!("{}/{}", failure.reason.0, failure.reason.1),
        "code": failure.code,
        "attempts": failure.attempts,
    })
}
