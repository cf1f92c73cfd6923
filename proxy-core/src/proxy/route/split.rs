//! Shares by weight, without randomness.

use std::sync::atomic::{AtomicU64, Ordering};

use super::RouteError;

/// Several things in turn, each as often as its weight says.
///
/// The weights lie one behind another on a circle as long as their sum. Every pick goes one step
/// onwards, and the step has no divisor in common with the circle, so `total` picks in a row touch
/// every point of it once: the shares are exact. It is the golden section of the circle, which
/// spreads any number of points about as evenly as a fixed step can: the picks do not come in lumps.
#[derive(Debug)]
pub(crate) struct Split<T> {
    /// With the end of its arc; in order.
    arcs: Vec<(u64, T)>,
    total: u64,
    step: u64,
    picks: AtomicU64,
}

impl<T> Split<T> {
    pub(crate) fn new(shares: impl IntoIterator<Item = (T, u32)>) -> Result<Self, RouteError> {
        let shares: Vec<_> = shares.into_iter().collect();
        let divisor = shares.iter().fold(0, |divisor, (_, weight)| gcd(divisor, u64::from(*weight)));
        if divisor == 0 {
            return Err(RouteError::split(if shares.is_empty() { "no upstream" } else { "the weights are all 0" }));
        }
        let mut total = 0_u64;
        let arcs = shares.into_iter().map(|(item, weight)| {
            total += u64::from(weight) / divisor;
            (total, item)
        });
        let arcs = arcs.collect();
        // Below 2³², so that `pick` multiplies without overflow.
        match total <= u64::from(u32::MAX) {
            true => Ok(Split { arcs, total, step: golden_step(total), picks: AtomicU64::new(0) }),
            false => Err(RouteError::split("the weights add up to more than 4294967295")),
        }
    }

    /// The next one.
    pub(crate) fn pick(&self) -> &T {
        // Only the number matters, nothing is published with it.
        let pick = self.picks.fetch_add(1, Ordering::Relaxed);
        let point = pick % self.total * self.step % self.total;
        let index = self.arcs.partition_point(|(end, _)| *end <= point);
        &self.arcs[index].1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.arcs.iter().map(|(_, item)| item)
    }
}

/// The step nearest to `total` / φ that has no divisor in common with `total`.
fn golden_step(total: u64) -> u64 {
    const GOLDEN: u64 = 2_654_435_769; // 2³² / φ
    let ideal = (total * GOLDEN) >> 32;
    let near = |distance| [ideal + distance, ideal.saturating_sub(distance)];
    // Ends at the latest at 1, which divides everything.
    let mut steps = (0..=total).flat_map(near);
    steps.find(|step| *step > 0 && gcd(*step, total) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn picks(weights: &[u32], count: usize) -> Vec<usize> {
        let split = Split::new(weights.iter().copied().enumerate()).unwrap();
        (0..count).map(|_| *split.pick()).collect()
    }

    #[test]
    fn small_splits_alternate() {
        let check = |weights: &[u32], expected: &str| {
            let text: String = picks(weights, expected.len()).iter().map(|i| char::from(b'a' + *i as u8)).collect();
            assert_eq!(text, expected, "{weights:?}");
        };
        check(&[1], "aaaa");
        check(&[7, 0], "aaaa");
        check(&[0, 7], "bbbb");
        check(&[50, 50], "abababab");
        check(&[2, 1], "aabaab");
        check(&[3, 2], "ababaababa");
        check(&[1, 1, 1, 1], "adcbadcb");
        check(&[5, 1, 1], "aabaaca");
    }

    #[test]
    fn weights_without_a_share_are_refused() {
        let check = |weights: &[u32], part: &str| {
            let error = Split::new(weights.iter().map(|weight| ((), *weight))).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(&[], "no upstream");
        check(&[0, 0], "all 0");
        check(&[u32::MAX, 1], "more than");
        assert!(Split::new([((), u32::MAX), ((), u32::MAX)]).is_ok(), "1:1, once reduced");
    }

    #[test]
    fn threads_share_one_sequence() {
        let split = Split::new([(0, 95), (1, 5)]).unwrap();
        let canary = || (0..1000).map(|_| *split.pick()).sum::<usize>();
        let sum: usize = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(canary));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(sum, 4000 * 5 / 100);
    }

    #[test]
    fn a_minority_comes_at_even_distances() {
        let sequence = picks(&[95, 5], 2000);
        let at: Vec<_> = (0..sequence.len()).filter(|i| sequence[*i] == 1).collect();
        let widest = at.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert_eq!(widest, Some(20));
        let sequence = picks(&[9871, 129], 20_000);
        let at: Vec<_> = (0..sequence.len()).filter(|i| sequence[*i] == 1).collect();
        let widest = at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest <= 3 * 10_000 / 129, "{widest}");
    }

    proptest! {
        #[test]
        fn every_run_of_the_whole_is_exact(weights in vec(0_u32..60, 1..6), offset in 0_usize..500) {
            let total: u32 = weights.iter().sum();
            if total > 0 {
                let sequence = picks(&weights, offset + total as usize);
                for (item, weight) in weights.iter().enumerate() {
                    let share = sequence[offset..].iter().filter(|pick| **pick == item).count();
                    prop_assert_eq!(share, *weight as usize);
                }
            }
        }

        #[test]
        fn the_share_so_far_is_never_far_off(a in 1_u32..100_000, b in 1_u32..100_000, count in 1_usize..20_000) {
            let share = picks(&[a, b], count).iter().filter(|pick| **pick == 0).count();
            let ideal = count as f64 * f64::from(a) / f64::from(a + b);
            prop_assert!((share as f64 - ideal).abs() < 6.0, "{share} of {count}, ideally {ideal}");
        }
    }
}
