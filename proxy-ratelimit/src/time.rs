//! Points in time, as the algorithms see them.

use std::sync::OnceLock;
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

    /// Now, by tokio's clock, counted from an hour before the process first asked.
    #[inline]
    pub fn now() -> Self {
        static EPOCH: OnceLock<Instant> = OnceLock::new();
        let now = Instant::now();
        // Tests have clocks of their own, and the first to ask need not be the first to start.
        let epoch = EPOCH.get_or_init(|| now.checked_sub(Duration::from_secs(3600)).unwrap_or(now));
        Time::ZERO + now.saturating_duration_since(*epoch)
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Time;

    #[inline]
    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(nanos(duration)))
    }
}

/// A duration in nanoseconds; 584 years are as long as it gets.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    // In 64 bits: `as_nanos` has 128, and this is done for each request.
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}
