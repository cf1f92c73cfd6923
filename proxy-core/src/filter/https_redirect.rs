//! From plain HTTP to HTTPS.

use std::future::ready;
use std::pin::Pin;

use http::header::LOCATION;
use http::{HeaderValue, Method, StatusCode};

use super::{Continue, Filter, Flow};
use crate::{Context, Request, RequestHead, Response, Result};

/// Sends clients that came without TLS to the same host, path and query with it. Those that did come with it
/// pass, also where a [trusted](crate::Forwarding::trust) proxy before us says so by `X-Forwarded-Proto`.
///
/// ```
/// use proxy_core::HttpsRedirect;
///
/// let filter = HttpsRedirect::new().port(8443);
/// # let _: &dyn proxy_core::Filter = &filter;
/// ```
#[derive(Clone, Debug)]
pub struct HttpsRedirect {
    port: u16,
    status: StatusCode,
}

impl Default for HttpsRedirect {
    fn default() -> Self {
        HttpsRedirect { port: 443, status: StatusCode::PERMANENT_REDIRECT }
    }
}

impl HttpsRedirect {
    /// To port 443, for good: with status 308, which keeps method and body.
    pub fn new() -> Self {
        HttpsRedirect::default()
    }

    /// Another port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Another status of redirection.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    fn answer(&self, head: &RequestHead) -> Response {
        // A tunnel is asked of the proxy itself, and without a host there is nowhere to go.
        let location = (*head.method() != Method::CONNECT).then(|| self.location(head)).flatten();
        let Some(location) = location else { return Response::status(StatusCode::BAD_REQUEST) };
        let mut response = Response::status(self.status);
        response.head_mut().headers_mut().insert(LOCATION, location);
        response
    }

    fn location(&self, head: &RequestHead) -> Option<HeaderValue> {
        let host = head.host().filter(|host| !host.is_empty())?;
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        let path = if head.path().starts_with('/') { head.path() } else { "/" };
        let query = head.query().map_or_else(String::new, |query| format!("?{query}"));
        HeaderValue::try_from(format!("https://{host}{port}{path}{query}")).ok()
    }
}

fn is_secure(request: &Request, context: &Context) -> bool {
    // What an untrusted client claimed of it has been removed before the first filter.
    context.scheme() == "https" || request.head().headers().get("x-forwarded-proto") == Some(b"https")
}

impl Filter for HttpsRedirect {
    // Not `async`: it does not wait, so that its future takes no memory where a request passes.
    fn on_request<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        request: &'life1 mut Request,
        context: &'life2 mut Context,
    ) -> Pin<Box<dyn Future<Output = Result<Flow>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
    {
        match is_secure(request, context) {
            true => Box::pin(Continue),
            false => Box::pin(ready(Ok(Flow::Respond(self.answer(request.head()))))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::header::HOST;

    use super::*;
    use crate::{Body, Peer, TlsInfo};

    async fn answer(filter: &HttpsRedirect, context: &mut Context, request: &mut Request) -> Option<Response> {
        match filter.on_request(request, context).await.unwrap() {
            Flow::Continue => None,
            Flow::Respond(response) => Some(response),
        }
    }

    fn request(method: Method, target: &str, host: Option<&'static str>) -> Request {
        let mut head = RequestHead::new(method, target).unwrap();
        if let Some(host) = host {
            head.headers_mut().insert(HOST, HeaderValue::from_static(host));
        }
        Request::new(head, Body::empty())
    }

    #[tokio::test]
    async fn plain_requests_are_sent_to_the_same_place_over_tls() {
        let check = async |filter: &HttpsRedirect, target, host, expected| {
            let mut request = request(Method::GET, target, host);
            let response = answer(filter, &mut Context::internal(), &mut request).await.unwrap();
            let location = response.head().headers().get_str("location").map(str::to_owned);
            assert_eq!((response.head().status().as_u16(), location.as_deref()), expected, "{target} {host:?}");
        };
        let (usual, other) = (HttpsRedirect::new(), HttpsRedirect::new().port(8443).status(StatusCode::FOUND));
        check(&usual, "/", Some("a.test"), (308, Some("https://a.test/"))).await;
        check(&usual, "/a%20b?c=d&e", Some("a.test:80"), (308, Some("https://a.test/a%20b?c=d&e"))).await;
        check(&other, "/x", Some("a.test:8080"), (302, Some("https://a.test:8443/x"))).await;
        check(&usual, "/", Some("[::1]:8080"), (308, Some("https://[::1]/"))).await;
        check(&usual, "http://b.test:80/x?y", Some("b.test:80"), (308, Some("https://b.test/x?y"))).await;
        check(&usual, "*", Some("a.test"), (308, Some("https://a.test/"))).await;
        check(&usual, "//evil.test/", Some("a.test"), (308, Some("https://a.test//evil.test/"))).await;
        check(&usual, "/", None, (400, None)).await;
        check(&usual, "/", Some(""), (400, None)).await;
    }

    #[tokio::test]
    async fn what_is_secure_passes_and_a_tunnel_is_none() {
        let filter = HttpsRedirect::new();
        let tls = Some(Arc::new(TlsInfo::default()));
        let mut secure = Context::of(Peer { tls, ..Peer::default() });
        assert!(answer(&filter, &mut secure, &mut request(Method::GET, "/", Some("a.test"))).await.is_none());
        let mut behind = request(Method::GET, "/", Some("a.test"));
        let name = http::HeaderName::from_static("x-forwarded-proto");
        behind.head_mut().headers_mut().insert(name, HeaderValue::from_static("https"));
        assert!(answer(&filter, &mut Context::internal(), &mut behind).await.is_none());
        let mut tunnel = request(Method::CONNECT, "a.test:443", Some("a.test:443"));
        let refused = answer(&filter, &mut Context::internal(), &mut tunnel).await.unwrap();
        assert_eq!(refused.head().status(), StatusCode::BAD_REQUEST);
    }
}
