//! The order of backends with weights.

use proxy_core::{Backend, Candidates};

use super::spread::{greatest_common_divisor, spread};

/// Longer tables are not made: 64 KiB of memory, and a few ms to fill for a hundred backends.
const LONGEST: i64 = 16 * 1024;

/// One round of a weighted set.
#[derive(Debug, Default)]
pub(super) struct Cycle {
    /// Those that have a weight: the candidates while all of them are well.
    backends: Box<[Backend]>,
    /// Positions in `backends`. Empty where all weights are equal, or where the table would be too long.
    order: Box<[u32]>,
    weighted: bool,
}

impl Cycle {
    pub(super) fn new(backends: &[Backend]) -> Self {
        let backends: Box<[Backend]> = backends.iter().filter(|backend| backend.weight() > 0).cloned().collect();
        let weights: Vec<_> = backends.iter().map(|backend| u64::from(backend.share())).collect();
        let weighted = weights.windows(2).any(|pair| pair[0] != pair[1]);
        let order = if weighted { order(&weights) } else { Box::default() };
        Cycle { backends, order, weighted }
    }

    /// How many backends take part.
    pub(super) fn backends(&self) -> usize {
        self.backends.len()
    }

    pub(super) fn is_weighted(&self) -> bool {
        self.weighted
    }

    /// Whether these candidates are the whole set.
    pub(super) fn is_for(&self, candidates: &Candidates<'_>) -> bool {
        self.backends.len() == candidates.len()
    }

    /// The backend whose turn it is.
    pub(super) fn at<'a>(&self, turn: usize, candidates: &Candidates<'a>) -> Option<&'a Backend> {
        let position = turn.checked_rem(self.order.len()).map(|at| self.order[at] as usize);
        // A set that is just being replaced has other backends at the same positions.
        let listed = position.and_then(|at| candidates.at(at).filter(|backend| **backend == self.backends[at]));
        listed.or_else(|| spread(candidates, turn))
    }
}

/// nginx's smooth weighted round robin (`ngx_http_upstream_round_robin.c`): each time everyone earns
/// their weight, the richest is chosen and pays what all together earned.
fn order(weights: &[u64]) -> Box<[u32]> {
    let common = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let wages: Vec<_> = weights.iter().map(|weight| (weight / common).cast_signed()).collect();
    let all = wages.iter().sum();
    if all > LONGEST {
        return Box::default();
    }
    let mut purses = vec![0; wages.len()];
    (0..all).map(|_| pay(&mut purses, &wages, all)).collect()
}

fn pay(purses: &mut [i64], wages: &[i64], all: i64) -> u32 {
    let mut richest = 0;
    for index in 0..purses.len() {
        purses[index] += wages[index];
        if purses[index] > purses[richest] {
            richest = index;
        }
    }
    purses[richest] -= all;
    richest as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_nginx() {
        let check = |weights: &[u64], expected: &[u32]| assert_eq!(*order(weights), *expected, "{weights:?}");
        check(&[5, 1, 1], &[0, 0, 1, 0, 2, 0, 0]);
        check(&[1, 2], &[1, 0, 1]);
        check(&[100, 200], &[1, 0, 1]);
        check(&[3, 3, 3], &[0, 1, 2]);
        check(&[65_535, 65_534], &[]);
    }
}
