//! The less loaded of two at random.

use std::fmt;

use arc_swap::ArcSwap;
use proxy_core::{Backend, Candidates, SelectionContext, Selector};

use crate::dice::Dice;
use crate::shares::Lottery;

/// Draws two backends by weight and takes the one with fewer requests in flight for its share.
///
/// Two choices instead of one shrink the longest queue from `log n / log log n` to `log log n`
/// (Mitzenmacher, "The power of two choices in randomized load balancing", 1996), at a cost that does
/// not depend on how many backends there are, and without proxies running after the same idle backend.
///
/// ```
/// use proxy_core::Cluster;
/// use proxy_lb::PowerOfTwo;
///
/// let cluster = Cluster::builder(PowerOfTwo::new()).backend("127.0.0.1:9001".parse()?).build();
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Default)]
pub struct PowerOfTwo {
    dice: Dice,
    lottery: ArcSwap<Lottery>,
}

impl PowerOfTwo {
    /// Seeded by the system.
    pub fn new() -> Self {
        PowerOfTwo::default()
    }

    /// The same draws every time.
    pub fn seeded(seed: u64) -> Self {
        PowerOfTwo { dice: Dice::seeded(seed), ..PowerOfTwo::default() }
    }
}

impl Selector for PowerOfTwo {
    fn select(&self, candidates: &Candidates<'_>, _: &SelectionContext<'_>) -> Option<Backend> {
        let [(_, first), (_, second)] = self.lottery.load().pick_two(candidates, &self.dice)?;
        Some(if is_busier(first, second) { second.clone() } else { first.clone() })
    }

    fn on_change(&self, backends: &[Backend]) {
        self.lottery.store(Lottery::new(backends).into());
    }
}

/// Whether one more request would load `a` more, for its share, than `b`.
fn is_busier(a: &Backend, b: &Backend) -> bool {
    let product = |load: &Backend, share: &Backend| (load.in_flight() as u128 + 1) * u128::from(share.share());
    product(a, b) > product(b, a)
}

impl fmt::Debug for PowerOfTwo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PowerOfTwo").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Lab, chi_square_bound};

    #[test]
    fn of_two_the_idle_one_is_always_taken() {
        let lab = Lab::new(PowerOfTwo::seeded(1), &[1, 1]);
        let _busy = lab.busy(&[1, 0]);
        assert_eq!(lab.ids(100), "b".repeat(100));
    }

    #[test]
    fn idle_backends_are_drawn_by_share() {
        let lab = Lab::new(PowerOfTwo::seeded(1), &[1, 1, 1, 1]);
        let deviation: f64 = lab.counts(40_000, &[]).iter().map(|n| (*n as f64 - 1e4).powi(2) / 1e4).sum();
        assert!(deviation <= chi_square_bound(3), "{deviation}");
    }

    /// Thrown one after another into as many bins, balls pile up to about 8 at one choice; at two the
    /// theorem says log log n / log 2 + O(1), here at most 4.
    #[test]
    fn the_longest_queue_is_short() {
        let check = |shares: &[u32], limit: usize| {
            let lab = Lab::new(PowerOfTwo::seeded(3), shares);
            let total: u32 = shares.iter().sum();
            let _held: Vec<_> = (0..total).map(|_| lab.begin()).collect();
            for backend in lab.backends() {
                let fair = backend.weight() as usize;
                assert!(backend.in_flight() < fair + limit, "{} of {fair}", backend.in_flight());
            }
        };
        check(&[1; 1000], 4);
        check(&[[1; 20], [5; 20]].concat(), 4);
    }

    #[test]
    fn one_that_left_or_was_tried_is_not_drawn() {
        let lab = Lab::new(PowerOfTwo::seeded(5), &[1, 2, 3]);
        assert_eq!(lab.counts(1000, &lab.backends()[1..])[0], 1000);
        lab.backends()[2].set_weight(0);
        lab.refresh();
        assert_eq!(lab.counts(1000, &[])[2], 0);
        lab.replace("bd", &[1, 1]);
        assert!(lab.ids(100).chars().all(|id| "bd".contains(id)));
    }

    #[test]
    fn two_threads_leave_nothing_behind_and_nobody_out() {
        let counts = Lab::new(PowerOfTwo::seeded(7), &[1, 1, 2]).two_threads(4000);
        assert!(counts.iter().sum::<usize>() == 8000 && counts.iter().all(|count| *count > 1000), "{counts:?}");
    }

    #[test]
    fn nobody_nothing() {
        Lab::new(PowerOfTwo::new(), &[]).check_empty();
    }
}
