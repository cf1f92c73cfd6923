//! Shares of backends, and choices by them.

use proxy_core::{Backend, Candidates};

use crate::dice::{Dice, part};
use crate::roster::find;

/// The shares of backends, without what they have in common. Where nobody has one all count alike:
/// somebody has to serve.
pub(crate) fn reduced(backends: &[Backend]) -> Vec<u64> {
    let shares: Vec<_> = backends.iter().map(|backend| u64::from(backend.share())).collect();
    match shares.iter().copied().fold(0, greatest_common_divisor) {
        0 => vec![1; shares.len()],
        common => shares.into_iter().map(|share| share / common).collect(),
    }
}

pub(crate) fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The candidate on whose arc a point of the circle lies, on which each has an arc of its share.
pub(crate) fn by_point<'a>(candidates: &Candidates<'a>, random: u64) -> Option<&'a Backend> {
    let circle: u64 = candidates.iter().map(|backend| u64::from(backend.share())).sum();
    if circle == 0 {
        return candidates.at(part(random, candidates.len()));
    }
    let point = ((u128::from(random) * u128::from(circle)) >> 64) as u64;
    let mut end = 0;
    candidates.iter().find(|backend| {
        end += u64::from(backend.share());
        point < end
    })
}

/// Draws backends by share in constant time: the alias method (Walker, "An efficient method for
/// generating discrete random variables with general distributions", 1977), filled as Vose (1991) does.
#[derive(Debug, Default)]
pub(crate) struct Lottery {
    listed: Box<[Backend]>,
    tickets: Box<[Ticket]>,
}

/// One column of the table: it is its own backend's below `own`, and another's from there on. A column
/// that is one backend's alone names it twice.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    /// Of 2^32.
    own: u32,
    other: u32,
}

/// Draws that may hit nobody before the rest is walked through: with half of the backends missing one
/// of 65,536 choices walks.
const DRAWS: usize = 16;

impl Lottery {
    pub(crate) fn new(backends: &[Backend]) -> Self {
        Lottery { listed: backends.into(), tickets: tickets(&reduced(backends)) }
    }

    /// A position in the list.
    fn draw(&self, random: u64) -> Option<usize> {
        let wide = u128::from(random) * self.tickets.len() as u128;
        let column = (wide >> 64) as usize;
        let ticket = self.tickets.get(column)?;
        let within = (wide as u64 >> 32) as u32;
        Some(if within < ticket.own { column } else { ticket.other as usize })
    }

    /// A candidate, and its position in the list if it was on it.
    pub(crate) fn pick<'a>(&self, candidates: &Candidates<'a>, dice: &Dice) -> Option<(Option<usize>, &'a Backend)> {
        for _ in 0..DRAWS {
            let Some(position) = self.draw(dice.next()) else { break };
            if let Some(backend) = find(&self.listed, position, candidates) {
                return Some((Some(position), backend));
            }
        }
        by_point(candidates, dice.next()).map(|backend| (None, backend))
    }

    /// Two candidates, different ones where there are two.
    pub(crate) fn pick_two<'a>(
        &self,
        candidates: &Candidates<'a>,
        dice: &Dice,
    ) -> Option<[(Option<usize>, &'a Backend); 2]> {
        let first = self.pick(candidates, dice)?;
        let mut second = first;
        for _ in 0..DRAWS {
            if candidates.len() < 2 || second.1 != first.1 {
                break;
            }
            second = self.pick(candidates, dice)?;
        }
        Some([first, second])
    }
}

fn tickets(shares: &[u64]) -> Box<[Ticket]> {
    let count = shares.len() as u128;
    let fair: u128 = shares.iter().map(|share| u128::from(*share)).sum();
    // Each column has room for the average, which is 1/count of all: so much as `fair`, of shares times count.
    let mut left: Vec<_> = shares.iter().map(|share| u128::from(*share) * count).collect();
    let mut tickets: Box<[_]> = (0..shares.len() as u32).map(|other| Ticket { own: u32::MAX, other }).collect();
    let (mut poor, mut rich): (Vec<_>, Vec<_>) = (0..left.len()).partition(|index| left[*index] < fair);
    while let (Some(&taker), Some(&giver)) = (poor.last(), rich.last()) {
        poor.pop();
        tickets[taker] = Ticket { own: threshold(left[taker], fair), other: giver as u32 };
        left[giver] -= fair - left[taker];
        if left[giver] < fair {
            rich.pop();
            poor.push(giver);
        }
    }
    tickets
}

/// `own / fair` in 2^32ths.
fn threshold(own: u128, fair: u128) -> u32 {
    u32::try_from((own << 32) / fair).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table has exactly the shares: each column is split at a 2^32th.
    #[test]
    fn tickets_add_up_to_the_shares() {
        for shares in [&[1][..], &[1, 1, 1], &[5, 1, 1], &[1, 0, 3], &[65_535, 1], &[7, 11, 13, 17, 19, 0, 1]] {
            let all: u64 = shares.iter().sum();
            let mut got = vec![0.0; shares.len()];
            for (column, ticket) in tickets(shares).iter().enumerate() {
                let own = f64::from(ticket.own) / f64::from(u32::MAX);
                got[column] += own / shares.len() as f64;
                got[ticket.other as usize] += (1.0 - own) / shares.len() as f64;
            }
            for (got, share) in got.iter().zip(shares) {
                let expected = *share as f64 / all as f64;
                assert!((got - expected).abs() < 1e-8, "{shares:?}: {got} for {expected}");
            }
        }
    }
}
