//! A backend is well if it answers a request as expected.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use proxy_core::{
    Backend, Body, ClientHandshake, Cluster, ClusterBuilder, Connector, Context, Error, Request, RequestHead, Response,
    RetryPolicy, SharedPool, Upstream, UpstreamHttp2, selector_fn,
};

use super::{Check, CheckFailure};

/// Bytes of a body that are looked at: a health page is short, and one that is not must not cost memory.
const BODY: usize = 64 * 1024;

/// A backend is well if it answers a request, of HTTP/1.1 if nothing else is said, as expected: with a good status and, where one is
/// given, with this text in the first 64 KiB of the body.
///
/// It goes through the same engine as traffic, so an answer that traffic would be refused is bad. The
/// connection is kept for the next question.
///
/// ```
/// use proxy_lb::HttpCheck;
///
/// let check = HttpCheck::get("/healthz")?.host("api.internal".parse()?).status(200..=204).body_contains("ok");
/// # let _ = check;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpCheck {
    head: RequestHead,
    statuses: Vec<RangeInclusive<u16>>,
    text: Option<Arc<str>>,
    tls: Option<Arc<dyn ClientHandshake>>,
    http2: UpstreamHttp2,
    pool: SharedPool,
}

impl HttpCheck {
    /// Asks with GET. Any status from 200 to 399 is good.
    ///
    /// # Errors
    /// If the target is no legal one.
    pub fn get(target: &str) -> Result<Self, Error> {
        HttpCheck::new(Method::GET, target)
    }

    /// Asks with this method; `HEAD` and `OPTIONS` are the usual others.
    ///
    /// # Errors
    /// If the target is no legal one.
    pub fn new(method: Method, target: &str) -> Result<Self, Error> {
        let mut head = RequestHead::new(method, target)?;
        head.headers_mut().insert(USER_AGENT, HeaderValue::from_static("proxy-lb health check"));
        Ok(HttpCheck {
            head,
            statuses: Vec::new(),
            text: None,
            tls: None,
            http2: UpstreamHttp2::Never,
            pool: pool(None),
        })
    }

    /// The `Host` it sends. Default: the address.
    #[must_use]
    pub fn host(self, host: HeaderValue) -> Self {
        self.header(HOST, host)
    }

    /// A field it sends.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.head.headers_mut().insert(name, value);
        self
    }

    /// Good statuses, both ends included; further calls add to them.
    #[must_use]
    pub fn status(mut self, good: RangeInclusive<u16>) -> Self {
        self.statuses.push(good);
        self
    }

    /// Text that the body must contain.
    #[must_use]
    pub fn body_contains(mut self, text: &str) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Speaks TLS to the backends, as traffic does.
    #[must_use]
    pub fn tls(mut self, handshake: impl ClientHandshake) -> Self {
        self.tls = Some(Arc::new(handshake));
        self
    }

    /// Asks over HTTP/2, as traffic does.
    #[must_use]
    pub fn http2(mut self, http2: UpstreamHttp2) -> Self {
        self.http2 = http2;
        self
    }

    /// Connects in this way.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.pool = pool(Some(connector));
        self
    }

    async fn ask(&self, backend: &Backend) -> Result<Response, CheckFailure> {
        let request = Request::new(self.head.clone(), Body::empty());
        send(backend, request, self.http2, self.tls.as_ref(), &self.pool).await
    }

    fn judge_status(&self, status: StatusCode) -> Result<(), CheckFailure> {
        let code = status.as_u16();
        let good = match &self.statuses[..] {
            [] => (200..=399).contains(&code),
            ranges => ranges.iter().any(|range| range.contains(&code)),
        };
        if good { Ok(()) } else { Err(CheckFailure::new(format!("status {code}"))) }
    }

    fn judge_body(&self, body: &[u8]) -> Result<(), CheckFailure> {
        let Some(text) = &self.text else { return Ok(()) };
        let found = text.is_empty() || body.windows(text.len()).any(|window| window == text.as_bytes());
        if found { Ok(()) } else { Err(CheckFailure::new("the expected text is not in the body")) }
    }
}

#[async_trait]
impl Check for HttpCheck {
    async fn check(&self, backend: &Backend) -> Result<(), CheckFailure> {
        let mut response = self.ask(backend).await?;
        self.judge_status(response.head().status())?;
        // Read to its end where it is short, so that the connection can be used again.
        let body = response.body_mut().peek(BODY + 1).await.map_err(|error| explain(&error))?;
        self.judge_body(&body[..body.len().min(BODY)])
    }
}

/// One try at this backend.
pub(super) async fn send(
    backend: &Backend,
    request: Request,
    http2: UpstreamHttp2,
    tls: Option<&Arc<dyn ClientHandshake>>,
    pool: &SharedPool,
) -> Result<Response, CheckFailure> {
    let only = selector_fn(|candidates, _| candidates.at(0).cloned());
    let once = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    let cluster = Cluster::builder(only).with(backend.clone()).retry(once).http2(http2);
    let cluster = tls.into_iter().cloned().fold(cluster, ClusterBuilder::shared_tls).build_with(pool.clone());
    cluster.send(request, &mut Context::internal()).await.map_err(|error| explain(&error))
}

/// Keeps one connection per backend, longer than any sensible interval.
pub(super) fn pool(connector: Option<Arc<dyn Connector>>) -> SharedPool {
    let builder =
        SharedPool::builder().max_idle_per_backend(1).max_idle(usize::MAX).idle_timeout(Duration::from_secs(300));
    match connector {
        Some(connector) => builder.connector(connector).build(),
        None => builder.build(),
    }
}

/// Level by level: what went wrong, and where it came from.
pub(super) fn explain(error: &Error) -> CheckFailure {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    CheckFailure::new(text)
}
