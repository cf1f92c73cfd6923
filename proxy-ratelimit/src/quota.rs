//! How much in how much time.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// So many in so much time, and how many of them at once. None of the three can be zero.
///
/// What `burst` means is the algorithm's to say: the size of a bucket, the length of a queue. Windows
/// have no use for it. It is the rate's count where nothing else is said.
///
/// ```
/// use std::num::NonZeroU64;
/// use std::time::Duration;
/// use proxy_ratelimit::Quota;
///
/// let quota: Quota = "100/s".parse()?;
/// assert_eq!((quota.rate(), quota.period(), quota.burst()), (100, Duration::from_secs(1), 100));
/// assert_eq!("0/s".parse::<Quota>().unwrap_err().to_string(), "a quota of zero lets nothing through, ever");
/// assert!("often".parse::<Quota>().is_err());
///
/// let quota = quota.with_burst(NonZeroU64::new(200).unwrap());
/// assert_eq!(quota.to_string(), "100/s, burst 200");
/// # Ok::<(), proxy_ratelimit::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    rate: NonZeroU64,
    /// Nanoseconds.
    period: NonZeroU64,
    burst: NonZeroU64,
}

const SECOND: NonZeroU64 = NonZeroU64::new(1_000_000_000).unwrap();
const MINUTE: NonZeroU64 = NonZeroU64::new(60_000_000_000).unwrap();
const HOUR: NonZeroU64 = NonZeroU64::new(3_600_000_000_000).unwrap();

impl Quota {
    /// `rate` in each `period`, and as many at once.
    ///
    /// # Errors
    /// If `period` is zero, or longer than 584 years.
    pub fn new(rate: NonZeroU64, period: Duration) -> Result<Self, QuotaError> {
        let nanos = u64::try_from(period.as_nanos()).map_err(|_| QuotaError(Reason::PeriodTooLong))?;
        let period = NonZeroU64::new(nanos).ok_or(QuotaError(Reason::PeriodZero))?;
        Ok(Quota { rate, period, burst: rate })
    }

    /// `rate` in each second, and as many at once.
    pub const fn per_second(rate: NonZeroU64) -> Self {
        Quota { rate, period: SECOND, burst: rate }
    }

    /// `rate` in each minute, and as many at once.
    pub const fn per_minute(rate: NonZeroU64) -> Self {
        Quota { rate, period: MINUTE, burst: rate }
    }

    /// `rate` in each hour, and as many at once.
    pub const fn per_hour(rate: NonZeroU64) -> Self {
        Quota { rate, period: HOUR, burst: rate }
    }

    /// So many at once.
    #[must_use]
    pub const fn with_burst(self, burst: NonZeroU64) -> Self {
        Quota { burst, ..self }
    }

    /// How many in each period. Never 0.
    pub const fn rate(&self) -> u64 {
        self.rate.get()
    }

    /// The period. Never zero.
    pub const fn period(&self) -> Duration {
        Duration::from_nanos(self.period.get())
    }

    /// How many at once. Never 0.
    pub const fn burst(&self) -> u64 {
        self.burst.get()
    }

    pub(crate) const fn period_nanos(&self) -> u64 {
        self.period.get()
    }

    /// How long it takes until a whole burst is there again.
    pub(crate) fn refill_nanos(&self) -> u64 {
        let parts = u128::from(self.burst()) * u128::from(self.period_nanos());
        u64::try_from(parts.div_ceil(u128::from(self.rate()))).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.period {
            SECOND => write!(f, "{}/s", self.rate)?,
            MINUTE => write!(f, "{}/m", self.rate)?,
            HOUR => write!(f, "{}/h", self.rate)?,
            _ => write!(f, "{} in {:?}", self.rate, self.period())?,
        }
        match self.burst == self.rate {
            true => Ok(()),
            false => write!(f, ", burst {}", self.burst),
        }
    }
}

impl FromStr for Quota {
    type Err = QuotaError;

    /// `"100/s"`, `"1000/m"`, `"5000/h"`.
    fn from_str(text: &str) -> Result<Self, QuotaError> {
        let (count, unit) = text.split_once('/').ok_or(QuotaError(Reason::Malformed))?;
        let digits_only = count.bytes().all(|byte| byte.is_ascii_digit());
        let count: u64 = count.parse().ok().filter(|_| digits_only).ok_or(QuotaError(Reason::Malformed))?;
        let per = match unit {
            "s" => Quota::per_second,
            "m" => Quota::per_minute,
            "h" => Quota::per_hour,
            _ => return Err(QuotaError(Reason::Malformed)),
        };
        NonZeroU64::new(count).map(per).ok_or(QuotaError(Reason::Zero))
    }
}

/// Why something is not a [`Quota`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaError(Reason);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    Zero,
    PeriodZero,
    PeriodTooLong,
    Malformed,
}

impl fmt::Display for QuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Reason::Zero => "a quota of zero lets nothing through, ever",
            Reason::PeriodZero => "a quota needs a period longer than zero",
            Reason::PeriodTooLong => "the period of a quota is at most 584 years",
            Reason::Malformed => r#"expected a rate such as "100/s", "1000/m" or "5000/h""#,
        })
    }
}

impl std::error::Error for QuotaError {}
