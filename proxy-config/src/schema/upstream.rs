//! Upstreams: groups of backends that can stand in for each other.

use std::num::NonZeroU64;
use std::time::Duration;

use super::backend::{Backend, backends};
use super::health::{HealthCheck, OutlierDetection, health_check, outlier_detection};
use super::selector::{Selector, selector};
use super::sticky::{Sticky, sticky};
use crate::decode::Cursor;
use crate::values::count::{at_least_one, count, percent};
use crate::values::duration::positive_duration;

/// `upstreams.<name>`
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Upstream {
    /// `selector`: which backend takes a request.
    pub selector: Selector,
    /// `sticky`: keeps a client with its backend.
    pub sticky: Option<Sticky>,
    /// `subset`: uses only some of the backends.
    pub subset: Option<Subset>,
    /// `backends`. Never empty, no address twice, and at least one weight is not 0.
    pub backends: Vec<Backend>,
    /// `health_check`: asks backends how they are.
    pub health_check: Option<HealthCheck>,
    /// `outlier_detection`: sees from traffic how they are.
    pub outlier_detection: Option<OutlierDetection>,
    /// `retry`
    pub retry: Retry,
    /// `timeouts`
    pub timeouts: Timeouts,
    /// `pool`
    pub pool: Pool,
}

/// `upstreams.<name>.subset`: for many proxies before many backends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subset {
    /// `size`: how many of the healthy backends are used; at least 1.
    pub size: usize,
    /// `proxy`: this proxy's own name, by which it gets others than its neighbours.
    pub proxy: String,
}

/// `upstreams.<name>.retry`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// `attempts`: how often a request is sent at most, the first time included; 1 to 10.
    pub attempts: Option<u8>,
    /// `budget_percent`: how many requests may be retries, in percent of all.
    pub budget_percent: Option<u8>,
}

/// `upstreams.<name>.timeouts`: each longer than zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// `connect`: until a connection stands.
    pub connect: Option<Duration>,
    /// `response`: until the response head has come.
    pub response: Option<Duration>,
    /// `idle`: without a byte of body read or written.
    pub idle: Option<Duration>,
}

/// `upstreams.<name>.pool`: connections kept for the next request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pool {
    /// `max_idle_per_backend`: idle connections of one backend.
    pub max_idle_per_backend: Option<usize>,
    /// `max_idle`: idle connections of all backends.
    pub max_idle: Option<usize>,
    /// `max_open_per_backend`: connections of one backend, idle or not; at least 1.
    pub max_open_per_backend: Option<usize>,
    /// `max_pending`: requests that wait for a connection.
    pub max_pending: Option<usize>,
    /// `pending_timeout`: how long they wait; longer than zero.
    pub pending_timeout: Option<Duration>,
    /// `idle_timeout`: how long a connection stays idle; longer than zero.
    pub idle_timeout: Option<Duration>,
    /// `max_age`: how long a connection is used; longer than zero.
    pub max_age: Option<Duration>,
    /// `max_requests`: how many requests a connection carries.
    pub max_requests: Option<NonZeroU64>,
}

pub(super) fn upstream(cursor: Cursor<'_>) -> Option<Upstream> {
    cursor.object("an object", |fields| {
        let selector = fields.optional("selector", selector).unwrap_or_default();
        let sticky = fields.optional("sticky", sticky);
        let subset = fields.optional("subset", subset);
        let backends = fields.required("backends", "an array of backends", backends);
        let health_check = fields.optional("health_check", health_check);
        let outlier_detection = fields.optional("outlier_detection", outlier_detection);
        let retry = fields.optional("retry", retry).unwrap_or_default();
        let timeouts = fields.optional("timeouts", timeouts).unwrap_or_default();
        let pool = fields.optional("pool", pool).unwrap_or_default();
        Some(Upstream {
            selector,
            sticky,
            subset,
            backends: backends?,
            health_check,
            outlier_detection,
            retry,
            timeouts,
            pool,
        })
    })
}

fn subset(cursor: Cursor<'_>) -> Option<Subset> {
    cursor.object("an object", |fields| {
        let size = fields.required("size", "a number of backends", at_least_one);
        let proxy = fields.required("proxy", "the name of this proxy", |cursor| match cursor.string("a name")? {
            "" => cursor.fail("must not be empty"),
            name => Some(name.to_owned()),
        });
        Some(Subset { size: size?, proxy: proxy? })
    })
}

fn retry(cursor: Cursor<'_>) -> Option<Retry> {
    cursor.object("an object", |fields| {
        Some(Retry {
            // Ten tries of one request are an outage made worse.
            attempts: fields.optional("attempts", |cursor| cursor.integer(1..=10)),
            budget_percent: fields.optional("budget_percent", percent),
        })
    })
}

fn timeouts(cursor: Cursor<'_>) -> Option<Timeouts> {
    cursor.object("an object", |fields| {
        Some(Timeouts {
            connect: fields.optional("connect", positive_duration),
            response: fields.optional("response", positive_duration),
            idle: fields.optional("idle", positive_duration),
        })
    })
}

fn pool(cursor: Cursor<'_>) -> Option<Pool> {
    cursor.object("an object", |fields| {
        Some(Pool {
            max_idle_per_backend: fields.optional("max_idle_per_backend", count),
            max_idle: fields.optional("max_idle", count),
            max_open_per_backend: fields.optional("max_open_per_backend", at_least_one),
            max_pending: fields.optional("max_pending", count),
            pending_timeout: fields.optional("pending_timeout", positive_duration),
            idle_timeout: fields.optional("idle_timeout", positive_duration),
            max_age: fields.optional("max_age", positive_duration),
            max_requests: fields.optional("max_requests", |c| c.integer(NonZeroU64::MIN..=NonZeroU64::MAX)),
        })
    })
}
