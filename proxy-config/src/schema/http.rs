//! HTTP listeners.

use std::num::NonZeroU64;
use std::time::Duration;

use super::filter::{Filter, filters};
use super::http2::{Http2, http2};
use super::names::upstream_reference;
use super::route::{Route, Target, routes};
use crate::decode::{Cursor, Fields};
use crate::values::cidr::{Cidr, cidrs};
use crate::values::count::at_least_one;
use crate::values::duration::positive_duration;
use crate::values::size::{memory_size, size};

/// `listeners.<name>.http`
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Http {
    /// `trusted_proxies`: whose forwarding headers are believed.
    pub trusted_proxies: Vec<Cidr>,
    /// `filters`: around every request, the first one outermost.
    pub filters: Vec<Filter>,
    /// `routes` or `upstream`: which requests go where, or where all of them go. Never empty: `upstream` is one route
    /// that matches everything.
    pub routes: Vec<Route>,
    /// `limits`: how much a client may send.
    pub limits: Limits,
    /// `timeouts`: how long a client may take.
    pub timeouts: HttpTimeouts,
    /// `forwarded`: what backends learn about the client.
    pub forwarded: Forwarded,
    /// `half_close`: whether a client that closes its sending side still gets its answer; `false` when absent.
    pub half_close: Option<bool>,
    /// `http2`: what clients may do over it, which is spoken by prior knowledge and by ALPN; `false`: nobody speaks it.
    pub http2: Http2,
}

/// `listeners.<name>.http.limits`: sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// `max_head_bytes`: of a whole request head, 1 byte to 60 KiB; 32 KiB when absent.
    pub max_head_bytes: Option<usize>,
    /// `max_headers`: fields of a head, 1 to 128; 100 when absent.
    pub max_headers: Option<usize>,
    /// `max_target_bytes`: of the request target, 1 byte to 4 GiB; 8 KiB when absent.
    pub max_target_bytes: Option<usize>,
    /// `max_body_bytes`: of a request body; 0 allows none. Unlimited when absent: bodies are not stored.
    pub max_body_bytes: Option<u64>,
    /// `max_connections`: of all clients, at least 1; 16,384 when absent.
    pub max_connections: Option<usize>,
    /// `max_connections_per_client`: of one address, at least 1; unlimited when absent.
    pub max_connections_per_client: Option<usize>,
    /// `max_requests_per_connection`: after so many a connection is closed, at least 1; unlimited when absent.
    pub max_requests_per_connection: Option<NonZeroU64>,
    /// `max_drain_bytes`: read and thrown away of a request body nobody wants, before its connection is closed instead;
    /// 256 KiB when absent.
    pub max_drain_bytes: Option<u64>,
}

/// `listeners.<name>.http.timeouts`: each duration longer than zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpTimeouts {
    /// `head`: until a request head is complete; 10 s when absent.
    pub head: Option<Duration>,
    /// `keep_alive`: between two requests; 75 s when absent.
    pub keep_alive: Option<Duration>,
    /// `body_idle`: without a byte of body read or written; 30 s when absent.
    pub body_idle: Option<Duration>,
    /// `min_body_rate`: what a request body must bring, in bytes per second; 64 when absent, 0 turns it off.
    pub min_body_rate: Option<u64>,
    /// `tunnel_idle`: without a byte through a tunnel (WebSocket); 1 h when absent.
    pub tunnel_idle: Option<Duration>,
    /// `total`: for a whole request; unlimited when absent.
    pub total: Option<Duration>,
}

/// `listeners.<name>.http.forwarded`: what the request to the backend says about the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forwarded {
    /// `x_forwarded`: `X-Forwarded-For`, `-Proto` and `-Host`. When absent, without `-Host`: `Host` itself is
    /// forwarded as it came.
    pub x_forwarded: Option<bool>,
    /// `forwarded`: `Forwarded` (RFC 7239); `false` when absent.
    pub forwarded: Option<bool>,
    /// `via`: `Via` (RFC 9110 §7.6.3); `true` when absent.
    pub via: Option<bool>,
}

/// What proxy-core can do; beyond it would lower the limit in silence.
const MAX_HEAD_BYTES: usize = 60 * 1024;
const MAX_HEADERS: usize = 128;

pub(super) fn http(cursor: Cursor<'_>) -> Option<Http> {
    cursor.object("an object", |fields| {
        let trusted_proxies = fields.optional("trusted_proxies", cidrs).unwrap_or_default();
        let filters = fields.optional("filters", filters).unwrap_or_default();
        let routes = routes_or_upstream(fields);
        let limits = fields.optional("limits", limits).unwrap_or_default();
        let timeouts = fields.optional("timeouts", timeouts).unwrap_or_default();
        let forwarded = fields.optional("forwarded", forwarded).unwrap_or_default();
        let half_close = fields.flag("half_close");
        let http2 = fields.optional("http2", http2).unwrap_or_default();
        Some(Http { trusted_proxies, filters, routes: routes?, limits, timeouts, forwarded, half_close, http2 })
    })
}

fn routes_or_upstream(fields: &mut Fields<'_>) -> Option<Vec<Route>> {
    let routes = fields.optional("routes", routes);
    let upstream = fields.optional("upstream", upstream_reference);
    fields.exactly_one(&["routes", "upstream"]);
    routes.or_else(|| upstream.map(|name| vec![Route::everything(Target::Upstream(name))]))
}

pub(super) fn limits(cursor: Cursor<'_>) -> Option<Limits> {
    cursor.object("an object", |fields| {
        Some(Limits {
            max_head_bytes: fields.optional("max_head_bytes", head_size),
            max_headers: fields.optional("max_headers", |cursor| cursor.integer(1..=MAX_HEADERS)),
            max_target_bytes: fields.optional("max_target_bytes", memory_size),
            max_body_bytes: fields.optional("max_body_bytes", size),
            max_connections: fields.optional("max_connections", at_least_one),
            max_connections_per_client: fields.optional("max_connections_per_client", at_least_one),
            max_requests_per_connection: fields
                .optional("max_requests_per_connection", |c| c.integer(NonZeroU64::MIN..=NonZeroU64::MAX)),
            max_drain_bytes: fields.optional("max_drain_bytes", size),
        })
    })
}

fn head_size(cursor: Cursor<'_>) -> Option<usize> {
    match memory_size(cursor)? {
        size if size > MAX_HEAD_BYTES => cursor.fail("must be at most 60KiB"),
        size => Some(size),
    }
}

pub(super) fn timeouts(cursor: Cursor<'_>) -> Option<HttpTimeouts> {
    cursor.object("an object", |fields| {
        Some(HttpTimeouts {
            head: fields.optional("head", positive_duration),
            keep_alive: fields.optional("keep_alive", positive_duration),
            body_idle: fields.optional("body_idle", positive_duration),
            min_body_rate: fields.optional("min_body_rate", size),
            tunnel_idle: fields.optional("tunnel_idle", positive_duration),
            total: fields.optional("total", positive_duration),
        })
    })
}

fn forwarded(cursor: Cursor<'_>) -> Option<Forwarded> {
    cursor.object("an object", |fields| {
        Some(Forwarded {
            x_forwarded: fields.flag("x_forwarded"),
            forwarded: fields.flag("forwarded"),
            via: fields.flag("via"),
        })
    })
}
