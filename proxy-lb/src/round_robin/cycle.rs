//! The order of backends with weights.

use proxy_core::{Backend, Candidates};

use super::spread::{Circle, spread};
use crate::shares::reduced;

/// Longer tables are not made: 64 KiB of memory, and a few ms to fill for a hundred backends.
const LONGEST: u64 = 16 * 1024;

/// One round of the candidates of the last change.
#[derive(Debug, Default)]
pub(super) struct Cycle {
    backends: Box<[Backend]>,
    turns: Turns,
}

#[derive(Debug, Default)]
enum Turns {
    /// All shares are equal.
    #[default]
    Equal,
    /// Positions in `backends`.
    Order(Box<[u32]>),
    /// The order would be too long.
    Circle(Circle),
}

impl Cycle {
    pub(super) fn new(backends: &[Backend]) -> Self {
        Cycle { backends: backends.into(), turns: turns(&reduced(backends)) }
    }

    /// How many backends take part.
    pub(super) fn backends(&self) -> usize {
        self.backends.len()
    }

    pub(super) fn is_weighted(&self) -> bool {
        !matches!(self.turns, Turns::Equal)
    }

    /// Whether these candidates are all of them.
    pub(super) fn is_for(&self, candidates: &Candidates<'_>) -> bool {
        self.backends.len() == candidates.len()
    }

    /// The backend whose turn it is.
    pub(super) fn at<'a>(&self, turn: usize, candidates: &Candidates<'a>) -> Option<&'a Backend> {
        let position = match &self.turns {
            Turns::Equal => turn.checked_rem(self.backends.len()),
            Turns::Order(order) => turn.checked_rem(order.len()).map(|at| order[at] as usize),
            Turns::Circle(circle) => circle.at(turn),
        };
        // A set that is just being replaced has other backends at the same positions.
        let listed = position.and_then(|at| candidates.at(at).filter(|backend| **backend == self.backends[at]));
        listed.or_else(|| spread(candidates, turn))
    }
}

fn turns(wages: &[u64]) -> Turns {
    let all = wages.iter().sum::<u64>();
    if wages.windows(2).all(|pair| pair[0] == pair[1]) {
        Turns::Equal
    } else if all > LONGEST {
        Turns::Circle(Circle::new(wages))
    } else {
        Turns::Order(order(wages))
    }
}

/// nginx's smooth weighted round robin (`ngx_http_upstream_round_robin.c`): each time everyone earns
/// their weight, the richest is chosen and pays what all together earned.
fn order(wages: &[u64]) -> Box<[u32]> {
    let wages: Vec<_> = wages.iter().map(|wage| wage.cast_signed()).collect();
    let all = wages.iter().sum();
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
        let check = |wages: &[u64], expected: &[u32]| assert_eq!(*order(wages), *expected, "{wages:?}");
        check(&[5, 1, 1], &[0, 0, 1, 0, 2, 0, 0]);
        check(&[1, 2], &[1, 0, 1]);
        check(&[3, 3, 3], &[0, 1, 2, 0, 1, 2, 0, 1, 2]);
        check(&[4, 3, 2, 1], &[0, 1, 2, 0, 1, 3, 0, 2, 1, 0]);
    }

    #[test]
    fn no_table_is_longer_than_it_may_be() {
        assert!(matches!(turns(&[65_535, 65_534]), Turns::Circle(_)));
        assert!(matches!(turns(&[10_000, 6384]), Turns::Order(_)));
        assert!(matches!(turns(&[1; 100_000]), Turns::Equal));
    }
}
