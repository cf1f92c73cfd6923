//! Smooth weighted round robin, written down once.

/// The order of picks for these weights: as long as their sum, and then over again.
///
/// nginx's algorithm: with every pick each item earns its weight, and the one that has the most
/// pays the sum. So no item is ever ahead or behind by much.
pub(super) fn smooth_order(weights: &[u64]) -> Box<[u32]> {
    let total: u64 = weights.iter().sum();
    let mut earned = vec![0_i64; weights.len()];
    let next = |_| {
        earned.iter_mut().zip(weights).for_each(|(earned, weight)| *earned += *weight as i64);
        // The first of equals: `max_by_key` takes the last.
        let richest = (0..earned.len()).rev().max_by_key(|index| earned[*index]).unwrap_or(0);
        earned[richest] -= total as i64;
        richest as u32
    };
    (0..total).map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_spread() {
        let check = |weights: &[u64], expected: &str| {
            let order: String = smooth_order(weights).iter().map(|index| char::from(b'a' + *index as u8)).collect();
            assert_eq!(order, expected, "{weights:?}");
        };
        check(&[1], "a");
        check(&[1, 1], "ab");
        check(&[2, 1], "aba");
        check(&[3, 2], "ababa");
        check(&[5, 1, 1], "aabacaa");
        check(&[1, 2, 3], "cbacbc");
        check(&[0, 1], "b");
        check(&[1, 1, 1, 1], "abcd");
    }
}
