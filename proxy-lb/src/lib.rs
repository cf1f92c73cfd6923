//! Selectors
mod consistent;
mod dice;
mod eligibility;
#[cfg(test)]
mod lab;
mod least_connections;
mod peak_ewma;
mod power_of_two;
mod random;
mod roster;
mod round_robin;
mod shares;

pub use consistent::{BoundedLoad, ConsistentHash, HashKey, Maglev, Rendezvous, RingHash, SourceIpHash};
pub use eligibility::{SameZone, Subset, Tiers};
pub use least_connections::LeastConnections;
pub use peak_ewma::PeakEwma;
pub use power_of_two::PowerOfTwo;
pub use random::Random;
pub use round_robin::RoundRobin;
