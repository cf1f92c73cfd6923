//! Finds the route of a request.

use std::cmp::Reverse;

use super::route::{Matcher, Route};
use crate::RequestHead;

pub(crate) mod canonical;
mod hosts;

use hosts::Hosts;

/// Finds the route of a request: the first that matches in an order, most specific first, that is
/// documented on [`Route`]. Looking it up allocates nothing.
#[derive(Debug)]
pub(crate) struct Router {
    /// Those of the routes, in their order.
    matchers: Vec<Matcher>,
    hosts: Hosts,
    /// Routes for any host, best first.
    any: Vec<usize>,
    reads_path: bool,
}

impl Router {
    pub(crate) fn new(routes: &[Route]) -> Self {
        let matchers: Vec<_> = routes.iter().map(|route| route.matcher().clone()).collect();
        let mut order: Vec<usize> = (0..matchers.len()).collect();
        order.sort_by_key(|index| Reverse(matchers[*index].rank()));
        let (mut any, mut hosts) = (Vec::new(), Hosts::default());
        for index in order {
            hosts.list(matchers[index].host()).unwrap_or(&mut any).push(index);
        }
        let reads_path = matchers.iter().any(Matcher::reads_path);
        Router { matchers, hosts, any, reads_path }
    }

    /// The index of the route of this request.
    pub(crate) fn find(&self, head: &RequestHead) -> Option<usize> {
        match self.reads_path {
            true => canonical::with(head.path(), |path| self.search(head, path)),
            false => self.search(head, b""),
        }
    }

    fn search(&self, head: &RequestHead, path: &[u8]) -> Option<usize> {
        let matches = |index: &usize| self.matchers[*index].matches(head, path);
        let best = |list: &[usize]| list.iter().copied().find(matches);
        let host = if self.hosts.is_empty() { None } else { head.host() };
        host.and_then(|host| self.hosts.find(host, best)).or_else(|| best(&self.any))
    }
}

#[cfg(test)]
mod tests;
