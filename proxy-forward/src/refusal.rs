//! What a client is told that may not go where it wants.

use std::fmt::{self, Write};
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, header};
use proxy_core::{Context, Error, ErrorKind, Filter, Response};

use crate::egress::AddressClass;

/// RFC 9209: machines read it, and so do we for clients of SOCKS.
pub(crate) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why a forward proxy refused a request. Filters find it in the [`Context`], under this type.
///
/// ```
/// # use proxy_core::Context;
/// use proxy_forward::Refusal;
///
/// fn rule(context: &Context) -> Option<&str> {
///     context.get::<Refusal>()?.rule()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    /// What the client named.
    destination: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A rule of this name denies it.
    Rule(Arc<str>),
    /// No rule allows it.
    NoRule,
    /// The port is not open to CONNECT, or to requests.
    Port(u16),
    /// It is an address of this kind, or a name for one.
    Address(AddressClass),
    /// It is no destination.
    Malformed(&'static str),
    /// The request came by here before.
    Loop,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, destination: impl fmt::Display) -> Self {
        Refusal { reason, destination: destination.to_string().into() }
    }

    /// The rule that denied it, where that was one of a [`Policy`](crate::Policy).
    pub fn rule(&self) -> Option<&str> {
        match &self.reason {
            Reason::Rule(name) => Some(name),
            _ => None,
        }
    }

    /// What kind of address it was, where the [`EgressGuard`](crate::EgressGuard) refused it.
    pub fn class(&self) -> Option<AddressClass> {
        match self.reason {
            Reason::Address(class) => Some(class),
            _ => None,
        }
    }

    /// The stable reason code, for logs and metrics: `rule`, `default`, `port`, `address`, `malformed`, `loop`.
    pub fn code(&self) -> &'static str {
        match self.reason {
            Reason::Rule(_) => "rule",
            Reason::NoRule => "default",
            Reason::Port(_) => "port",
            Reason::Address(_) => "address",
            Reason::Malformed(_) => "malformed",
            Reason::Loop => "loop",
        }
    }

    /// The status the client gets.
    pub fn status(&self) -> StatusCode {
        match self.reason {
            Reason::Malformed(_) => StatusCode::BAD_REQUEST,
            Reason::Loop => StatusCode::LOOP_DETECTED,
            _ => StatusCode::FORBIDDEN,
        }
    }

    pub(crate) fn destination(&self) -> &str {
        &self.destination
    }

    fn proxy_status(&self) -> &'static str {
        match self.reason {
            Reason::Malformed(_) => "proxy; error=http_request_error",
            Reason::Loop => "proxy; error=proxy_loop_detected",
            Reason::Address(_) => "proxy; error=destination_ip_prohibited",
            _ => "proxy; error=http_request_denied",
        }
    }

    pub(crate) fn into_response(self) -> Response {
        page(self.status(), self.proxy_status(), &self.to_string())
    }
}

impl fmt::Display for Refusal {
    /// One sentence, for the client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let destination = &self.destination;
        match &self.reason {
            Reason::Rule(name) => write!(f, "{destination} is refused by the rule \"{name}\" of this proxy."),
            Reason::NoRule => write!(f, "{destination} is allowed by no rule of this proxy."),
            Reason::Port(port) => {
                write!(f, "{destination} is refused: this proxy does not connect to port {port} this way.")
            }
            Reason::Address(class) => write!(f, "{destination} is refused: its address is not public ({class})."),
            Reason::Malformed(what) => write!(f, "{what}."),
            Reason::Loop => write!(f, "{destination} leads back to this proxy."),
        }
    }
}

/// A small page. Texts may hold what a client sent: they are escaped.
pub(crate) fn page(status: StatusCode, proxy_status: &'static str, text: &str) -> Response {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    let (code, reason) = (status.as_str(), status.canonical_reason().unwrap_or("error"));
    let html = format!(
        "<!DOCTYPE html>\n<meta charset=utf-8>\n<title>{code} {reason}</title>\n<h1>{code} {reason}</h1>\n<p>{escaped}</p>\n"
    );
    let mut response = Response::text(status, html);
    let headers = response.head_mut().headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PROXY_STATUS, HeaderValue::from_static(proxy_status));
    response
}

/// Answers what failed on the way to an origin with a page that says why. Part of
/// [`ForwardUpstream::into_proxy`](crate::ForwardUpstream::into_proxy).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pages;

impl Filter for Pages {
    fn on_error(&self, error: &Error, _: &mut Context) -> Option<Response> {
        let mut text = String::new();
        write!(text, "{error}").ok()?;
        let mut cause = std::error::Error::source(error);
        while let Some(source) = cause {
            write!(text, ": {source}").ok()?;
            cause = source.source();
        }
        text.push('.');
        Some(page(error.status(), proxy_status(error.kind())?, &text))
    }
}

/// `None` for what is no failure of the way there.
fn proxy_status(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::Resolve => "proxy; error=dns_error",
        ErrorKind::ConnectRefused => "proxy; error=connection_refused",
        ErrorKind::ConnectTimeout | ErrorKind::PoolTimeout => "proxy; error=connection_timeout",
        ErrorKind::PoolFull | ErrorKind::CircuitOpen => "proxy; error=connection_limit_reached",
        ErrorKind::ResponseTimeout | ErrorKind::ResponseStalled => "proxy; error=http_response_timeout",
        ErrorKind::UpstreamGone | ErrorKind::UpstreamIo => "proxy; error=connection_terminated",
        ErrorKind::BadResponse => "proxy; error=http_protocol_error",
        ErrorKind::NextHopRefused => "proxy; error=destination_unavailable",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_page_says_who_refused_and_escapes_what_it_repeats() {
        let check = |reason: Reason, status: u16, part: &'static str| async move {
            let response = Refusal::new(reason, "a<b>.example:443").into_response();
            assert_eq!(response.head().status(), status);
            let body = response.into_parts().1.collect().await.unwrap().to_bytes();
            let text = String::from_utf8(body.to_vec()).unwrap();
            assert!(text.contains(part) && !text.contains("<b>"), "{text}");
        };
        check(
            Reason::Rule("no <ads>".into()),
            403,
            "a&lt;b&gt;.example:443 is refused by the rule &quot;no &lt;ads&gt;&quot;",
        )
        .await;
        check(Reason::NoRule, 403, "allowed by no rule").await;
        check(Reason::Port(25), 403, "port 25").await;
        check(Reason::Address(AddressClass::Metadata), 403, "not public (metadata service)").await;
        check(Reason::Loop, 508, "leads back").await;
        check(Reason::Malformed("this is a forward proxy"), 400, "<p>this is a forward proxy.</p>").await;
    }
}
