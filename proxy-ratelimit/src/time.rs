//! Points in time, as the algorithms see them.

use std::time::Duration;

use proxy_core::Instant;

/// A point in time: nanoseconds since an epoch of the caller's choice.
///
/// The algorithms take it as an argument, so that tests need no clock. Arithmetic saturates.
///
/// ```
/// use std::time::Duration;
/// use proxy_ratelimit::Time;
///
/// let later = Time::ZERO + Duration::from_secs(1);
/// assert_eq!(later.since(Time::ZERO), Duration::from_secs(1));
/// assert_eq!(Time::ZERO.since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The epoch itself.
    pub const ZERO: Time = Time(0);

    /// So many nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Time(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is before.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `now`, counted from `epoch`.
    pub fn between(epoch: Instant, now: Instant) -> Self {
        Time::ZERO + now.saturating_duration_since(epoch)
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(nanos(duration)))
    }
}

/// A duration in nanoseconds; 584 years are as long as it gets.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
