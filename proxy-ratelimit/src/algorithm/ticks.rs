//! Time cut so finely that a rate's interval is a whole number.

use std::time::Duration;

use crate::{Quota, Time};

/// Converts between nanoseconds, cost and ticks.
///
/// A tick is 1/r ns, with rate/period = r/p in lowest terms (p in nanoseconds): then one request
/// takes exactly p ticks, and nothing is rounded. Where r is more than [`FINEST`] (`1001/s`), ticks are
/// doubled until there are at most that many to a nanosecond, and costs are rounded up to whole ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    /// r
    per_nano: u64,
    /// p
    per_cost: u64,
    /// ⌊(2⁶⁴ − 1)/p⌋, to multiply by instead of dividing by p.
    reciprocal: u64,
    shift: u32,
    /// The ticks of cost 1.
    one: u64,
    /// The ticks of a burst.
    burst: u64,
}

/// Ticks to a nanosecond, at most. With [`HORIZON`] it keeps every sum below within 64 bits.
const FINEST: u64 = 16;
/// Nanoseconds after the epoch at which time stands still: 18 years.
const HORIZON: u64 = 1 << 59;
/// The longest cost: never allowed. A burst that takes longer to come back is cut to half of it.
const LONGEST: u64 = 1 << 62;

impl Ticks {
    pub(crate) fn of(quota: &Quota) -> Self {
        let common = gcd(quota.rate(), quota.period_nanos());
        let (per_nano, per_cost) = (quota.rate() / common, quota.period_nanos() / common);
        let mut shift = 0;
        while per_nano >> shift > FINEST {
            shift += 1;
        }
        let mut ticks = Ticks { per_nano, per_cost, reciprocal: u64::MAX / per_cost, shift, one: 0, burst: 0 };
        ticks.one = ticks.round_up(1);
        ticks.burst = ticks.round_up(quota.burst()).min(LONGEST / 2);
        ticks
    }

    #[inline]
    pub(crate) fn at(&self, now: Time) -> u64 {
        let nanos = now.as_nanos().min(HORIZON);
        ((u128::from(nanos) * u128::from(self.per_nano)) >> self.shift) as u64
    }

    /// How long a cost takes to come back.
    #[inline]
    pub(crate) fn cost(&self, cost: u64) -> u64 {
        match cost {
            1 => self.one,
            _ => self.round_up(cost),
        }
    }

    #[inline]
    pub(crate) fn burst(&self) -> u64 {
        self.burst
    }

    fn round_up(&self, cost: u64) -> u64 {
        let exact = u128::from(cost) * u128::from(self.per_cost);
        let ticks = (exact + (1 << self.shift) - 1) >> self.shift;
        u64::try_from(ticks).unwrap_or(LONGEST).min(LONGEST)
    }

    /// The whole cost that so many ticks are worth, and how many more ticks the next one takes.
    #[inline]
    pub(crate) fn worth(&self, ticks: u64) -> (u64, u64) {
        match self.shift {
            0 => {
                let worth = self.divided(ticks);
                (worth, self.per_cost - (ticks - worth * self.per_cost))
            }
            shift => {
                let worth = ((u128::from(ticks) << shift) / u128::from(self.per_cost)) as u64;
                (worth, self.round_up(worth.saturating_add(1)).saturating_sub(ticks))
            }
        }
    }

    /// `ticks / per_cost`. A division takes longer, and there is one for each decision.
    #[inline]
    fn divided(&self, ticks: u64) -> u64 {
        let quotient = ((u128::from(ticks) * u128::from(self.reciprocal)) >> 64) as u64;
        // The estimate is at most two too small: the reciprocal lacks less than one, and the shift drops less than
        // one. No loop: what nobody asks for could not be left out then.
        let rest = ticks - quotient * self.per_cost;
        let (quotient, rest) =
            if rest >= self.per_cost { (quotient + 1, rest - self.per_cost) } else { (quotient, rest) };
        if rest >= self.per_cost { quotient + 1 } else { quotient }
    }

    #[inline]
    pub(crate) fn nanos(&self, ticks: u64) -> u64 {
        match (self.shift, self.per_nano) {
            (0, 1) => ticks,
            (0, per_nano) => ticks.div_ceil(per_nano),
            (shift, per_nano) => {
                let nanos = (u128::from(ticks) << shift).div_ceil(u128::from(per_nano));
                u64::try_from(nanos).unwrap_or(u64::MAX)
            }
        }
    }

    #[inline]
    pub(crate) fn duration(&self, ticks: u64) -> Duration {
        Duration::from_nanos(self.nanos(ticks))
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_rates_are_exact() {
        for rate in ["1/s", "3/s", "7/s", "100/s", "1000/m", "5000/h", "1000000/s", "96/m"] {
            let quota: Quota = rate.parse().unwrap();
            let ticks = Ticks::of(&quota);
            assert_eq!(ticks.shift, 0, "{rate}");
            let periods = 5;
            let after = Time::ZERO + quota.period() * periods;
            assert_eq!(ticks.at(after), ticks.cost(quota.rate() * u64::from(periods)), "{rate}");
        }
    }

    #[test]
    fn multiplying_is_dividing() {
        for per_cost in [1, 2, 3, 7, 10_000_000, 333_333_333, u64::from(u32::MAX), 1 << 40, u64::MAX / 3, u64::MAX] {
            let quota = Quota::new(std::num::NonZeroU64::MIN, Duration::from_nanos(per_cost)).unwrap();
            let ticks = Ticks::of(&quota);
            let around =
                [0, 1, per_cost - 1, per_cost, per_cost.saturating_mul(5), u64::MAX / 2, u64::MAX - 1, u64::MAX];
            for number in around {
                assert_eq!(ticks.divided(number), number / per_cost, "{number} / {per_cost}");
            }
        }
    }

    #[test]
    fn extremes_stay_within_64_bits() {
        for (rate, period, burst) in [
            (u64::MAX, 1, u64::MAX),
            (1, u64::MAX, u64::MAX),
            (u64::MAX, u64::MAX, 1),
            (u64::MAX - 1, 1_000_000_000, u64::MAX),
            (1001, 1_000_000_000, 1),
        ] {
            let nonzero = |number| std::num::NonZeroU64::new(number).unwrap();
            let quota = Quota::new(nonzero(rate), Duration::from_nanos(period)).unwrap().with_burst(nonzero(burst));
            let ticks = Ticks::of(&quota);
            assert!(ticks.one > 0 && ticks.burst >= 1);
            let end = ticks.at(Time::from_nanos(u64::MAX));
            assert!(end.checked_add(ticks.burst).and_then(|end| end.checked_add(LONGEST)).is_some(), "{quota}");
        }
    }
}
