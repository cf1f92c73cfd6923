//! Shares by weight, without randomness.

use std::sync::atomic::{AtomicU64, Ordering};

use super::RouteError;

mod circle;
mod table;

use circle::Circle;
use table::smooth_order;

/// Several things in turn, each as often as its weight says. One atomic addition per pick.
#[derive(Debug)]
pub(super) struct Split<T> {
    items: Box<[T]>,
    order: Order,
    picks: AtomicU64,
}

/// Both are exact in every run of as many picks as the reduced weights add up to.
#[derive(Debug)]
enum Order {
    Table(Box<[u32]>),
    Circle(Circle),
}

/// Of picks; 4 KiB. Writing it down takes time in proportion to its square at the worst.
const LONGEST_TABLE: u64 = 1024;

impl<T> Split<T> {
    pub(super) fn new(shares: impl IntoIterator<Item = (T, u32)>) -> Result<Self, RouteError> {
        let (items, weights): (Vec<T>, Vec<u64>) =
            shares.into_iter().map(|(item, weight)| (item, u64::from(weight))).unzip();
        let divisor = weights.iter().copied().fold(0, gcd);
        if divisor == 0 {
            return Err(RouteError::split(if items.is_empty() { "no upstream" } else { "the weights are all 0" }));
        }
        let weights: Vec<_> = weights.into_iter().map(|weight| weight / divisor).collect();
        let order = match weights.iter().sum::<u64>() {
            ..=LONGEST_TABLE => Order::Table(smooth_order(&weights)),
            total if total <= u64::from(u32::MAX) => Order::Circle(Circle::new(&weights)),
            _ => return Err(RouteError::split("the weights add up to more than 4294967295")),
        };
        Ok(Split { items: items.into(), order, picks: AtomicU64::new(0) })
    }

    /// The next one.
    pub(super) fn pick(&self) -> &T {
        // Only the number matters, nothing is published with it.
        let pick = self.picks.fetch_add(1, Ordering::Relaxed);
        match &self.order {
            Order::Table(order) => &self.items[order[(pick % order.len() as u64) as usize] as usize],
            Order::Circle(circle) => &self.items[circle.at(pick)],
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, prop_assert_eq, prop_assume, proptest};

    use super::*;

    fn picks(weights: &[u32], count: usize) -> Vec<usize> {
        let split = Split::new(weights.iter().copied().enumerate()).unwrap();
        (0..count).map(|_| *split.pick()).collect()
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

    proptest! {
        #[test]
        fn every_run_of_the_whole_is_exact(weights in vec(0_u32..700, 1..6), offset in 0_usize..500) {
            let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, u64::from(*weight))) as usize;
            prop_assume!(divisor > 0);
            let whole = weights.iter().sum::<u32>() as usize / divisor;
            let sequence = picks(&weights, offset + whole);
            for (item, weight) in weights.iter().enumerate() {
                let share = sequence[offset..].iter().filter(|pick| **pick == item).count();
                prop_assert_eq!(share * divisor, *weight as usize);
            }
        }

        #[test]
        fn the_share_so_far_is_never_far_off(weights in vec(1_u32..60, 1..6), count in 1_usize..2000) {
            let total: u32 = weights.iter().sum();
            let sequence = picks(&weights, count);
            for (item, weight) in weights.iter().enumerate() {
                let share = sequence.iter().filter(|pick| **pick == item).count();
                let ideal = count as f64 * f64::from(*weight) / f64::from(total);
                prop_assert!((share as f64 - ideal).abs() < 3.0, "{share} of {count}, ideally {ideal}");
            }
        }
    }
}
