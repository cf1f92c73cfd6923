//! Requests and responses: a head and a body.

use http::{HeaderValue, StatusCode, header};

use crate::http1::tunnel::Tunnel;
use crate::pool::{Connection, Lease};
use crate::{Body, RequestHead, ResponseHead, TunnelCheck};

/// A request on its way to an upstream.
#[derive(Debug)]
pub struct Request {
    head: RequestHead,
    body: Body,
}

impl Request {
    /// A request with this head and body.
    pub fn new(head: RequestHead, body: Body) -> Self {
        Request { head, body }
    }

    /// Method, target and fields.
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// Method, target and fields, to be edited.
    pub fn head_mut(&mut self) -> &mut RequestHead {
        &mut self.head
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The body, to be read. To replace it use [`map_body`](Self::map_body), which mends the framing.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Replaces the body: `Content-Length` goes, and the engine chooses the framing anew.
    #[must_use]
    pub fn map_body(mut self, f: impl FnOnce(Body) -> Body) -> Self {
        self.replace_body(f);
        self
    }

    /// Replaces the body in place; see [`map_body`](Self::map_body).
    pub fn replace_body(&mut self, f: impl FnOnce(Body) -> Body) {
        self.body = f(std::mem::take(&mut self.body));
        self.head.headers_mut().remove(header::CONTENT_LENGTH);
        self.head.headers_mut().remove(header::TRANSFER_ENCODING);
    }

    /// Head and body apart.
    pub fn into_parts(self) -> (RequestHead, Body) {
        (self.head, self.body)
    }
}

/// A response on its way to the client.
///
/// ```
/// use proxy_core::Response;
///
/// let response = Response::text(http::StatusCode::TOO_MANY_REQUESTS, "slow down\n");
/// assert_eq!(response.head().headers().get("content-type"), Some(&b"text/plain; charset=utf-8"[..]));
/// ```
#[derive(Debug)]
pub struct Response {
    head: ResponseHead,
    body: Body,
    upgraded: Option<Box<Upgraded>>,
}

/// The upstream's side of a tunnel that a 101 or a 2xx to CONNECT opened.
#[derive(Debug)]
pub(crate) struct Upgraded {
    lease: Lease,
    check: Option<TunnelCheck>,
}

impl Upgraded {
    pub(crate) fn into_parts(self) -> (Tunnel, Option<TunnelCheck>) {
        (self.lease.into_connection().into(), self.check)
    }
}

impl Response {
    /// A response with this head and body.
    pub fn new(head: ResponseHead, body: Body) -> Self {
        Response { head, body, upgraded: None }
    }

    /// A response of this status, without fields or body.
    pub fn status(status: StatusCode) -> Self {
        Response::new(ResponseHead::new(status), Body::empty())
    }

    /// A response with a text body.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        let mut response = Response::new(ResponseHead::new(status), Body::full(text.into()));
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.head.headers_mut().insert(header::CONTENT_TYPE, text);
        response
    }

    /// The answer to CONNECT that opens a tunnel: 200, and the connection that the client's bytes go to
    /// from then on. To any other request it is no answer.
    pub fn tunnel(connection: Connection) -> Self {
        Response::status(StatusCode::OK).with_tunnel(Lease::once(connection))
    }

    /// Looks at how the tunnel begins that this response opens. Without one it changes nothing.
    #[must_use]
    pub fn check_tunnel(mut self, check: TunnelCheck) -> Self {
        if let Some(upgraded) = &mut self.upgraded {
            upgraded.check = Some(check);
        }
        self
    }

    /// Status and fields.
    pub fn head(&self) -> &ResponseHead {
        &self.head
    }

    /// Status and fields, to be edited.
    pub fn head_mut(&mut self) -> &mut ResponseHead {
        &mut self.head
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The body, to be read. To replace it use [`map_body`](Self::map_body), which mends the framing.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Replaces the body: `Content-Length` goes, and the engine chooses the framing anew.
    #[must_use]
    pub fn map_body(mut self, f: impl FnOnce(Body) -> Body) -> Self {
        self.replace_body(f);
        self
    }

    /// Replaces the body in place; see [`map_body`](Self::map_body).
    pub fn replace_body(&mut self, f: impl FnOnce(Body) -> Body) {
        self.body = f(std::mem::take(&mut self.body));
        self.head.headers_mut().remove(header::CONTENT_LENGTH);
        self.head.headers_mut().remove(header::TRANSFER_ENCODING);
    }

    /// Head and body apart. A tunnel the response opened is closed.
    pub fn into_parts(self) -> (ResponseHead, Body) {
        (self.head, self.body)
    }

    pub(crate) fn with_tunnel(mut self, lease: Lease) -> Self {
        self.upgraded = Some(Box::new(Upgraded { lease, check: None }));
        self
    }

    pub(crate) fn take_tunnel(&mut self) -> Option<Upgraded> {
        self.upgraded.take().map(|upgraded| *upgraded)
    }

    pub(crate) fn has_tunnel(&self) -> bool {
        self.upgraded.is_some()
    }
}
