//! Who of a set takes part: tiers, zones, subsets. Each is put around another rule, down to who is
//! healthy, and costs a choice nothing.

use proxy_core::Backend;

mod subset;
mod tiers;
mod zone;

pub use subset::Subset;
pub use tiers::Tiers;
pub use zone::SameZone;

fn weight_of(backends: &[Backend]) -> f64 {
    backends.iter().map(|backend| f64::from(backend.weight())).sum()
}

fn share_of(backends: &[Backend]) -> f64 {
    backends.iter().map(|backend| f64::from(backend.share())).sum()
}
