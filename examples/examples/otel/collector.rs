//! Sends batches to a collector, through a proxy.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use opentelemetry_http::{HttpClient, HttpError};
use proxy_core::Proxy;
use tokio::runtime::Handle;
use tower::ServiceExt;

/// An answer is a few bytes.
const LONGEST: usize = 64 * 1024;

/// Sends requests to a collector. They come from a thread outside of the runtime that they are sent in.
#[derive(Clone, Debug)]
pub(crate) struct Collector {
    proxy: Proxy,
    runtime: Handle,
}

impl Collector {
    /// The one at this `http://host:port`.
    ///
    /// # Errors
    /// If that is something else.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(crate) fn at(url: &str) -> Result<Self, HttpError> {
        let uri: Uri = url.parse()?;
        let authority = uri.authority().ok_or("the collector's address is http://host:port")?;
        Ok(Collector { proxy: Proxy::to(authority.as_str())?, runtime: Handle::current() })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let proxy = self.proxy.clone();
        let sending = self.runtime.spawn(async move {
            let (parts, body) = proxy.oneshot(request.map(Full::new)).await?.into_parts();
            Ok(Response::from_parts(parts, Limited::new(body, LONGEST).collect().await?.to_bytes()))
        });
        sending.await?
    }
}
