//! Selectors: which backend of an upstream takes a request.

use std::time::Duration;

use super::plugin::Plugin;
use crate::decode::{Cursor, Variant};
use crate::values::duration::positive_duration;
use crate::values::header::{named_field, token};

/// `upstreams.<name>.selector`: `"name"`, or `{"name": settings}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selector {
    /// `"round_robin"`: each in turn.
    #[default]
    RoundRobin,
    /// `"random"`: at random, by weight.
    Random,
    /// `"least_connections"`: the one with the fewest requests in flight.
    LeastConnections,
    /// `"peak_ewma"`: the one of two taken at random that answers sooner.
    PeakEwma {
        /// `decay`: how long it takes until a slow answer is forgotten to a third; longer than zero. 10 s when
        /// absent.
        decay: Option<Duration>,
    },
    /// `"power_of_two"`: the less loaded of two taken at random.
    PowerOfTwo,
    /// `"source_ip_hash"`: the same one for a client address.
    SourceIpHash,
    /// `"consistent_hash"`: the same one for a key, on a ring.
    ConsistentHash(Hash),
    /// `"ketama"`: the same one for a key, on the ring that clients of memcached know.
    Ketama(Hash),
    /// `"maglev"`: the same one for a key, by a table; the most even.
    Maglev(Hash),
    /// `"rendezvous"`: the same one for a key, by the highest score; moves the fewest keys.
    Rendezvous(Hash),
    /// One of a [`Registry`](crate::Registry).
    Plugin(Plugin),
}

/// The settings of a hash selector.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hash {
    /// `key`: what is hashed.
    pub key: HashKey,
    /// `balance_factor`: what a backend may have in flight at most, in percent of the average; 101 to 1000.
    /// What it has no room for goes to the key's next backend. Unlimited when absent.
    pub balance_factor: Option<u32>,
}

/// What a hash selector hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashKey {
    /// `"client_ip"`: the address of the client.
    ClientIp,
    /// `"path"`: the path of the request.
    Path,
    /// `{"header": name}`: the value of a header field; the name in lower case.
    Header(String),
    /// `{"cookie": name}`: the value of a cookie.
    Cookie(String),
    /// `{"query": parameter}`: the value of a parameter of the query.
    Query(String),
}

const BUILT_IN: [Variant<Selector>; 10] = [
    ("consistent_hash", |settings| settings.required(hash).map(Selector::ConsistentHash)),
    ("ketama", |settings| settings.required(hash).map(Selector::Ketama)),
    ("least_connections", |settings| settings.none(Selector::LeastConnections)),
    ("maglev", |settings| settings.required(hash).map(Selector::Maglev)),
    ("peak_ewma", |settings| settings.optional(Selector::PeakEwma { decay: None }, peak_ewma)),
    ("power_of_two", |settings| settings.none(Selector::PowerOfTwo)),
    ("random", |settings| settings.none(Selector::Random)),
    ("rendezvous", |settings| settings.required(hash).map(Selector::Rendezvous)),
    ("round_robin", |settings| settings.none(Selector::RoundRobin)),
    ("source_ip_hash", |settings| settings.none(Selector::SourceIpHash)),
];

/// The names of those that are built in.
pub(crate) fn names() -> Vec<String> {
    BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect()
}

pub(super) fn selector(cursor: Cursor<'_>) -> Option<Selector> {
    cursor.tagged_or("selector", &BUILT_IN, &cursor.report().registry().selector_names(), |settings| {
        settings.plugin(Plugin::new).map(Selector::Plugin)
    })
}

fn peak_ewma(cursor: Cursor<'_>) -> Option<Selector> {
    cursor.object("an object", |fields| Some(Selector::PeakEwma { decay: fields.optional("decay", positive_duration) }))
}

fn hash(cursor: Cursor<'_>) -> Option<Hash> {
    cursor.object("an object", |fields| {
        let key = fields.required("key", r#"one such as {"cookie": "session"}"#, hash_key);
        // At 100 every request but those of the emptiest backend would be turned away.
        let balance_factor = fields.optional("balance_factor", |cursor| cursor.integer(101..=1000));
        Some(Hash { key: key?, balance_factor })
    })
}

fn hash_key(cursor: Cursor<'_>) -> Option<HashKey> {
    cursor.tagged(
        "key",
        &[
            ("client_ip", |settings| settings.none(HashKey::ClientIp)),
            ("cookie", |settings| settings.required(|name| token(name, "a cookie name")).map(HashKey::Cookie)),
            ("header", |settings| settings.required(named_field).map(HashKey::Header)),
            ("path", |settings| settings.none(HashKey::Path)),
            ("query", |settings| settings.required(parameter).map(HashKey::Query)),
        ],
    )
}

fn parameter(cursor: Cursor<'_>) -> Option<String> {
    match cursor.string("the name of a query parameter")? {
        "" => cursor.fail("must not be empty"),
        name => Some(name.to_owned()),
    }
}
