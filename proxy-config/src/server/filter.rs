//! Filters, as the configuration names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;
use http::header::InvalidHeaderName;
use proxy_core::{EditHeaders, Filter, HeaderEditError, HeaderEdits, RequestId};

use super::ServerError;
use crate::path::Path;

/// The filters of a listener or a route, without those that this build does not have.
pub(super) fn filters(path: &Path<'_>, filters: &[crate::Filter]) -> Result<Vec<Arc<dyn Filter>>, ServerError> {
    let key = Path::Key(path, "filters");
    let built = filters.iter().enumerate().map(|(index, filter)| {
        let at = |error| ServerError::cannot_build(Path::Index(&key, index).to_string(), error);
        build(filter).map_err(at)
    });
    built.filter_map(Result::transpose).collect()
}

type Source = Box<dyn std::error::Error + Send + Sync>;

fn build(filter: &crate::Filter) -> Result<Option<Arc<dyn Filter>>, Source> {
    match filter {
        crate::Filter::RequestId(settings) => Ok(Some(Arc::new(request_id(settings)?))),
        crate::Filter::Headers(settings) => Ok(Some(Arc::new(edit_headers(settings)?))),
        crate::Filter::RateLimit(_) => Ok(None),
    }
}

fn request_id(settings: &crate::RequestId) -> Result<RequestId, InvalidHeaderName> {
    match &settings.header {
        Some(name) => Ok(RequestId::new().header(HeaderName::from_bytes(name.as_bytes())?)),
        None => Ok(RequestId::new()),
    }
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
