//! Any tower service as an upstream.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http_body::Body as HttpBody;
use tower_service::Service;

use crate::{Body, Context, Error, ErrorKind, Request, Response, ResponseHead, Result, Upstream, upgrade};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Any tower service, an axum `Router` among them, as an upstream: in this process, without a socket.
///
/// The service is cloned for each request, under a lock, so it need not be `Sync`. It gets head,
/// extensions and body as the filters left them. If it fails, the client gets 502; if it panics, 500.
///
/// ```
/// use proxy_core::{Body, Proxy, ServiceUpstream};
///
/// let hello = tower::service_fn(async |request: http::Request<Body>| {
///     Ok::<_, std::convert::Infallible>(http::Response::new(format!("hello from {}\n", request.uri().path())))
/// });
/// let proxy = Proxy::over(ServiceUpstream::new(hello));
/// # let _ = proxy;
/// ```
///
/// # Upgrades
/// With the feature `tower-upgrade`, a request that asks to upgrade, and CONNECT, carry a
/// `hyper::upgrade::OnUpgrade` among their extensions, as under a hyper server: axum's
/// `WebSocketUpgrade` works. A 101 (or a 2xx to CONNECT) opens the tunnel, which then lives under the
/// deadlines of the server in front. A request with a body, and one that asks for `h2c`, is an
/// ordinary one. Without the feature there is no stream to upgrade: axum answers 426, and a service
/// that answers 101 all the same is a 502 to the client.
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
    async fn send(&self, request: Request, context: &mut Context) -> Result<Response> {
        let (head, body) = request.into_parts();
        // A tunnel begins behind the request: one with a body goes the ordinary way.
        let upgrades = context.upgrade_requested && body.is_empty();
        let request = http::Request::from_parts(http::request::Parts::try_from(head)?, body);
        let service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match upgrades {
            true => upgrade::call(service, request).await,
            false => call(service, request).await,
        }
    }
}

pub(crate) async fn call<S, B>(mut service: S, request: http::Request<Body>) -> Result<Response>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Error: Into<Source>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Source>,
{
    let failed = |error: S::Error| Error::new(ErrorKind::ServiceFailed).with_source(error);
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.map_err(failed)?;
    let response = service.call(request).await.map_err(failed)?;
    let (parts, body) = response.into_parts();
    let body = if body.is_end_stream() { Body::empty() } else { Body::boxed(body) };
    Ok(Response::new(ResponseHead::try_from(parts)?, body))
}
