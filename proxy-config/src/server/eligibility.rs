//! Who takes part: tiers, zones, subsets.

use proxy_core::{BackendBuilder, Eligibility, Usable};
use proxy_lb::{SameZone, Subset, Tiers};

use crate::Upstream;

/// The tier of backups: behind every priority there is.
const BACKUP: u16 = 256;

/// Tiers, and what the configuration asks for beside them, within each.
pub(super) fn eligibility(local_zone: Option<&str>, config: &Upstream) -> Box<dyn Eligibility> {
    let within: Box<dyn Eligibility> = match local_zone {
        Some(zone) => Box::new(SameZone::new(zone)),
        None => Box::new(Usable),
    };
    let tiers = Tiers::over(within);
    match &config.subset {
        Some(subset) => Box::new(Subset::over(subset.size, &subset.proxy, tiers)),
        None => Box::new(tiers),
    }
}

/// The labels that the rules above read.
pub(super) fn labelled(builder: BackendBuilder, config: &crate::Backend) -> BackendBuilder {
    let tier = if config.backup { BACKUP } else { config.priority.into() };
    let builder = match tier {
        0 => builder,
        tier => builder.label(Tiers::LABEL, &tier.to_string()),
    };
    match &config.zone {
        Some(zone) => builder.label(SameZone::LABEL, zone),
        None => builder,
    }
}
