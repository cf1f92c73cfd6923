//! Filters, as the configuration names them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::InvalidHeaderName;
use http::status::InvalidStatusCode;
use http::{HeaderName, StatusCode};
use proxy_core::{EditHeaders, Filter, HeaderEditError, HeaderEdits, Hsts, HttpsRedirect, RequestId, TraceContext};

use super::{Parts, ServerError, limit};
use crate::path::Path;

/// The filters of a listener or a route.
pub(super) fn filters(
    path: &Path<'_>,
    filters: &[crate::Filter],
    parts: &Parts<'_>,
) -> Result<Vec<Arc<dyn Filter>>, ServerError> {
    let key = Path::Key(path, "filters");
    let built = filters.iter().enumerate().map(|(index, filter)| {
        let place = Path::Index(&key, index).to_string();
        build(&place, filter, parts).map_err(|error| ServerError::cannot_build(place, error))
    });
    built.collect()
}

type Source = Box<dyn std::error::Error + Send + Sync>;

fn build(place: &str, filter: &crate::Filter, parts: &Parts<'_>) -> Result<Arc<dyn Filter>, Source> {
    let limits = parts.limits;
    // Where it stands, and all that is said about it.
    let identity = |name: Option<&str>| format!("{} {filter:?}", name.unwrap_or(place));
    match filter {
        crate::Filter::RequestId(settings) => Ok(Arc::new(request_id(settings)?)),
        crate::Filter::TraceContext(settings) => Ok(Arc::new(trace_context(settings))),
        crate::Filter::Headers(settings) => Ok(Arc::new(edit_headers(settings)?)),
        crate::Filter::Hsts(settings) => Ok(Arc::new(hsts(settings))),
        crate::Filter::HttpsRedirect(settings) => Ok(Arc::new(https_redirect(settings)?)),
        crate::Filter::RateLimit(settings) => {
            let name = settings.name.as_deref();
            limits.take_over(identity(name), || {
                let limit = limit::rate_limit(place, settings)?;
                Ok(limits.shown(name.unwrap_or(place), "rate_limit", limit, limit::state_of_rate))
            })
        }
        crate::Filter::ConcurrencyLimit(settings) => limits.take_over(identity(None), || {
            let limit = limit::concurrency_limit(settings)?;
            Ok(limits.shown(place, "concurrency_limit", limit, limit::state_of_concurrency))
        }),
        crate::Filter::BandwidthLimit(settings) => {
            limits.take_over(identity(None), || limit::bandwidth_limit(settings))
        }
        crate::Filter::Plugin(plugin) => {
            limits.take_over(identity(None), || parts.registry.make_filter(&plugin.name, &plugin.settings))
        }
        crate::Filter::ConnectionLimit(settings) => limits.take_over(identity(None), || {
            let limit = limit::connection_limit(settings)?;
            Ok(limits.shown(place, "connection_limit", limit, limit::state_of_connections))
        }),
    }
}

fn request_id(settings: &crate::RequestId) -> Result<RequestId, InvalidHeaderName> {
    match &settings.header {
        Some(name) => Ok(RequestId::new().header(HeaderName::from_bytes(name.as_bytes())?)),
        None => Ok(RequestId::new()),
    }
}

fn trace_context(settings: &crate::TraceContext) -> TraceContext {
    let filter = TraceContext::new().trust_incoming(settings.trust_incoming.unwrap_or(true));
    settings.sampling.into_iter().fold(filter, TraceContext::sample)
}

/// What `max_age` is when absent: a year, as browsers' lists demand it.
const HSTS: Duration = Duration::from_secs(365 * 86_400);

fn hsts(settings: &crate::Hsts) -> Hsts {
    let filter = Hsts::new(settings.max_age.unwrap_or(HSTS));
    let filter = if settings.include_subdomains { filter.include_subdomains() } else { filter };
    if settings.preload { filter.preload() } else { filter }
}

fn https_redirect(settings: &crate::HttpsRedirect) -> Result<HttpsRedirect, InvalidStatusCode> {
    let filter = settings.port.into_iter().fold(HttpsRedirect::new(), HttpsRedirect::port);
    let status = settings.status.map(StatusCode::from_u16).transpose()?;
    Ok(status.into_iter().fold(filter, HttpsRedirect::status))
}

fn edit_headers(settings: &crate::Headers) -> Result<EditHeaders, HeaderEditError> {
    let (request, response) = (edits(&settings.request)?, edits(&settings.response)?);
    Ok(EditHeaders::new().request(request).response(response))
}

/// Removals come first, so that a name can be removed and added anew.
fn edits(settings: &crate::HeaderEdits) -> Result<HeaderEdits, HeaderEditError> {
    let mut removed = settings.remove.iter();
    let edits = removed.try_fold(HeaderEdits::new(), |edits, name| edits.remove(name))?;
    let edits = each(&settings.set, edits, HeaderEdits::set)?;
    each(&settings.add, edits, HeaderEdits::add)
}

fn each(
    fields: &BTreeMap<String, String>,
    edits: HeaderEdits,
    edit: fn(HeaderEdits, &str, &str) -> Result<HeaderEdits, HeaderEditError>,
) -> Result<HeaderEdits, HeaderEditError> {
    let mut fields = fields.iter();
    fields.try_fold(edits, |edits, (name, value)| edit(edits, name, value))
}
