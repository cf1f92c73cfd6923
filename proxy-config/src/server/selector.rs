//! Selectors, as the configuration names them.

use proxy_core::Selector;
use proxy_lb::{
    BoundedLoad, ConsistentHash, HashKey, LeastConnections, Maglev, PeakEwma, PowerOfTwo, Rendezvous, RingHash,
    RoundRobin, SourceIpHash, WeightedRandom,
};

use crate::{Hash, Registry};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(super) fn selector(config: &crate::Selector, registry: &Registry) -> Result<Box<dyn Selector>, BoxError> {
    Ok(match config {
        crate::Selector::RoundRobin => Box::new(RoundRobin::new()),
        crate::Selector::Random => Box::new(WeightedRandom::new()),
        crate::Selector::LeastConnections => Box::new(LeastConnections::new()),
        crate::Selector::PowerOfTwo => Box::new(PowerOfTwo::new()),
        crate::Selector::PeakEwma { decay } => Box::new(match decay {
            Some(decay) => PeakEwma::new().decay(*decay),
            None => PeakEwma::new(),
        }),
        crate::Selector::SourceIpHash => Box::new(SourceIpHash::new()),
        crate::Selector::ConsistentHash(hash) => bounded(RingHash::new(key(&hash.key)), hash),
        crate::Selector::Ketama(hash) => bounded(RingHash::ketama(key(&hash.key)), hash),
        crate::Selector::Maglev(hash) => bounded(Maglev::new(key(&hash.key)), hash),
        crate::Selector::Rendezvous(hash) => bounded(Rendezvous::new(key(&hash.key)), hash),
        crate::Selector::Plugin(plugin) => registry.make_selector(&plugin.name, &plugin.settings)?,
    })
}

fn bounded(selector: impl ConsistentHash, config: &Hash) -> Box<dyn Selector> {
    match config.balance_factor {
        Some(percent) => Box::new(BoundedLoad::new(selector).percent(percent)),
        None => Box::new(selector),
    }
}

fn key(config: &crate::HashKey) -> HashKey {
    match config {
        crate::HashKey::ClientIp => HashKey::ClientIp,
        crate::HashKey::Path => HashKey::Path,
        crate::HashKey::Header(name) => HashKey::Header(name.clone()),
        crate::HashKey::Cookie(name) => HashKey::Cookie(name.clone()),
        crate::HashKey::Query(name) => HashKey::Query(name.clone()),
    }
}
