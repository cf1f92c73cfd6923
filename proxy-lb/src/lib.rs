//! Selectors: which backend gets the next request. And what keeps a set of backends true: health, discovery.
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
//! Health and discovery are futures for you to spawn; they follow a [`BackendSet`](proxy_core::BackendSet) and end when
//! they are dropped:
//!
//! | use | for |
//! |---|---|
//! | [`HealthChecker`] | asking every backend again and again: [`TcpCheck`], [`HttpCheck`], a [`Check`] of yours |
//! | [`OutlierDetector`] | ejecting those that fail requests, or far more of them than the others, or are far slower |
//! | [`CircuitBreaker`] | limits per backend, and leaving alone one that fails until a trial succeeds |
//! | [`PanicThreshold`] | using all backends when too few are healthy |
//! | [`SlowStart`] | giving a backend that returns its share little by little |
//! | [`Discovery`] | taking backends from [`DnsName`], [`WatchedFile`], a [`Discover`] of yours |
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
