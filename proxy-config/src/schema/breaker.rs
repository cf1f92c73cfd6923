//! How much a backend may have to do, and how it comes back.

use std::time::Duration;

use crate::decode::Cursor;
use crate::values::count::{at_least_one, count, percent};
use crate::values::duration::positive_duration;

/// `upstreams.<name>.circuit_breaker`: how much each backend may have to do, and when it is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitBreaker {
    /// `max_connections`: of one backend, the same as `pool.max_open_per_backend`. No limit when absent.
    pub max_connections: Option<usize>,
    /// `max_pending`: requests that wait for a connection to it, the same as `pool.max_pending`; 1024 when
    /// absent.
    pub max_pending: Option<usize>,
    /// `max_requests`: at a time. No limit when absent.
    pub max_requests: Option<u32>,
    /// `max_retries`: of them; 3 when absent.
    pub max_retries: Option<u32>,
    /// `failures`: in a row that open the circuit. None do when absent.
    pub failures: Option<u32>,
    /// `open`: how long it stays open at first; 5 s when absent. It doubles each time in a row.
    pub open: Option<Duration>,
    /// `max_open`: how long at most; 60 s when absent.
    pub max_open: Option<Duration>,
    /// `half_open_requests`: let through at a time when it is half open; 1 when absent.
    pub half_open_requests: Option<u32>,
    /// `successes`: of those, until it closes; 3 when absent.
    pub successes: Option<u32>,
}

/// `upstreams.<name>.slow_start`: a duration, or an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowStart {
    /// `window`: until a backend that returns has its whole share.
    pub window: Duration,
    /// `min_percent`: what it begins with; 10 when absent.
    pub min_percent: Option<u8>,
    /// `aggression_percent`: above 100 the share grows fast at first, below slowly; 100 when absent.
    pub aggression_percent: Option<u32>,
}

pub(super) fn circuit_breaker(cursor: Cursor<'_>) -> Option<CircuitBreaker> {
    cursor.object("an object", |fields| {
        Some(CircuitBreaker {
            max_connections: fields.optional("max_connections", at_least_one),
            max_pending: fields.optional("max_pending", count),
            max_requests: fields.optional("max_requests", some),
            max_retries: fields.optional("max_retries", |cursor| cursor.integer(0..=1_000_000)),
            failures: fields.optional("failures", some),
            open: fields.optional("open", positive_duration),
            max_open: fields.optional("max_open", positive_duration),
            half_open_requests: fields.optional("half_open_requests", some),
            successes: fields.optional("successes", some),
        })
    })
}

pub(super) fn slow_start(cursor: Cursor<'_>) -> Option<SlowStart> {
    if cursor.is_string() {
        let window = positive_duration(cursor)?;
        return Some(SlowStart { window, min_percent: None, aggression_percent: None });
    }
    cursor.object("a duration or an object", |fields| {
        let window = fields.required("window", r#"a duration such as "30s""#, positive_duration);
        let min_percent = fields.optional("min_percent", percent);
        let aggression_percent = fields.optional("aggression_percent", |cursor| cursor.integer(1..=10_000));
        Some(SlowStart { window: window?, min_percent, aggression_percent })
    })
}

fn some(cursor: Cursor<'_>) -> Option<u32> {
    cursor.integer(1..=1_000_000)
}
