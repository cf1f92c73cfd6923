//! Upstreams: groups of backends that can stand in for each other.

use std::num::NonZeroU64;
use std::time::Duration;

use super::backend::{Backend, backends};
use super::breaker::{CircuitBreaker, SlowStart, circuit_breaker, slow_start};
use super::discovery::{Discovery, discovery};
use super::health::{HealthCheck, OutlierDetection, health_check, outlier_detection};
use super::http2::window;
use super::parent::{ParentProxy, parent_proxy};
use super::selector::{Selector, selector};
use super::sticky::{Sticky, sticky};
use super::upstream_tls::{UpstreamTls, upstream_tls};
use crate::decode::{Cursor, Fields};
use crate::values::count::{at_least_one, count, percent};
use crate::values::duration::positive_duration;

/// `upstreams.<name>`
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Upstream {
    /// `selector`: which backend takes a request; `round_robin` when absent.
    pub selector: Selector,
    /// `sticky`: keeps a client with its backend.
    pub sticky: Option<Sticky>,
    /// `subset`: uses only some of the backends.
    pub subset: Option<Subset>,
    /// `backends`. Never empty without `discovery`, no address twice, and at least one weight is not 0.
    pub backends: Vec<Backend>,
    /// `health_check`: asks backends how they are.
    pub health_check: Option<HealthCheck>,
    /// `outlier_detection`: sees from traffic how they are.
    pub outlier_detection: Option<OutlierDetection>,
    /// `circuit_breaker`: how much a backend may have to do.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// `slow_start`: how a backend that returns gets its share.
    pub slow_start: Option<SlowStart>,
    /// `discovery`: where backends come from.
    pub discovery: Option<Discovery>,
    /// `tls`: backends are spoken to over TLS.
    pub tls: Option<UpstreamTls>,
    /// `http2`: whether backends are spoken to in it; `never` when absent.
    pub http2: Option<UpstreamHttp2>,
    /// `proxy`: backends are proxies, by which the `parents` of forward proxies reach what clients ask for.
    pub proxy: Option<ParentProxy>,
    /// `panic_percent`: with fewer healthy backends than this all are used, 0 for never; 10 when absent.
    pub panic_percent: Option<u8>,
    /// `proxy_protocol`: connections begin with a PROXY header that names the client.
    pub proxy_protocol: Option<SendProxyHeader>,
    /// `retry`: when a request is sent again.
    pub retry: Retry,
    /// `timeouts`: how long backends may take.
    pub timeouts: Timeouts,
    /// `pool`: connections kept for the next request.
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

/// `upstreams.<name>.proxy_protocol`: `"v1"`, or `"v2"` with or without settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendProxyHeader {
    /// `"v1"`: a line of text.
    V1,
    /// `"v2"`: binary.
    V2 {
        /// `checksum`: with a CRC32c; without when absent.
        checksum: Option<bool>,
        /// `unique_id`: with an id of the connection; only one that came in when absent.
        unique_id: Option<bool>,
    },
}

/// `upstreams.<name>.http2`: whether backends are spoken to in HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamHttp2 {
    /// `"auto"`: where TLS agrees on it (ALPN); HTTP/1.1 where it does not, without `tls`, and for WebSockets.
    Auto,
    /// `"always"`: nothing else; without `tls` unasked (prior knowledge).
    Always,
    /// `"never"`: HTTP/1.1.
    Never,
}

/// `upstreams.<name>.retry`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// `attempts`: how often a request is sent at most, the first time included, 1 to 10; 3 when absent.
    pub attempts: Option<u8>,
    /// `budget_percent`: how many requests may be retries, in percent of all; 20 when absent.
    pub budget_percent: Option<u8>,
    /// `grpc_statuses`: a call of gRPC over `http2` that got nothing but one of these statuses is tried again; none is
    /// when absent. Whether it was begun there only its service knows.
    pub grpc_statuses: Vec<GrpcStatus>,
}

/// A status of gRPC, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrpcStatus {
    /// `"cancelled"`
    Cancelled = 1,
    /// `"unknown"`
    Unknown = 2,
    /// `"deadline_exceeded"`
    DeadlineExceeded = 4,
    /// `"resource_exhausted"`
    ResourceExhausted = 8,
    /// `"aborted"`
    Aborted = 10,
    /// `"internal"`
    Internal = 13,
    /// `"unavailable"`
    Unavailable = 14,
}

/// `upstreams.<name>.timeouts`: each longer than zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// `connect`: until a connection stands; 5 s when absent.
    pub connect: Option<Duration>,
    /// `response`: until the response head has come; 60 s when absent.
    pub response: Option<Duration>,
    /// `idle`: without a byte of body read or written; 60 s when absent.
    pub idle: Option<Duration>,
}

/// `upstreams.<name>.pool`: connections kept for the next request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pool {
    /// `max_idle_per_backend`: idle connections of one backend; 256 when absent.
    pub max_idle_per_backend: Option<usize>,
    /// `max_idle`: idle connections of all backends; 4096 when absent.
    pub max_idle: Option<usize>,
    /// `max_open_per_backend`: connections of one backend, idle or not, at least 1; unlimited when absent.
    pub max_open_per_backend: Option<usize>,
    /// `max_pending`: requests that wait for a connection; 1024 when absent.
    pub max_pending: Option<usize>,
    /// `pending_timeout`: how long they wait, longer than zero; as long as they may take when absent.
    pub pending_timeout: Option<Duration>,
    /// `idle_timeout`: how long a connection stays idle, longer than zero; 60 s when absent.
    pub idle_timeout: Option<Duration>,
    /// `max_age`: how long a connection is used, longer than zero; unlimited when absent.
    pub max_age: Option<Duration>,
    /// `max_requests`: how many requests a connection carries; unlimited when absent.
    pub max_requests: Option<NonZeroU64>,
    /// `http2`: connections that requests share.
    pub http2: PoolHttp2,
}

/// `upstreams.<name>.pool.http2`: connections that requests share, where `http2` has backends spoken to so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolHttp2 {
    /// `max_streams`: requests of a connection at a time, if its backend takes so many, 1 to 10,000; 100 when absent.
    pub max_streams: Option<usize>,
    /// `stream_window`: what a backend may send of a response before its client takes it, in bytes, 16 KiB to 1 GiB;
    /// 256 KiB when absent.
    pub stream_window: Option<u32>,
    /// `ping_interval`: a connection with requests that was silent for so long is asked whether it is there; none is
    /// when absent. Servers of gRPC may close connections that ask more often than every five minutes.
    pub ping_interval: Option<Duration>,
    /// `ping_timeout`: how long the answer may take before the connection is closed; 10 s when absent.
    pub ping_timeout: Option<Duration>,
}

pub(super) fn upstream(cursor: Cursor<'_>) -> Option<Upstream> {
    cursor.object("an object", |fields| {
        let selector = fields.optional("selector", selector).unwrap_or_default();
        let backends = fields.required_unless("discovery", "backends", "an array of backends", backends);
        let circuit_breaker = fields.optional("circuit_breaker", circuit_breaker);
        let pool = fields.optional("pool", pool).unwrap_or_default();
        said_once(fields, circuit_breaker.as_ref(), &pool);
        Some(Upstream {
            selector,
            sticky: fields.optional("sticky", sticky),
            subset: fields.optional("subset", subset),
            health_check: fields.optional("health_check", health_check),
            outlier_detection: fields.optional("outlier_detection", outlier_detection),
            slow_start: fields.optional("slow_start", slow_start),
            discovery: fields.optional("discovery", discovery),
            tls: fields.optional("tls", upstream_tls),
            http2: fields.optional("http2", http2),
            proxy: fields.optional("proxy", parent_proxy),
            panic_percent: fields.optional("panic_percent", percent),
            proxy_protocol: fields.optional("proxy_protocol", proxy_protocol),
            retry: fields.optional("retry", retry).unwrap_or_default(),
            timeouts: fields.optional("timeouts", timeouts).unwrap_or_default(),
            circuit_breaker,
            pool,
            backends: backends.unwrap_or_default(),
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

fn http2(cursor: Cursor<'_>) -> Option<UpstreamHttp2> {
    cursor.tagged(
        "use of HTTP/2",
        &[
            ("auto", |settings| settings.none(UpstreamHttp2::Auto)),
            ("always", |settings| settings.none(UpstreamHttp2::Always)),
            ("never", |settings| settings.none(UpstreamHttp2::Never)),
        ],
    )
}

fn proxy_protocol(cursor: Cursor<'_>) -> Option<SendProxyHeader> {
    cursor.tagged(
        "version of the PROXY protocol",
        &[
            ("v1", |settings| settings.none(SendProxyHeader::V1)),
            ("v2", |settings| {
                let plain = SendProxyHeader::V2 { checksum: None, unique_id: None };
                settings.optional(plain, |cursor| {
                    cursor.object("an object", |fields| {
                        let checksum = fields.flag("checksum");
                        Some(SendProxyHeader::V2 { checksum, unique_id: fields.flag("unique_id") })
                    })
                })
            }),
        ],
    )
}

/// Two keys have two names each, for those who come from either side.
fn said_once(fields: &Fields<'_>, breaker: Option<&CircuitBreaker>, pool: &Pool) {
    let Some(breaker) = breaker else { return };
    let twice = |key, other| {
        fields.object().revisit_key("circuit_breaker", |cursor| {
            cursor.fail::<()>(format!("{key} and pool.{other} are the same limit; give one of them"));
        });
    };
    if breaker.max_connections.is_some() && pool.max_open_per_backend.is_some() {
        twice("max_connections", "max_open_per_backend");
    }
    if breaker.max_pending.is_some() && pool.max_pending.is_some() {
        twice("max_pending", "max_pending");
    }
}

fn retry(cursor: Cursor<'_>) -> Option<Retry> {
    cursor.object("an object", |fields| {
        Some(Retry {
            // Ten tries of one request are an outage made worse.
            attempts: fields.optional("attempts", |cursor| cursor.integer(1..=10)),
            budget_percent: fields.optional("budget_percent", percent),
            grpc_statuses: fields
                .optional("grpc_statuses", |cursor| cursor.non_empty_list("an array of statuses", grpc_status))
                .unwrap_or_default(),
        })
    })
}

/// Those that may be another backend's to answer; the others are about the call itself.
fn grpc_status(cursor: Cursor<'_>) -> Option<GrpcStatus> {
    cursor.tagged(
        "status of gRPC",
        &[
            ("cancelled", |settings| settings.none(GrpcStatus::Cancelled)),
            ("unknown", |settings| settings.none(GrpcStatus::Unknown)),
            ("deadline_exceeded", |settings| settings.none(GrpcStatus::DeadlineExceeded)),
            ("resource_exhausted", |settings| settings.none(GrpcStatus::ResourceExhausted)),
            ("aborted", |settings| settings.none(GrpcStatus::Aborted)),
            ("internal", |settings| settings.none(GrpcStatus::Internal)),
            ("unavailable", |settings| settings.none(GrpcStatus::Unavailable)),
        ],
    )
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
            http2: fields.optional("http2", pool_http2).unwrap_or_default(),
        })
    })
}

fn pool_http2(cursor: Cursor<'_>) -> Option<PoolHttp2> {
    cursor.object("an object", |fields| {
        Some(PoolHttp2 {
            max_streams: fields.optional("max_streams", |cursor| cursor.integer(1..=10_000)),
            stream_window: fields.optional("stream_window", |cursor| window(cursor, 16)),
            ping_interval: fields.optional("ping_interval", positive_duration),
            ping_timeout: fields.optional("ping_timeout", positive_duration),
        })
    })
}
