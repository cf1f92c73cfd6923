//! Any tower service as an upstream.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http_body::Body as HttpBody;
use tower_service::Service;

use crate::{Body, Context, Error, ErrorKind, Request, Response, ResponseHead, Result, Upstream};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Any tower service, an axum `Router` among them, as an upstream.
///
/// The service is cloned for each request, under a lock, so it need not be `Sync`.
pub struct ServiceUpstream<S>(Mutex<S>);

impl<S> ServiceUpstream<S> {
    /// An upstream of this service.
    pub fn new(service: S) -> Self {
        ServiceUpstream(Mutex::new(service))
    }
}

impl<S> fmt::Debug for ServiceUpstream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceUpstream")
    }
}

#[async_trait]
impl<S, B> Upstream for ServiceUpstream<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Source>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Source>,
{
    async fn send(&self, request: Request, _: &mut Context) -> Result<Response> {
        let (head, body) = request.into_parts();
        let parts = http::request::Parts::try_from(head)?;
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failed = |error: S::Error| Error::new(ErrorKind::ServiceFailed).with_source(error);
        std::future::poll_fn(|cx| service.poll_ready(cx)).await.map_err(failed)?;
        let response = service.call(http::Request::from_parts(parts, body)).await.map_err(failed)?;
        let (parts, body) = response.into_parts();
        let body = if body.is_end_stream() { Body::empty() } else { Body::boxed(body) };
        Ok(Response::new(ResponseHead::try_from(parts)?, body))
    }
}
