//! Filters: what happens to requests and responses on their way.

use super::access_log::share;
use super::header_edits::{Headers, headers, refuse_ours};
use super::https::{Hsts, HttpsRedirect, hsts, https_redirect};
use super::load_limits::{
    BandwidthLimit, ConcurrencyLimit, ConnectionLimit, bandwidth_limit, concurrency_limit, connection_limit,
};
use super::plugin::Plugin;
use super::rate_limit::{RateLimit, rate_limit};
use crate::decode::{Cursor, Variant};
use crate::values::header::named_field;

/// An entry of `filters`: `"name"`, or `{"name": settings}`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Filter {
    /// `request_id`
    RequestId(RequestId),
    /// `trace_context`
    TraceContext(TraceContext),
    /// `headers`
    Headers(Headers),
    /// `hsts`
    Hsts(Hsts),
    /// `https_redirect`
    HttpsRedirect(HttpsRedirect),
    /// `rate_limit`
    RateLimit(Box<RateLimit>),
    /// `concurrency_limit`
    ConcurrencyLimit(Box<ConcurrencyLimit>),
    /// `bandwidth_limit`
    BandwidthLimit(BandwidthLimit),
    /// `connection_limit`, among a listener's filters only.
    ConnectionLimit(ConnectionLimit),
    /// One of a [`Registry`](crate::Registry).
    Plugin(Plugin),
}

/// `request_id`: gives every request an identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestId {
    /// `header`: the field that carries it, in lower case; `x-request-id` when absent.
    pub header: Option<String>,
}

/// `trace_context`: continues the trace that a request belongs to, or starts one, and tells backends (W3C Trace Context).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TraceContext {
    /// `trust_incoming`: whether traces of clients are continued, and sampled as they are; `true` when absent.
    pub trust_incoming: Option<bool>,
    /// `sampling`: the share of the traces that begin here which are sampled, such as `"1%"`, here from 0 to 1; all when
    /// absent.
    pub sampling: Option<f64>,
}

pub(super) fn filters(cursor: Cursor<'_>) -> Option<Vec<Filter>> {
    cursor.list("an array of filters", filter)
}

/// Those of a route: its connection is there already.
pub(super) fn route_filters(cursor: Cursor<'_>) -> Option<Vec<Filter>> {
    cursor.list("an array of filters", |item| match filter(item)? {
        Filter::ConnectionLimit(_) => item.fail("\"connection_limit\" belongs to the filters of the listener"),
        filter => Some(filter),
    })
}

const BUILT_IN: [Variant<Filter>; 9] = [
    ("bandwidth_limit", |settings| settings.required(bandwidth_limit).map(Filter::BandwidthLimit)),
    ("concurrency_limit", |settings| {
        settings.required(concurrency_limit).map(|limit| Filter::ConcurrencyLimit(Box::new(limit)))
    }),
    ("connection_limit", |settings| settings.required(connection_limit).map(Filter::ConnectionLimit)),
    ("headers", |settings| settings.required(headers).map(Filter::Headers)),
    ("hsts", |settings| settings.optional(Hsts::default(), hsts).map(Filter::Hsts)),
    ("https_redirect", |settings| {
        settings.optional(HttpsRedirect::default(), https_redirect).map(Filter::HttpsRedirect)
    }),
    ("rate_limit", |settings| settings.required(rate_limit).map(|limit| Filter::RateLimit(Box::new(limit)))),
    ("request_id", |settings| settings.optional(RequestId::default(), request_id).map(Filter::RequestId)),
    ("trace_context", |settings| settings.optional(TraceContext::default(), trace_context).map(Filter::TraceContext)),
];

/// The names of those that are built in.
pub(crate) fn names() -> Vec<String> {
    BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect()
}

fn filter(cursor: Cursor<'_>) -> Option<Filter> {
    cursor.tagged_or("filter", &BUILT_IN, &cursor.report().registry().filter_names(), |settings| {
        settings.plugin(Plugin::new).map(Filter::Plugin)
    })
}

fn request_id(cursor: Cursor<'_>) -> Option<RequestId> {
    cursor.object("an object", |fields| Some(RequestId { header: fields.optional("header", id_field) }))
}

fn trace_context(cursor: Cursor<'_>) -> Option<TraceContext> {
    cursor.object("an object", |fields| {
        let trust_incoming = fields.flag("trust_incoming");
        Some(TraceContext { trust_incoming, sampling: fields.optional("sampling", share) })
    })
}

/// A field that is there for one purpose cannot carry an identifier as well.
fn id_field(cursor: Cursor<'_>) -> Option<String> {
    let name = named_field(cursor)?;
    refuse_ours(&name, cursor)?;
    match name.as_str() {
        "host" => cursor.fail(r#""host" names the host"#),
        _ => Some(name),
    }
}
