//! Each in turn.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use proxy_core::{Backend, Candidates, SelectionContext, Selector};

mod cycle;
mod spread;

use cycle::Cycle;
use spread::spread;

/// Each backend in turn, as often as its weight says.
///
/// Backends of different weights are interleaved as nginx's smooth weighted round robin does it: 5, 1, 1 gives `a a b a c a a`, not
/// five in a row. Of any run of as many requests as the weights add up to (once divided by what they
/// have in common), each backend gets exactly its weight, however many threads choose.
///
/// While some backends are left out (already tried by a request) the others share by weight, just as
/// exactly. What counts is the [share](Backend::share) at the last change of the set.
///
/// Weights that have little in common make a round too long for a table (more than 16,384 choices).
/// Then each choice goes on by the golden section of the round, as exact and nearly as even.
///
/// ```
/// use proxy_core::{Backend, Cluster};
/// use proxy_lb::RoundRobin;
///
/// let cluster = Cluster::builder(RoundRobin::new())
///     .with(Backend::builder("127.0.0.1:9001".parse()?).weight(3).build())
///     .backend("127.0.0.1:9002".parse()?)
///     .build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Default)]
pub struct RoundRobin {
    /// Choices among the whole set.
    whole: Counter,
    /// Choices among a part of it. Counted apart: if the retries of a dead backend moved the first
    /// counter on, two backends would see every request begin at the same one.
    part: Counter,
    set: ArcSwap<Cycle>,
    /// Whether `set` matters: backends of equal weight need no table.
    weighted: AtomicBool,
    /// How many backends the whole set has.
    size: AtomicUsize,
}

/// Alone on its cache lines (two, as they are fetched in pairs): all workers write it.
#[derive(Default)]
#[repr(align(128))]
struct Counter(AtomicUsize);

impl Counter {
    fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl RoundRobin {
    /// Starts with the first backend.
    pub fn new() -> Self {
        RoundRobin::default()
    }

    fn select_weighted<'a>(&self, candidates: &Candidates<'a>) -> Option<&'a Backend> {
        let cycle = self.set.load();
        match cycle.is_for(candidates) {
            true => cycle.at(self.whole.next(), candidates),
            false => spread(candidates, self.part.next()),
        }
    }
}

impl Selector for RoundRobin {
    fn select(&self, candidates: &Candidates<'_>, _: &SelectionContext<'_>) -> Option<Backend> {
        let count = candidates.len();
        let chosen = if self.weighted.load(Ordering::Relaxed) {
            self.select_weighted(candidates)
        } else {
            let whole = count == self.size.load(Ordering::Relaxed);
            let counter = if whole { &self.whole } else { &self.part };
            candidates.at(counter.next().checked_rem(count)?)
        };
        chosen.cloned()
    }

    fn on_change(&self, backends: &[Backend]) {
        let cycle = Cycle::new(backends);
        self.size.store(cycle.backends(), Ordering::Relaxed);
        self.weighted.store(cycle.is_weighted(), Ordering::Relaxed);
        self.set.store(cycle.into());
    }
}

impl fmt::Debug for RoundRobin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundRobin").field("set", &self.set.load()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
