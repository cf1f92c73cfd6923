//! Some of the backends, by share.

use proxy_core::Backend;

use crate::dice::Dice;

/// Up to `most` of them in random order: each is first as often as its share says, and of the rest the next is
/// drawn alike (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006). One whose share is 0
/// comes only where all are.
pub(super) fn draw<'a>(backends: &[&'a Backend], most: usize, dice: &Dice) -> Vec<&'a Backend> {
    let any = backends.iter().any(|backend| backend.share() > 0);
    let keyed = backends.iter().filter(|backend| !any || backend.share() > 0).map(|backend| {
        // From above 0 to 1, so that the logarithm is finite.
        let random = ((dice.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        (-random.ln() / f64::from(backend.share().max(1)), *backend)
    });
    let mut keyed: Vec<_> = keyed.collect();
    if keyed.len() > most {
        keyed.select_nth_unstable_by(most, |one, other| one.0.total_cmp(&other.0));
        keyed.truncate(most);
    }
    keyed.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    keyed.into_iter().map(|(_, backend)| backend).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(weights: &[u32]) -> Vec<Backend> {
        let addresses = (1..).map(|at| format!("10.0.0.{at}:80").parse().unwrap());
        addresses.zip(weights).map(|(address, weight)| Backend::builder(address).weight(*weight).build()).collect()
    }

    /// Within 4 standard deviations, of 20,000 draws.
    #[test]
    fn each_is_first_by_its_share() {
        let (all, dice) = (backends(&[1, 2, 5, 0]), Dice::seeded(7));
        let listed: Vec<_> = all.iter().collect();
        let mut first = [0_u32; 4];
        for _ in 0..20_000 {
            let drawn = draw(&listed, 2, &dice);
            assert!(drawn.len() == 2 && drawn[0] != drawn[1]);
            first[all.iter().position(|backend| backend == drawn[0]).unwrap()] += 1;
        }
        for (count, expected) in first.into_iter().zip([2500, 5000, 12_500, 0]) {
            assert!(count.abs_diff(expected) <= 280, "{first:?}");
        }
    }

    #[test]
    fn few_are_all() {
        let (all, dice) = (backends(&[0, 0]), Dice::seeded(1));
        let listed: Vec<_> = all.iter().collect();
        assert_eq!(draw(&listed, 8, &dice).len(), 2, "somebody has to serve");
        assert_eq!(draw(&[], 8, &dice).len(), 0);
    }
}
