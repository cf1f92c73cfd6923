//! Selectors
mod consistent;
mod dice;
mod eligibility;
#[cfg(test)]
mod lab;
mod least_connections;
mod peak_ewma;
mod power_of_two;

mod roster;
mod round_robin;
mod shares;
mod sticky;
mod weighted_random;

pub use consistent::{BoundedLoad, ConsistentHash, HashKey, Maglev, Rendezvous, RingHash, SourceIpHash};
pub use eligibility::{SameZone, Subset, Tiers};
pub use least_connections::LeastConnections;
pub use peak_ewma::PeakEwma;
pub use power_of_two::PowerOfTwo;

pub use round_robin::RoundRobin;
pub use sticky::{InvalidCookieName, Sticky, StickySelector, StickyUpstream};
pub use weighted_random::WeightedRandom;
