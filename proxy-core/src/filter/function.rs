//! Filters from closures.

use std::fmt;

use async_trait::async_trait;

use super::{Filter, Flow};
use crate::{Context, Request, Result};

/// A filter whose request hook is a closure that does not wait.
///
/// ```
/// use proxy_core::{Flow, filter_fn};
///
/// let tag = filter_fn(|request, _| {
///     let value = http::HeaderValue::from_static("yes");
///     request.head_mut().headers_mut().insert(http::HeaderName::from_static("x-seen"), value);
///     Ok(Flow::Continue)
/// });
/// # let _: &dyn proxy_core::Filter = &tag;
/// ```
pub fn filter_fn<F>(f: F) -> FilterFn<F>
where
    F: Fn(&mut Request, &mut Context) -> Result<Flow> + Send + Sync + 'static,
{
    FilterFn(f)
}

/// See [`filter_fn`].
#[derive(Clone, Copy)]
pub struct FilterFn<F>(F);

impl<F> fmt::Debug for FilterFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FilterFn")
    }
}

#[async_trait]
impl<F> Filter for FilterFn<F>
where
    F: Fn(&mut Request, &mut Context) -> Result<Flow> + Send + Sync + 'static,
{
    async fn on_request(&self, request: &mut Request, context: &mut Context) -> Result<Flow> {
        (self.0)(request, context)
    }
}
