//! Turns by share without a table of them.

use proxy_core::{Backend, Candidates};

use crate::shares::greatest_common_divisor;

/// A circle on which each backend has an arc of its share. Every turn goes one step on. The step has
/// no factor in common with the circle, so no point is missed, and is near its golden section, which
/// spreads any number of points evenly.
#[derive(Debug)]
pub(super) struct Circle {
    /// Where each one's arc ends.
    ends: Box<[u64]>,
    /// The circle in as many equal parts as there are arcs, and whose arc each of them begins in: so
    /// finding an arc takes constant time.
    parts: Box<[u32]>,
    step: u64,
}

impl Circle {
    pub(super) fn new(shares: &[u64]) -> Self {
        let mut end = 0;
        let ends: Box<[_]> = shares.iter().map(|share| add(&mut end, *share)).collect();
        let count = ends.len() as u64;
        let arc_at = |point: u64| ends.partition_point(|end| *end <= point) as u32;
        let parts = (0..count).map(|part| arc_at((u128::from(part) * u128::from(end)).div_ceil(count.into()) as u64));
        Circle { parts: parts.collect(), ends, step: step(end) }
    }

    /// The position of the one whose turn it is.
    pub(super) fn at(&self, turn: usize) -> Option<usize> {
        let circle = *self.ends.last()?;
        let point = point(turn, self.step, circle)?;
        let part = u128::from(point) * self.parts.len() as u128 / u128::from(circle);
        let first = self.parts[part as usize] as usize;
        self.ends[first..].iter().position(|end| point < *end).map(|further| first + further)
    }
}

/// The candidate whose turn it is, of candidates that no circle was made for. Of any run of turns as
/// long as the shares, reduced, add up to, each gets its share.
pub(super) fn spread<'a>(candidates: &Candidates<'a>, turn: usize) -> Option<&'a Backend> {
    let shares = || candidates.iter().map(|backend| u64::from(backend.share()));
    let common = shares().fold(0, greatest_common_divisor);
    if common == 0 {
        // All have lost their weight: somebody has to serve.
        return candidates.at(turn.checked_rem(candidates.len())?);
    }
    let circle = shares().sum::<u64>() / common;
    let point = point(turn, step(circle), circle)?;
    let mut end = 0;
    candidates.iter().find(|backend| point < add(&mut end, u64::from(backend.share()) / common))
}

fn add(end: &mut u64, share: u64) -> u64 {
    *end += share;
    *end
}

fn point(turn: usize, step: u64, circle: u64) -> Option<u64> {
    let turn = (turn as u64).checked_rem(circle)?;
    Some((u128::from(turn) * u128::from(step) % u128::from(circle)) as u64)
}

/// The first number from the golden section on that has no factor in common with `circle`.
fn step(circle: u64) -> u64 {
    const GOLDEN: u128 = 11_400_714_819_323_198_485; // 2^64 / φ
    let golden = ((u128::from(circle) * GOLDEN) >> 64) as u64;
    (golden.max(1)..).find(|step| greatest_common_divisor(*step, circle) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_visits_the_whole_circle() {
        for circle in 1..2000 {
            let step = step(circle);
            assert!(step <= circle, "{circle}");
            assert_eq!(greatest_common_divisor(step, circle), 1, "{circle}");
        }
    }

    #[test]
    fn of_every_round_each_gets_exactly_its_share() {
        let circle = Circle::new(&[3, 0, 4, 1]);
        for start in 0..20 {
            let mut counts = [0; 4];
            (start..start + 8).for_each(|turn| counts[circle.at(turn).unwrap()] += 1);
            assert_eq!(counts, [3, 0, 4, 1], "from {start}");
        }
    }
}
