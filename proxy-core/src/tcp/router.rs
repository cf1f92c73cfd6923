//! Which route a ClientHello takes.

use std::collections::HashMap;

use super::TcpRoute;
use super::client_hello::ClientHello;
use crate::proxy::Host;

/// Every route, by how specific its name is.
#[derive(Debug, Default)]
pub(super) struct Router {
    exact: HashMap<Box<str>, Vec<Choice>>,
    below: HashMap<Box<str>, Vec<Choice>>,
    any: Vec<Choice>,
    /// Where a connection goes that no condition fits.
    fallback: Option<usize>,
}

/// A route of one name.
#[derive(Debug)]
struct Choice {
    alpn: Option<Box<str>>,
    upstream: usize,
}

impl Router {
    /// Adds a route to the upstream of this index.
    pub(super) fn add(&mut self, route: TcpRoute, upstream: usize) {
        if route.is_unconditional() {
            self.fallback.get_or_insert(upstream);
            return;
        }
        let choices = match route.host {
            Host::Any => &mut self.any,
            Host::Exact(name) => self.exact.entry(name).or_default(),
            Host::Below(name) => self.below.entry(name).or_default(),
        };
        // Behind those that it does not come before: the order among equals is that of the routes.
        let behind = |choice: &Choice| route.alpn.is_none() || choice.alpn.is_some();
        let place = choices.partition_point(behind);
        choices.insert(place, Choice { alpn: route.alpn, upstream });
    }

    /// Whether a route depends on the hello.
    pub(super) fn looks_at_hellos(&self) -> bool {
        !(self.exact.is_empty() && self.below.is_empty() && self.any.is_empty())
    }

    pub(super) fn fallback(&self) -> Option<usize> {
        self.fallback
    }

    /// The upstream for this hello.
    pub(super) fn find(&self, hello: &ClientHello) -> Option<usize> {
        let name = hello.server_name.as_deref().unwrap_or_default();
        let of_name = self.exact.get(name).and_then(|choices| first(choices, hello));
        of_name
            .or_else(|| parents(name).find_map(|parent| first(self.below.get(parent)?, hello)))
            .or_else(|| first(&self.any, hello))
            .or(self.fallback)
    }
}

/// The names that this one is below, the longest first.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(dot, _)| &name[dot + 1..])
}

fn first(choices: &[Choice], hello: &ClientHello) -> Option<usize> {
    let offers = |protocol: &str| hello.protocols.iter().any(|offered| **offered == *protocol.as_bytes());
    let fits = |choice: &&Choice| choice.alpn.as_deref().is_none_or(offers);
    choices.iter().find(fits).map(|choice| choice.upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(routes: &[(&str, &str)]) -> Router {
        let mut router = Router::default();
        for (index, (name, alpn)) in routes.iter().enumerate() {
            let route = TcpRoute::to("");
            let route = if name.is_empty() { route } else { route.server_name(name).unwrap() };
            router.add(if alpn.is_empty() { route } else { route.alpn(alpn) }, index);
        }
        router
    }

    #[test]
    fn the_most_specific_route_wins() {
        let routes = [
            ("*.example.com", ""),
            ("a.example.com", ""),
            ("a.example.com", "h2"),
            ("*.b.example.com", ""),
            ("", "acme-tls/1"),
            ("h.example.com", "h2"),
            ("a.example.com", "h2"),
        ];
        let check = |name: &str, alpn: &[&str], expected: Option<usize>| {
            let hello = ClientHello {
                server_name: (!name.is_empty()).then(|| name.into()),
                protocols: alpn.iter().map(|protocol| protocol.as_bytes().into()).collect(),
            };
            assert_eq!(router(&routes).find(&hello), expected, "{name} {alpn:?}");
            let with_fallback = router(&[&routes[..], &[("", "")]].concat());
            assert_eq!(with_fallback.find(&hello), expected.or(Some(7)), "{name} {alpn:?}");
        };
        check("a.example.com", &[], Some(1));
        check("a.example.com", &["http/1.1", "h2"], Some(2));
        check("a.example.com", &["http/1.1"], Some(1));
        check("c.example.com", &["h2"], Some(0));
        check("c.b.example.com", &[], Some(3));
        check("b.example.com", &[], Some(0));
        check("example.com", &[], None);
        check("example.com", &["acme-tls/1"], Some(4));
        check("", &["acme-tls/1"], Some(4));
        check("", &[], None);
        // Its own route is for another protocol: the wildcard takes it.
        check("h.example.com", &["x"], Some(0));
        check("h.example.com", &["h2"], Some(5));
    }

    #[test]
    fn without_conditions_no_hello_is_waited_for() {
        assert!(!router(&[("", "")]).looks_at_hellos());
        assert!(router(&[("", ""), ("", "h2")]).looks_at_hellos());
        assert!(router(&[("a", "")]).looks_at_hellos());
    }
}
