//! Selectors: which backend of an upstream takes a request.

use crate::decode::Cursor;
use crate::values::header::{named_field, token};

/// `upstreams.<name>.selector`: `"name"`, or `{"name": settings}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selector {
    /// `"round_robin"`: each in turn.
    #[default]
    RoundRobin,
    /// `"random"`
    Random,
    /// `"least_connections"`: the one with the fewest requests in flight.
    LeastConnections,
    /// `"peak_ewma"`: the one that answers soonest.
    PeakEwma,
    /// `"power_of_two"`: the less loaded of two taken at random.
    PowerOfTwo,
    /// `"source_ip_hash"`: the same one for a client address.
    SourceIpHash,
    /// `"consistent_hash"`: the same one for a key, on a ring.
    ConsistentHash {
        /// `key`
        key: HashKey,
    },
    /// `"maglev"`: the same one for a key, by a table.
    Maglev {
        /// `key`
        key: HashKey,
    },
    /// `"rendezvous"`: the same one for a key, by the highest score.
    Rendezvous {
        /// `key`
        key: HashKey,
    },
}

/// What a hash selector hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashKey {
    /// `"client_ip"`
    ClientIp,
    /// `"path"`
    Path,
    /// `{"header": name}`; the name in lower case.
    Header(String),
    /// `{"cookie": name}`
    Cookie(String),
    /// `{"query": parameter}`
    Query(String),
}

pub(super) fn selector(cursor: Cursor<'_>) -> Option<Selector> {
    cursor.tagged(
        "selector",
        &[
            ("consistent_hash", |settings| settings.required(hash).map(|key| Selector::ConsistentHash { key })),
            ("least_connections", |settings| settings.none(Selector::LeastConnections)),
            ("maglev", |settings| settings.required(hash).map(|key| Selector::Maglev { key })),
            ("peak_ewma", |settings| settings.none(Selector::PeakEwma)),
            ("power_of_two", |settings| settings.none(Selector::PowerOfTwo)),
            ("random", |settings| settings.none(Selector::Random)),
            ("rendezvous", |settings| settings.required(hash).map(|key| Selector::Rendezvous { key })),
            ("round_robin", |settings| settings.none(Selector::RoundRobin)),
            ("source_ip_hash", |settings| settings.none(Selector::SourceIpHash)),
        ],
    )
}

fn hash(cursor: Cursor<'_>) -> Option<HashKey> {
    cursor.object("an object", |fields| fields.required("key", r#"one such as {"cookie": "session"}"#, hash_key))
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
