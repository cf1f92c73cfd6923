//! Finds the route of a request.

use std::cmp::Reverse;

use crate::{RequestHead, Route};

pub(crate) mod canonical;
mod hosts;

use hosts::Hosts;

/// Routes, ordered so that the first that matches is the most specific one.
///
/// The order is documented on [`Route`]. Looking a route up allocates nothing.
#[derive(Debug)]
pub(crate) struct Router {
    routes: Vec<Route>,
    hosts: Hosts,
    /// Routes for any host, best first.
    any: Vec<usize>,
    reads_path: bool,
}

impl Router {
    pub(crate) fn new(routes: Vec<Route>) -> Self {
        let mut order: Vec<usize> = (0..routes.len()).collect();
        order.sort_by_key(|index| {
            let route = &routes[*index];
            Reverse((route.path_pattern().rank(), route.extra_conditions()))
        });
        let mut any = Vec::new();
        let mut hosts = Hosts::default();
        for index in order {
            hosts.list(routes[index].host_pattern()).unwrap_or(&mut any).push(index);
        }
        let reads_path = routes.iter().any(|route| !matches!(route.path_pattern(), super::route::Path::Any));
        Router { routes, hosts, any, reads_path }
    }

    /// The index of the route for this request.
    pub(crate) fn find(&self, head: &RequestHead) -> Option<usize> {
        match self.reads_path {
            true => canonical::with(head.path(), |path| self.search(head, path)),
            false => self.search(head, b""),
        }
    }

    fn search(&self, head: &RequestHead, path: &[u8]) -> Option<usize> {
        let best = |list: &[usize]| list.iter().copied().find(|index| self.routes[*index].matches(head, path));
        let named = if self.hosts.is_empty() { None } else { head.host() };
        named.and_then(|host| self.hosts.find(host, best)).or_else(|| best(&self.any))
    }

    /// The routes, in the order they were added.
    pub(crate) fn routes(&self) -> &[Route] {
        &self.routes
    }
}

#[cfg(test)]
mod tests;
