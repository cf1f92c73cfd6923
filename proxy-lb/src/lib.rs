//! Which backend gets the next request, and what keeps a set of backends true: selectors, health, discovery.
//!
//! ```
//! use proxy_core::Cluster;
//! use proxy_lb::LeastConnections;
//!
//! let cluster = Cluster::builder(LeastConnections::new())
//!     .backend("127.0.0.1:9001".parse()?)
//!     .backend("127.0.0.1:9002".parse()?)
//!     .build();
//! # let _ = cluster;
//! # Ok::<(), proxy_core::ParseAddressError>(())
//! ```
//!
//! # Which one should I use?
//!
//! | use | when | weights | a choice looks at |
//! |---|---|---|---|
//! | [`RoundRobin`] | requests cost about the same, and so do backends | exact, interleaved | one backend |
//! | [`WeightedRandom`] | the same, before many proxies that must not fall into step | by chance | one |
//! | [`LeastConnections`] | requests cost very different amounts, or stay long (WebSockets, TCP) | exact | about √n |
//! | [`PowerOfTwo`] | the same, with many backends or many proxies | by chance | two |
//! | [`PeakEwma`] | backends differ in speed, or get slow now and then | by chance | two |
//! | [`Maglev`] | a key belongs to one backend (caches), as evenly as can be | to 1 in 65,537 | one |
//! | [`Rendezvous`] | the same, with no key moved that need not | to √(n / 65,536) | one |
//! | [`RingHash`] | the same, in agreement with clients of memcached ([`ketama`](RingHash::ketama)) | to 8 % | one |
//! | [`SourceIpHash`] | a client belongs to one backend, without a cookie; TCP and UDP | as [`Maglev`] | one |
//! | [`BoundedLoad`] | around any of the hashes, where some keys are much more popular | as inside | two or more |
//! | [`Sticky`] | a browser belongs to one backend, by a cookie; around any selector | as inside | one, or as inside |
//!
//! All of them serve HTTP, TCP and UDP, cookies and other parts of requests aside. They choose by a backend's
//! [share](proxy_core::Backend::share), which is its weight unless it warms up. Change a weight with
//! [`set_weight`](proxy_core::Backend::set_weight) and tell the set by
//! [`refresh`](proxy_core::BackendSet::refresh): it counts from the next choice on, and 0 drains. No choice
//! waits or allocates. What one costs, `cargo bench -p proxy-lb --bench select` prints, and with `-- --instructions`
//! how many instructions: but for [`LeastConnections`] as many with 10,000 backends as with three.
//!
//! On origins of uneven speed (`cargo bench -p proxy-lb --bench simulation` says which, and prints this):
//!
//! | selector | p50 | p99 | max | share of each origin, fastest first |
//! |---|--:|--:|--:|---|
//! | `RoundRobin` | 128 ms | 1534 ms | 3598 ms | 20 % 20 % 20 % 20 % 20 % |
//! | `WeightedRandom` | 130 ms | 1947 ms | 3690 ms | 21 % 21 % 20 % 20 % 19 % |
//! | `PowerOfTwo` | 100 ms | 1088 ms | 3462 ms | 26 % 26 % 18 % 18 % 12 % |
//! | `LeastConnections` | 96 ms | 1028 ms | 3462 ms | 30 % 27 % 16 % 17 % 10 % |
//! | `PeakEwma` | 91 ms | 903 ms | 2373 ms | 32 % 31 % 15 % 17 % 6 % |
//!
//! # Who takes part?
//!
//! [`Tiers`] (priorities, backups), [`SameZone`] and [`Subset`] are [`Eligibility`](proxy_core::Eligibility)
//! rules. They are asked when the set changes, not per request, and go around each other:
//! `Tiers::over(SameZone::new("a"))`.
//!
//!
//! # Who is well?
//!
//! Health and discovery are futures for you to spawn; they follow a [`BackendSet`](proxy_core::BackendSet) and end when
//! they are dropped:
//!
//! | use | for |
//! |---|---|
//! | [`HealthChecker`] | asking every backend again and again: [`TcpCheck`], [`UdpCheck`], [`HttpCheck`], [`GrpcCheck`], a [`Check`] of yours |
//! | [`OutlierDetector`] | ejecting those that fail requests, or far more of them than the others, or are far slower |
//! | [`CircuitBreaker`] | limits per backend, and leaving alone one that fails until a trial succeeds |
//! | [`PanicThreshold`] | using all backends when too few are healthy |
//! | [`SlowStart`] | giving a backend that returns its share little by little |
//! | [`Discovery`] | taking backends from [`DnsName`], [`WatchedFile`], a [`Discover`] of yours; with the feature `dns` from SRV records and by the lifetime of answers (`DnsRecords`) |
//!
//! A selector of your own takes five lines: see [`Selector`](proxy_core::Selector). One that hashes can implement
//! [`ConsistentHash`] to work within [`BoundedLoad`].

mod breaker;
mod consistent;
mod dice;
mod discovery;
mod eligibility;
mod health;
#[cfg(test)]
mod lab;
mod least_connections;
mod outlier;
mod panic_threshold;
mod peak_ewma;
mod power_of_two;
mod registry;
mod roster;
mod round_robin;
mod shares;
mod slow_start;
mod sticky;
mod weighted_random;

pub use breaker::{BreakerSettings, CircuitBreaker};
pub use consistent::{BoundedLoad, ConsistentHash, HashKey, Maglev, Rendezvous, RingHash, SourceIpHash};
pub use discovery::{Discover, DiscoverError, Discovery, DnsName, Fixed, LineError, WatchedFile, backends_from_lines};
#[cfg(feature = "dns")]
pub use discovery::{DnsRecords, DnsServer};
pub use eligibility::{SameZone, Subset, Tiers};
pub use health::{
    Check, CheckFailure, GrpcCheck, HealthChecker, HealthSettings, HttpCheck, StartState, TcpCheck, UdpCheck,
};
pub use least_connections::LeastConnections;
pub use outlier::{LatencyComparison, OutlierDetector, OutlierSettings, SuccessRate, Watched};
pub use panic_threshold::PanicThreshold;
pub use peak_ewma::PeakEwma;
pub use power_of_two::PowerOfTwo;
pub use round_robin::RoundRobin;
pub use slow_start::SlowStart;
pub use sticky::{InvalidCookieName, Sticky, StickySelector, StickyUpstream};
pub use weighted_random::WeightedRandom;
