//! When a circuit opens and closes, and how much one backend may have to do.

use std::time::Duration;

/// When a circuit opens and closes, and how much one backend may have to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerSettings {
    /// Requests that one backend may have to do at a time. Default: no limit.
    pub max_requests: Option<u32>,
    /// Of these, how many may be retries. Default 3, as Envoy has it for a whole cluster: retries must not
    /// become the load that keeps a backend down.
    pub max_retries: Option<u32>,
    /// Failures in a row that open the circuit: statuses from 500 on, and attempts that fail because of the
    /// backend. Default: none do.
    pub failures: Option<u32>,
    /// How long it stays open the first time; each time in a row twice as long. Default 5 s.
    pub open: Duration,
    /// How long it stays open at most. Default 60 s.
    pub max_open: Duration,
    /// Requests that a half-open circuit lets through at a time. Default 1.
    pub half_open_requests: u32,
    /// How many of them must succeed until it closes. Default 3.
    pub successes: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        BreakerSettings {
            max_requests: None,
            max_retries: Some(3),
            failures: None,
            open: Duration::from_secs(5),
            max_open: Duration::from_secs(60),
            half_open_requests: 1,
            successes: 3,
        }
    }
}
