//! What a limit looks at.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderName, Method};
use proxy_core::{Context, Peer, RequestHead, User};

use crate::TlsClient;

/// A request as limits see it: in a proxy or under a tower layer.
#[derive(Clone, Copy)]
pub struct Subject<'a>(Inner<'a>);

#[derive(Clone, Copy)]
enum Inner<'a> {
    Proxied { head: &'a RequestHead, body: Option<u64>, context: &'a Context },
    Http { parts: &'a http::request::Parts, body: Option<u64> },
}

impl<'a> Subject<'a> {
    /// A request in a proxy, and the length of its body.
    pub fn proxied(head: &'a RequestHead, body: Option<u64>, context: &'a Context) -> Self {
        Subject(Inner::Proxied { head, body, context })
    }

    /// A request under a tower layer, and the length of its body. Its client is the [`Peer`] among its
    /// extensions.
    pub fn http(parts: &'a http::request::Parts, body: Option<u64>) -> Self {
        Subject(Inner::Http { parts, body })
    }

    /// The client's address; behind trusted proxies the forwarded one.
    pub fn client(&self) -> Option<IpAddr> {
        match self.0 {
            Inner::Proxied { context, .. } => context.client(),
            Inner::Http { .. } => self.peer().map(|address| address.ip().to_canonical()),
        }
    }

    /// The address and port that the connection comes from.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.connection()?.address
    }

    /// Who the client is by its certificate: the [`TlsClient`] attached to the request, or else of the one that
    /// its connection showed the first URI, the first DNS name, or the fingerprint. The names outlive the
    /// certificate, and an authority vouches for them.
    pub fn tls_client(&self) -> Option<&'a str> {
        if let Some(client) = self.get::<TlsClient>() {
            return Some(&client.0);
        }
        let certificate = self.connection()?.tls.as_ref()?.client.as_ref()?;
        let name = certificate.uris.first().or(certificate.dns_names.first());
        Some(name.unwrap_or(&certificate.fingerprint))
    }

    /// The name of the [user](proxy_core::User), where a filter before has found out who asks.
    pub fn user(&self) -> Option<&'a str> {
        self.get::<User>().map(User::name)
    }

    fn connection(&self) -> Option<&'a Peer> {
        match self.0 {
            Inner::Proxied { context, .. } => Some(context.peer()),
            Inner::Http { parts, .. } => parts.extensions.get(),
        }
    }

    /// The method.
    pub fn method(&self) -> &'a Method {
        match self.0 {
            Inner::Proxied { head, .. } => head.method(),
            Inner::Http { parts, .. } => &parts.method,
        }
    }

    /// The host, without its port.
    pub fn host(&self) -> Option<&'a str> {
        match self.0 {
            Inner::Proxied { head, .. } => head.host(),
            Inner::Http { parts, .. } => parts.uri.host().or_else(|| {
                let host = parts.headers.get(http::header::HOST)?.to_str().ok()?;
                let port = host.rfind(':').filter(|colon| !host[*colon..].contains(']'));
                Some(port.map_or(host, |colon| &host[..colon]))
            }),
        }
    }

    /// The path, still percent-encoded.
    pub fn path(&self) -> &'a str {
        match self.0 {
            Inner::Proxied { head, .. } => head.path(),
            Inner::Http { parts, .. } => parts.uri.path(),
        }
    }

    /// The value of the first field of this name.
    pub fn header(&self, name: &HeaderName) -> Option<&'a [u8]> {
        match self.0 {
            Inner::Proxied { head, .. } => head.headers().get(name),
            Inner::Http { parts, .. } => parts.headers.get(name).map(http::HeaderValue::as_bytes),
        }
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        match self.0 {
            Inner::Proxied { head, .. } => head.cookie(name),
            Inner::Http { parts, .. } => {
                let fields = parts.headers.get_all(http::header::COOKIE).iter();
                let pairs = fields.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
                let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
                pairs.find_map(|(candidate, value)| (candidate == name).then_some(value))
            }
        }
    }

    /// The name of the route, where the filter is behind one. Never under a tower layer.
    pub fn route(&self) -> Option<&'a str> {
        self.context()?.route()
    }

    /// The length of the body in bytes, where it is known before the body was read.
    pub fn body_length(&self) -> Option<u64> {
        match self.0 {
            Inner::Proxied { body, .. } | Inner::Http { body, .. } => body,
        }
    }

    /// What the proxy knows about the request. `None` under a tower layer.
    pub fn context(&self) -> Option<&'a Context> {
        match self.0 {
            Inner::Proxied { context, .. } => Some(context),
            Inner::Http { .. } => None,
        }
    }

    /// Something attached to the request: in a proxy a plugin's value in the [`Context`], under a
    /// tower layer an extension.
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<&'a T> {
        match self.0 {
            Inner::Proxied { context, .. } => context.get(),
            Inner::Http { parts, .. } => parts.extensions.get(),
        }
    }
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("method", self.method()).field("path", &self.path()).finish_non_exhaustive()
    }
}
