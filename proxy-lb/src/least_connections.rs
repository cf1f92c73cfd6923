//! The one with the fewest requests in flight.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use proxy_core::{Attempt, Backend, Candidates, SelectionContext, Selector};

mod groups;

use groups::{Groups, scan};

/// The backend with the fewest requests in flight for its share; those with equally few in turn.
///
/// An idle backend comes first whatever its weight, and a busy one counts as `(in flight + 1) / share`, as
/// HAProxy's `leastconn` has it (`src/lb_fwlc.c`). The choice is exact while one thread chooses; several
/// that choose in the same moment may not see each other, as with any balancer that takes no lock.
///
/// It does not look at every backend. They stand in about √n groups, each with a note of the least load
/// in it: a choice reads the notes, then walks through one group, so it looks at 64 backends of 1,000. A
/// note that turns out too low sends it to another group, and every choice checks one more backend in
/// turn, so that no note stays too high.
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::LeastConnections;
///
/// let cluster = Cluster::builder(LeastConnections::new()).backend("127.0.0.1:9001".parse()?).build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Default)]
pub struct LeastConnections {
    turn: Turn,
    groups: ArcSwap<Groups>,
}

/// Alone on its cache lines (two, as they are fetched in pairs): all workers write it.
#[derive(Default)]
#[repr(align(128))]
struct Turn(AtomicUsize);

impl LeastConnections {
    /// Starts with the first backend.
    pub fn new() -> Self {
        LeastConnections::default()
    }
}

impl Selector for LeastConnections {
    fn select(&self, candidates: &Candidates<'_>, _: &SelectionContext<'_>) -> Option<Backend> {
        let turn = self.turn.0.fetch_add(1, Ordering::Relaxed);
        let groups = self.groups.load();
        match groups.is_for(candidates) {
            true => groups.least(candidates, turn).cloned(),
            false => scan(candidates, 0..candidates.len(), turn).map(|found| found.backend.clone()),
        }
    }

    fn on_change(&self, backends: &[Backend]) {
        self.groups.store(Groups::new(backends).into());
    }

    fn on_outcome(&self, backend: &Backend, _: &Attempt) {
        self.groups.load().ended(backend);
    }
}

impl fmt::Debug for LeastConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeastConnections").field("groups", &self.groups.load()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
