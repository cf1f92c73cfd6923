//! Routes by host.

use std::collections::HashMap;

use crate::proxy::route::{Host, MAX_HOST};

/// Lists of routes by exact host and by suffix. Keys are lower-case.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Box<[u8]>, Vec<usize>>,
    below: HashMap<Box<[u8]>, Vec<usize>>,
}

impl Hosts {
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty()
    }

    /// The list of a pattern; `None` for any host.
    pub(super) fn list(&mut self, host: &Host) -> Option<&mut Vec<usize>> {
        match host {
            Host::Any => None,
            Host::Exact(name) => Some(self.exact.entry(name.as_bytes().into()).or_default()),
            Host::Below(name) => Some(self.below.entry(name.as_bytes().into()).or_default()),
        }
    }

    /// Asks the lists for this host, most specific first, until `best` finds something.
    pub(super) fn find(&self, host: &str, best: impl Fn(&[usize]) -> Option<usize>) -> Option<usize> {
        let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
        // A client chooses the length: every label would be one more look-up.
        let mut buffer = [0; MAX_HOST];
        let name = buffer.get_mut(..host.len())?;
        name.copy_from_slice(host);
        name.make_ascii_lowercase();
        let exact = self.exact.get(&*name).and_then(|list| best(list));
        exact.or_else(|| self.find_below(name, best))
    }

    fn find_below(&self, name: &[u8], best: impl Fn(&[usize]) -> Option<usize>) -> Option<usize> {
        if self.below.is_empty() {
            return None;
        }
        // From the left: the longer suffix first. A name that begins with a dot has an empty label.
        let dots = (1..name.len()).filter(|at| name[*at] == b'.');
        let mut lists = dots.filter_map(|dot| self.below.get(&name[dot + 1..]));
        lists.find_map(|list| best(list))
    }
}
