//! The one clock: tokio's, so that tests can pause it.

/// A point in time, in tokio's clock.
pub type Instant = tokio::time::Instant;
