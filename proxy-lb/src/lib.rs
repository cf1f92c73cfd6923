//! Selectors: which backend gets the next request.
//!
//! ```
//! use proxy_core::Cluster;
//! use proxy_lb::RoundRobin;
//!
//! let cluster = Cluster::builder(RoundRobin::new())
//!     .backend("127.0.0.1:9001".parse()?)
//!     .backend("127.0.0.1:9002".parse()?)
//!     .build();
//! # let _ = cluster;
//! # Ok::<(), proxy_core::ParseAddressError>(())
//! ```
//!
//! | use | when | weights | cost of a choice |
//! |---|---|---|---|
//! | [`RoundRobin`] | requests cost about the same, and so do backends | exact | one atomic addition |
//!
//! A selector of your own takes five lines: see [`Selector`](proxy_core::Selector).

mod breaker;
mod discovery;
mod health;
mod outlier;
mod panic_threshold;
mod random;
mod registry;
mod round_robin;
mod slow_start;

pub use breaker::{BreakerSettings, CircuitBreaker};
pub use discovery::{Discover, DiscoverError, Discovery, DnsName, Fixed, LineError, WatchedFile, backends_from_lines};
pub use health::{Check, CheckFailure, HealthChecker, HealthSettings, HttpCheck, StartState, TcpCheck};
pub use outlier::{LatencyComparison, OutlierDetector, OutlierSettings, SuccessRate, Watched};
pub use panic_threshold::PanicThreshold;
pub use round_robin::RoundRobin;
pub use slow_start::SlowStart;
