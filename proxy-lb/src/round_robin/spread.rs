//! Shares by weight, without a table.

use proxy_core::{Backend, Candidates};

/// The candidate whose turn it is. Of any run of turns as long as the weights add up to, each gets
/// its weight: every turn goes one step on over a circle on which each has an arc of its weight. The
/// step has no factor in common with the circle, so no point is missed, and is near its golden
/// section, which spreads any number of points evenly.
pub(super) fn spread<'a>(candidates: &Candidates<'a>, turn: usize) -> Option<&'a Backend> {
    let shares = || candidates.iter().map(|backend| u64::from(backend.share()));
    let common = shares().fold(0, greatest_common_divisor).max(1);
    let circle = shares().map(|share| share / common).sum();
    if circle == 0 {
        // All lost their weight since the set was made: somebody has to serve.
        return candidates.at(turn.checked_rem(candidates.len())?);
    }
    // Both factors are below 2^56: a share below 2^24 for each of fewer than 2^32 backends.
    let point = u128::from(turn as u64 % circle) * u128::from(step(circle)) % u128::from(circle);
    let mut end = 0;
    candidates.iter().find(|backend| {
        end += u128::from(u64::from(backend.share()) / common);
        point < end
    })
}

/// The first number from the golden section on that has no factor in common with `circle`.
fn step(circle: u64) -> u64 {
    const GOLDEN: u128 = 11_400_714_819_323_198_485; // 2^64 / φ
    let golden = ((u128::from(circle) * GOLDEN) >> 64) as u64;
    (golden.max(1)..).find(|step| greatest_common_divisor(*step, circle) == 1).unwrap_or(1)
}

pub(super) fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
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
}
