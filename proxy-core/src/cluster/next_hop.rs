//! What stands at the other end of a cluster's connections.

use std::sync::Arc;

use crate::{ErrorKind, RequestHead};

/// What the backends of a [`Cluster`](super::Cluster) are. Where they are proxies, its pool needs a
/// [`Connector`](crate::Connector) that asks them to lead to [`Target::destination`](crate::Target::destination).
///
/// A proxy leads wherever a request says: put nothing before such a cluster but an upstream that has looked at that,
/// such as a forward proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NextHop {
    /// They answer themselves.
    #[default]
    Origin,
    /// They are proxies that take requests in absolute form, and lead tunnels to a destination: CONNECT.
    HttpProxy,
    /// They lead everything to a destination: SOCKS. A connection serves requests for that destination alone.
    Tunnel,
}

impl NextHop {
    /// Where a connection for this request has to lead to.
    pub(super) fn destination_of(self, head: &RequestHead) -> Result<Option<Arc<str>>, ErrorKind> {
        if self != NextHop::Tunnel {
            return Ok(None);
        }
        let authority = head.authority().ok_or(ErrorKind::HostMissing)?;
        // RFC 9110 §4.2.1: the port of `http`.
        let has_port = head.host().is_some_and(|host| host.len() < authority.len());
        Ok(Some(if has_port { authority.into() } else { format!("{authority}:80").into() }))
    }

    /// Where a raw connection has to lead to.
    pub(super) fn destination(self, named: Option<&str>) -> Option<Arc<str>> {
        named.filter(|_| self != NextHop::Origin).map(Arc::from)
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn a_tunnel_leads_to_what_the_request_names() {
        let check = |hop: NextHop, target: &str, expected: Option<&str>| {
            let head = RequestHead::new(Method::GET, target).unwrap();
            assert_eq!(hop.destination_of(&head).unwrap().as_deref(), expected, "{hop:?} {target}");
        };
        check(NextHop::Tunnel, "http://a.example/b:1", Some("a.example:80"));
        check(NextHop::Tunnel, "http://a.example:8080?x", Some("a.example:8080"));
        check(NextHop::Tunnel, "http://[::1]/", Some("[::1]:80"));
        check(NextHop::Tunnel, "http://[::1]:8080/", Some("[::1]:8080"));
        check(NextHop::HttpProxy, "http://a.example/", None);
        check(NextHop::Origin, "http://a.example/", None);
        let nowhere = RequestHead::new(Method::GET, "/").unwrap();
        assert_eq!(NextHop::Tunnel.destination_of(&nowhere), Err(ErrorKind::HostMissing));
    }
}
