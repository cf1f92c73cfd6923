//! The one that answers soonest.

use std::fmt;
use std::time::Duration;

use arc_swap::ArcSwap;
use proxy_core::{Attempt, AttemptResult, Backend, Candidates, ErrorKind, Fault, Instant, SelectionContext, Selector};

use crate::dice::Dice;
use crate::roster::Roster;
use crate::shares::Lottery;

mod cost;

use cost::Cost;

/// Of two backends drawn by weight the one that is likely to answer sooner: its peak-sensitive moving
/// average of times to the first byte, times the requests it would then have in flight, for its share.
///
/// A slow answer raises the average at once, quick ones lower it over the decay time; without answers
/// it fades, so that a backend which was slow is tried again. A failed attempt counts as an answer that
/// took a second at least, or a backend that refuses quickly would draw all requests. A backend that
/// nothing is known of gets one request to show.
///
/// The average and the choice of two are Finagle's (`P2CPeakEwma`).
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::PeakEwma;
///
/// let cluster = Cluster::builder(PeakEwma::new()).backend("127.0.0.1:9001".parse()?).build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
pub struct PeakEwma {
    dice: Dice,
    decay: Duration,
    /// Time is counted from here.
    epoch: Instant,
    known: ArcSwap<Known>,
}

/// The candidates of the last change, in the same order twice.
#[derive(Default)]
struct Known {
    lottery: Lottery,
    costs: Roster<Cost>,
}

/// What a failed attempt counts at least: longer than answers take, shorter than a timeout.
const FAILURE: Duration = Duration::from_secs(1);

impl Default for PeakEwma {
    fn default() -> Self {
        PeakEwma {
            dice: Dice::default(),
            decay: Duration::from_secs(10),
            epoch: Instant::now(),
            known: ArcSwap::default(),
        }
    }
}

impl PeakEwma {
    /// Seeded by the system.
    pub fn new() -> Self {
        PeakEwma::default()
    }

    /// The same draws every time.
    pub fn seeded(seed: u64) -> Self {
        PeakEwma { dice: Dice::seeded(seed), ..PeakEwma::default() }
    }

    /// How long it takes until what was seen counts a third (1/e). Default 10 s, as in Finagle.
    #[must_use]
    pub fn decay(mut self, decay: Duration) -> Self {
        self.decay = decay;
        self
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn outcome(&self, backend: &Backend, attempt: &Attempt, now: Duration) {
        let known = self.known.load();
        let Some((_, cost)) = known.costs.get(backend) else { return };
        let took = attempt.first_byte.unwrap_or(attempt.total);
        match attempt.result {
            // What a gateway says about the server behind it.
            AttemptResult::Response(status) if matches!(status.as_u16(), 502..=504) => {
                cost.observe(took.max(FAILURE), now, self.decay);
            }
            AttemptResult::Response(_) | AttemptResult::Relayed => cost.observe(took, now, self.decay),
            // The pool's limits are ours, and say nothing of the backend.
            AttemptResult::Failed(ErrorKind::PoolFull | ErrorKind::PoolTimeout) => {}
            AttemptResult::Failed(kind) if kind.fault() == Fault::Upstream => {
                cost.observe(took.max(FAILURE), now, self.decay);
            }
            // The client left: the answer would have taken longer than that.
            _ => cost.raise(took, now, self.decay),
        }
    }

    fn score(&self, costs: &Roster<Cost>, (position, backend): (Option<usize>, &Backend), now: Duration) -> f64 {
        let cost = match position {
            Some(position) => Some(costs.state(position)),
            None => costs.get(backend).map(|(_, cost)| &**cost),
        };
        let nanos = cost.and_then(|cost| cost.nanos_at(now, self.decay));
        let pending = backend.in_flight() as f64;
        match nanos {
            Some(nanos) => nanos * (pending + 1.0) / f64::from(backend.share().max(1)),
            None if pending == 0.0 => 0.0,
            // Until its first answer is there.
            None => f64::MAX / 2.0,
        }
    }
}

impl Selector for PeakEwma {
    fn select(&self, candidates: &Candidates<'_>, _: &SelectionContext<'_>) -> Option<Backend> {
        let known = self.known.load();
        let [first, second] = known.lottery.pick_two(candidates, &self.dice)?;
        if first.1 == second.1 {
            return Some(first.1.clone());
        }
        let now = self.now();
        let slower = self.score(&known.costs, first, now) > self.score(&known.costs, second, now);
        Some(if slower { second.1.clone() } else { first.1.clone() })
    }

    fn on_change(&self, backends: &[Backend]) {
        let costs = self.known.load().costs.renewed(backends);
        self.known.store(Known { lottery: Lottery::new(backends), costs }.into());
    }

    fn on_outcome(&self, backend: &Backend, attempt: &Attempt) {
        self.outcome(backend, attempt, self.now());
    }
}

impl fmt::Debug for PeakEwma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeakEwma").field("decay", &self.decay).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
