//! Shares too fine for a table, by arithmetic.

/// A walk around a circle that is as long as the sum of the weights, which lie on it as arcs.
///
/// Every pick is one step, and the step has no divisor in common with the circle, so that as many
/// picks as the circle is long touch every point of it once: the shares are exact. It is near the
/// golden section, which spreads points more evenly than any other fixed step.
#[derive(Debug)]
pub(super) struct Circle {
    /// The ends of the arcs, in order; the last is the length of the circle.
    ends: Box<[u64]>,
    total: u64,
    step: u64,
}

impl Circle {
    /// The sum of the weights is above 0 and below 2³², so that steps multiply without overflow.
    pub(super) fn new(weights: &[u64]) -> Self {
        let ends = weights.iter().scan(0, |end, weight| {
            *end += weight;
            Some(*end)
        });
        let total = weights.iter().sum();
        Circle { ends: ends.collect(), total, step: golden_step(total) }
    }

    pub(super) fn at(&self, pick: u64) -> usize {
        let point = pick % self.total * self.step % self.total;
        self.ends.partition_point(|end| *end <= point)
    }
}

/// The most even step near the golden section.
fn golden_step(total: u64) -> u64 {
    const GOLDEN: u64 = 2_654_435_769; // 2³² / φ
    const TRIED: u64 = 128; // enough for a good one, whatever the total: see the tests
    let ideal = (total * GOLDEN) >> 32;
    let near = (0..=TRIED).flat_map(|distance| [ideal + distance, ideal.saturating_sub(distance)]);
    let rated = near.filter_map(|step| Some((unevenness(step, total)?, step)));
    rated.min_by_key(|(unevenness, _)| *unevenness).map_or(1, |(_, step)| step)
}

/// The sum of the partial quotients of `step / total`, to which the distance of any share so far
/// from its ideal is in proportion (Niederreiter 1992, chapter 3). `None` if they have a common divisor.
fn unevenness(step: u64, total: u64) -> Option<u64> {
    let (mut a, mut b, mut sum) = (total, step, 0);
    while b > 0 {
        sum += a / b;
        (a, b) = (b, a % b);
    }
    (a == 1).then_some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    #[test]
    fn a_minority_comes_at_even_distances() {
        let circle = Circle::new(&[9871, 129]);
        let at: Vec<_> = (0..20_000).filter(|pick| circle.at(*pick) == 1).collect();
        let widest = at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(at.len() == 258 && widest <= 3 * 10_000 / 129, "{widest}");
    }

    #[test]
    fn every_total_has_an_even_step() {
        let largest = [u64::from(u32::MAX), u64::from(u32::MAX) - 1, 1 << 31, 3_000_000_000];
        for total in (1..5000).chain(largest) {
            let sum = unevenness(golden_step(total), total).unwrap();
            // All quotients being 1, as of the golden section itself, it is 1.44 · log₂.
            assert!(sum <= 8 + 2 * u64::from(total.ilog2()), "{total}: {sum}");
        }
    }

    proptest! {
        #[test]
        fn the_share_so_far_is_never_far_off(a in 1_u32..100_000, b in 1_u32..100_000, picks in 1_u64..20_000) {
            let circle = Circle::new(&[a.into(), b.into()]);
            let share = (0..picks).filter(|pick| circle.at(*pick) == 0).count();
            let ideal = picks as f64 * f64::from(a) / f64::from(a + b);
            prop_assert!((share as f64 - ideal).abs() < 6.0, "{share} of {picks}, ideally {ideal}");
        }
    }
}
