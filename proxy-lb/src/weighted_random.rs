//! At random, by weight.

use std::fmt;

use arc_swap::ArcSwap;
use proxy_core::{Backend, Candidates, SelectionContext, Selector};

use crate::dice::Dice;
use crate::shares::Lottery;

/// Each backend with the probability of its share, whoever came before.
///
/// Proxies that do not know of each other cannot fall into step, as they can with
/// [`RoundRobin`](crate::RoundRobin); for that the shares of a short run vary. Constant time by the alias
/// method (Walker 1977, Vose 1991).
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::WeightedRandom;
///
/// let cluster = Cluster::builder(WeightedRandom::new()).backend("127.0.0.1:9001".parse()?).build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Default)]
pub struct WeightedRandom {
    dice: Dice,
    lottery: ArcSwap<Lottery>,
}

impl WeightedRandom {
    /// Seeded by the system.
    pub fn new() -> Self {
        WeightedRandom::default()
    }

    /// The same choices every time.
    pub fn seeded(seed: u64) -> Self {
        WeightedRandom { dice: Dice::seeded(seed), ..WeightedRandom::default() }
    }
}

impl Selector for WeightedRandom {
    fn select(&self, candidates: &Candidates<'_>, _: &SelectionContext<'_>) -> Option<Backend> {
        let (_, backend) = self.lottery.load().pick(candidates, &self.dice)?;
        Some(backend.clone())
    }

    fn on_change(&self, backends: &[Backend]) {
        self.lottery.store(Lottery::new(backends).into());
    }
}

impl fmt::Debug for WeightedRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeightedRandom").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::BackendState;

    use super::*;
    use crate::lab::{Lab, chi_square_bound};

    fn check(lab: &Lab<WeightedRandom>, tried: &[Backend], shares: &[u32]) {
        let counts = lab.counts(60_000, tried);
        let all = f64::from(shares.iter().sum::<u32>());
        let expected: Vec<_> = shares.iter().map(|share| 60_000.0 * f64::from(*share) / all).collect();
        let mut deviation = 0.0;
        for (count, expected) in counts.iter().zip(expected) {
            if expected == 0.0 {
                assert_eq!(*count, 0, "{counts:?} for {shares:?}");
            } else {
                deviation += (*count as f64 - expected).powi(2) / expected;
            }
        }
        let freedom = shares.iter().filter(|share| **share > 0).count() - 1;
        assert!(deviation <= chi_square_bound(freedom), "{counts:?} for {shares:?}: {deviation}");
    }

    #[test]
    fn everyone_gets_their_share() {
        for shares in [&[1][..], &[1, 1, 1], &[5, 1, 1], &[2, 0, 1], &[65_535, 100], &[1, 2, 3, 4, 5, 6, 7]] {
            check(&Lab::new(WeightedRandom::seeded(7), shares), &[], shares);
        }
    }

    #[test]
    fn those_that_are_left_share_by_weight() {
        let lab = Lab::new(WeightedRandom::seeded(7), &[4, 3, 2, 1]);
        check(&lab, &lab.backends()[..1], &[0, 3, 2, 1]);
        check(&lab, &lab.backends()[..3], &[0, 0, 0, 1]);
        lab.set().set_state("b", BackendState::Unhealthy);
        check(&lab, &[], &[4, 0, 2, 1]); // not told yet
        lab.tell();
        check(&lab, &[], &[4, 0, 2, 1]);
    }

    #[test]
    fn weights_change_while_requests_run_and_0_drains() {
        let lab = Lab::new(WeightedRandom::seeded(7), &[1, 1, 1]);
        lab.backends()[0].set_weight(4);
        lab.backends()[2].set_weight(0);
        lab.refresh();
        check(&lab, &[], &[4, 1, 0]);
        lab.backends()[1].set_ramp(128); // warms up
        lab.refresh();
        check(&lab, &[], &[8, 1, 0]);
    }

    #[test]
    fn a_seed_repeats_the_choices() {
        let ids = |seed| Lab::new(WeightedRandom::seeded(seed), &[1, 2, 3]).ids(50);
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
    }

    #[test]
    fn threads_share_one_source() {
        let counts = Lab::new(WeightedRandom::seeded(7), &[1, 1, 2]).two_threads(4000);
        let deviation: f64 =
            counts.iter().zip([2e3, 2e3, 4e3]).map(|(count, fair)| (*count as f64 - fair).powi(2) / fair).sum();
        assert!(deviation <= chi_square_bound(2), "{counts:?}: {deviation}");
    }

    #[test]
    fn nobody_nothing() {
        Lab::new(WeightedRandom::new(), &[]).check_empty();
    }
}
