//! What has a limit of its own.

use std::fmt;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::HeaderName;

use crate::Subject;

/// What has a limit of its own: every client address, every value of a header, or any combination.
///
/// ```
/// use http::HeaderName;
/// use proxy_ratelimit::Key;
///
/// let per_client_and_path = Key::client_ip().and(Key::path());
/// let per_tenant = Key::from_fn(|request| {
///     let host = request.host()?;
///     host.split_once('.').map(|(tenant, _)| tenant.to_owned())
/// });
/// # let _ = (per_client_and_path, per_tenant, Key::header(HeaderName::from_static("x-api-key")));
/// ```
#[derive(Clone)]
pub struct Key(Vec<Part>);

#[derive(Clone)]
enum Part {
    Everything,
    ClientIp { v4: u8, v6: u8 },
    Connection,
    Header(HeaderName),
    Cookie(Arc<str>),
    Host,
    Path,
    Route,
    Method,
    TlsClient,
    User,
    Closure(Closure),
}

type Closure = Arc<dyn Fn(&Subject<'_>) -> Option<String> + Send + Sync>;

/// Who a client is, where someone else than the connection's certificate says so: a filter that looked it up, or
/// another TLS stack. [`Key::tls_client`] looks for it in the [`Context`](proxy_core::Context), or under a tower
/// layer among the extensions, before it looks at the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsClient(pub Arc<str>);

/// How much of an IPv6 address names a client, in bits: sites get a /64, and have all of it to choose from.
const V6_PREFIX: u8 = 64;

impl Key {
    /// One limit for all requests.
    pub fn everything() -> Self {
        Key(vec![Part::Everything])
    }

    /// Every client address, as trusted proxies forward it: IPv4 each, IPv6 by its /64.
    pub fn client_ip() -> Self {
        Key(vec![Part::ClientIp { v4: 32, v6: V6_PREFIX }])
    }

    /// Every network of clients, by its leading bits; more than there are means all.
    pub fn client_network(v4: u8, v6: u8) -> Self {
        Key(vec![Part::ClientIp { v4: v4.min(32), v6: v6.min(128) }])
    }

    /// Every connection, by the address and port it comes from.
    pub fn connection() -> Self {
        Key(vec![Part::Connection])
    }

    /// Every value of this field.
    pub fn header(name: HeaderName) -> Self {
        Key(vec![Part::Header(name)])
    }

    /// Every value of this cookie.
    pub fn cookie(name: &str) -> Self {
        Key(vec![Part::Cookie(name.into())])
    }

    /// Every host, in whatever case it is written.
    pub fn host() -> Self {
        Key(vec![Part::Host])
    }

    /// Every path. It is chosen by the client: set a global limit beside it.
    pub fn path() -> Self {
        Key(vec![Part::Path])
    }

    /// Every route, by its name; for filters of a route.
    pub fn route() -> Self {
        Key(vec![Part::Route])
    }

    /// Every method.
    pub fn method() -> Self {
        Key(vec![Part::Method])
    }

    /// Every client that showed a certificate, by [what that says](Subject::tls_client) of it.
    pub fn tls_client() -> Self {
        Key(vec![Part::TlsClient])
    }

    /// Every [user](proxy_core::User), once it is known who asks: for filters behind the one that authenticates.
    pub fn user() -> Self {
        Key(vec![Part::User])
    }

    /// Whatever the closure says; `None` is a missing key.
    pub fn from_fn(f: impl Fn(&Subject<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        Key(vec![Part::Closure(Arc::new(f))])
    }

    /// Every combination of the two. It is missing where one of them is.
    #[must_use]
    pub fn and(mut self, mut other: Key) -> Self {
        self.0.append(&mut other.0);
        self
    }

    /// Writes the key; `None` where a part is missing.
    pub(crate) fn write(&self, subject: &Subject<'_>, out: &mut dyn Sink) -> Option<()> {
        self.0.iter().try_for_each(|part| part.write(subject, out))
    }
}

/// Where a key is written, part by part.
pub(crate) trait Sink {
    fn part(&mut self, bytes: &[u8]);
}

/// The length first, so that `a` + `bc` is not `ab` + `c`.
impl<H: Hasher> Sink for H {
    fn part(&mut self, bytes: &[u8]) {
        self.write_u32(bytes.len() as u32);
        self.write(bytes);
    }
}

/// A key as bytes, for those who store it elsewhere.
#[derive(Default)]
pub(crate) struct KeyBytes(pub(crate) Vec<u8>);

impl Sink for KeyBytes {
    fn part(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }
}

impl Part {
    fn write(&self, subject: &Subject<'_>, out: &mut dyn Sink) -> Option<()> {
        match self {
            Part::Everything => {}
            Part::ClientIp { v4, v6 } => write_network(subject.client()?, *v4, *v6, out),
            Part::Connection => {
                let peer = subject.peer()?;
                write_network(peer.ip(), 32, 128, out);
                out.part(&peer.port().to_le_bytes());
            }
            Part::Header(name) => out.part(subject.header(name)?),
            Part::Cookie(name) => out.part(subject.cookie(name)?.as_bytes()),
            Part::Host => write_lower_case(subject.host()?, out),
            Part::Path => out.part(subject.path().as_bytes()),
            Part::Route => out.part(subject.route()?.as_bytes()),
            Part::Method => out.part(subject.method().as_str().as_bytes()),
            Part::TlsClient => out.part(subject.tls_client()?.as_bytes()),
            Part::User => out.part(subject.user()?.as_bytes()),
            Part::Closure(closure) => out.part(closure(subject)?.as_bytes()),
        }
        Some(())
    }
}

/// The leading bits of an address.
pub(crate) fn network(address: IpAddr, v4: u8, v6: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(v4)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(v6)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

fn write_network(address: IpAddr, v4: u8, v6: u8, out: &mut dyn Sink) {
    match network(address, v4, v6) {
        IpAddr::V4(address) => out.part(&address.octets()),
        IpAddr::V6(address) => out.part(&address.octets()),
    }
}

/// Without memory of its own for names of usual length.
fn write_lower_case(text: &str, out: &mut dyn Sink) {
    let mut lower = [0; 256];
    match lower.get_mut(..text.len()) {
        Some(lower) => {
            lower.copy_from_slice(text.as_bytes());
            lower.make_ascii_lowercase();
            out.part(lower);
        }
        None => out.part(text.to_ascii_lowercase().as_bytes()),
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Everything => f.write_str("everything"),
            Part::ClientIp { v4, v6 } => write!(f, "client_ip/{v4}/{v6}"),
            Part::Connection => f.write_str("connection"),
            Part::Header(name) => write!(f, "header {name}"),
            Part::Cookie(name) => write!(f, "cookie {name}"),
            Part::Host => f.write_str("host"),
            Part::Path => f.write_str("path"),
            Part::Route => f.write_str("route"),
            Part::Method => f.write_str("method"),
            Part::TlsClient => f.write_str("tls_client"),
            Part::User => f.write_str("user"),
            Part::Closure(_) => f.write_str("closure"),
        }
    }
}

/// What happens to a request whose key is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Missing {
    /// All of them share one limit.
    #[default]
    Share,
    /// It passes.
    Allow,
    /// It is refused.
    Deny,
}

#[cfg(test)]
mod tests {
    use http::{Method, Request};
    use proxy_core::{Context, Peer, RequestHead};

    use super::*;

    fn bytes(key: &Key, subject: &Subject<'_>) -> Option<Vec<u8>> {
        let mut out = KeyBytes::default();
        key.write(subject, &mut out)?;
        Some(out.0)
    }

    fn parts(address: &str, fields: &[(&str, &str)]) -> http::request::Parts {
        let mut request = Request::builder().method(Method::PUT).uri("http://API.example:80/a?b");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.extension(Peer::new(address.parse().unwrap())).body(()).unwrap();
        request.into_parts().0
    }

    #[test]
    fn the_same_key_from_a_proxy_and_under_a_layer() {
        let fields = [("x-api-key", "k"), ("cookie", "a=1; s=2")];
        let parts = parts("192.0.2.1:5", &fields);
        let layered = Subject::http(&parts, None);
        let mut head = RequestHead::new(Method::PUT, "http://api.example:80/a?b").unwrap();
        for (name, value) in fields {
            head.headers_mut().insert(name.parse().unwrap(), value.parse().unwrap());
        }
        let context = Context::internal();
        let proxied = Subject::proxied(&head, None, &context);
        let name = HeaderName::from_static("x-api-key");
        let closure = Key::from_fn(|request| Some(request.path().to_owned()));
        for key in [Key::header(name), Key::cookie("s"), Key::host(), Key::path(), Key::method(), closure] {
            let key = key.and(Key::everything());
            assert!(bytes(&key, &layered).is_some(), "{key:?}");
            assert_eq!(bytes(&key, &layered), bytes(&key, &proxied), "{key:?}");
        }
        for missing in [Key::route(), Key::tls_client(), Key::cookie("x"), Key::host().and(Key::cookie("t"))] {
            assert_eq!((bytes(&missing, &layered), bytes(&missing, &proxied)), (None, None), "{missing:?}");
        }
        assert_eq!(bytes(&Key::client_ip(), &proxied), None);
    }

    #[test]
    fn addresses_are_cut_to_their_network() {
        let same = |key: &Key, one: &str, two: &str| {
            let (one, two) = (parts(one, &[]), parts(two, &[]));
            bytes(key, &Subject::http(&one, None)) == bytes(key, &Subject::http(&two, None))
        };
        let client = Key::client_ip();
        assert!(same(&client, "192.0.2.1:5", "192.0.2.1:6"));
        assert!(same(&client, "192.0.2.1:5", "[::ffff:192.0.2.1]:5"));
        assert!(!same(&client, "192.0.2.1:5", "192.0.2.2:5"));
        assert!(same(&client, "[2001:db8::1]:5", "[2001:db8::ffff:0:0:1]:5"));
        assert!(!same(&client, "[2001:db8::1]:5", "[2001:db8:0:1::1]:5"));
        assert!(same(&Key::client_network(24, 48), "192.0.2.1:5", "192.0.2.200:5"));
        assert!(same(&Key::client_network(0, 0), "192.0.2.1:5", "10.0.0.1:5"));
        assert!(!same(&Key::connection(), "192.0.2.1:5", "192.0.2.1:6"));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let (a, b) = (HeaderName::from_static("a"), HeaderName::from_static("b"));
        let key = Key::header(a).and(Key::header(b));
        let one = parts("192.0.2.1:5", &[("a", "x"), ("b", "yz")]);
        let two = parts("192.0.2.1:5", &[("a", "xy"), ("b", "z")]);
        assert_ne!(bytes(&key, &Subject::http(&one, None)), bytes(&key, &Subject::http(&two, None)));
    }
}
