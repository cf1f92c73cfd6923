//! What is hashed.

use std::net::IpAddr;

use proxy_core::SelectionContext;
use xxhash_rust::xxh3::xxh3_64;

/// What a hash selector takes as the key of a request or connection.
///
/// What has no such key, a request without the header for one, goes to a random backend by weight.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashKey {
    /// The client's address; of IPv6 the network, its first 64 bits, within which a client may change its
    /// address at will. The only key of TCP and UDP.
    ClientIp,
    /// The path, as it was sent, without the query.
    Path,
    /// The first field of this name.
    Header(String),
    /// The cookie of this name.
    Cookie(String),
    /// The first query parameter of this name, as it was sent.
    Query(String),
}

impl HashKey {
    pub(super) fn hash(&self, context: &SelectionContext<'_>) -> Option<u64> {
        self.hash_with(context, xxh3_64)
    }

    pub(super) fn hash_with(&self, context: &SelectionContext<'_>, hash: impl FnOnce(&[u8]) -> u64) -> Option<u64> {
        let request = context.request();
        match self {
            HashKey::ClientIp => match context.client()? {
                IpAddr::V4(address) => Some(hash(&address.octets())),
                IpAddr::V6(address) => Some(hash(&address.octets()[..8])),
            },
            HashKey::Path => Some(hash(request?.path().as_bytes())),
            HashKey::Header(name) => request?.headers().get(name).map(hash),
            HashKey::Cookie(name) => request?.cookie(name).map(|value| hash(value.as_bytes())),
            HashKey::Query(name) => request?.query_param(name).map(|value| hash(value.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Method};
    use proxy_core::RequestHead;

    use super::*;

    #[test]
    fn keys_are_taken_from_where_they_are() {
        let mut head = RequestHead::new(Method::GET, "/a/b?user=7&x=1").expect("a target");
        let fields = [("x-tenant", "acme"), ("x-tenant", "other"), ("cookie", "a=b; session=abc")];
        for (name, value) in fields {
            head.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let check = |key: HashKey, client: Option<&str>, expected: Option<&[u8]>| {
            let client = client.map(|address| address.parse().expect("an address"));
            let context = SelectionContext::new(client, Some(&head));
            assert_eq!(key.hash(&context), expected.map(xxh3_64), "{key:?}");
        };
        check(HashKey::Path, None, Some(b"/a/b"));
        check(HashKey::Header("x-tenant".into()), None, Some(b"acme"));
        check(HashKey::Header("X-Tenant".into()), None, Some(b"acme"));
        check(HashKey::Header("x-none".into()), None, None);
        check(HashKey::Cookie("session".into()), None, Some(b"abc"));
        check(HashKey::Cookie("sess".into()), None, None);
        check(HashKey::Query("user".into()), None, Some(b"7"));
        check(HashKey::Query("u".into()), None, None);
        check(HashKey::ClientIp, None, None);
        check(HashKey::ClientIp, Some("10.1.2.3"), Some(&[10, 1, 2, 3]));
        let network: &[u8] = &[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1];
        check(HashKey::ClientIp, Some("2001:db8:0:1::7"), Some(network));
        check(HashKey::ClientIp, Some("2001:db8:0:1:ffff::"), Some(network));
    }

    #[test]
    fn without_a_request_there_is_only_the_client() {
        let context = SelectionContext::new(Some([10, 0, 0, 1].into()), None);
        assert!(HashKey::ClientIp.hash(&context).is_some());
        for key in [HashKey::Path, HashKey::Header("a".into()), HashKey::Cookie("a".into()), HashKey::Query("a".into())]
        {
            assert_eq!(key.hash(&context), None, "{key:?}");
        }
    }
}
