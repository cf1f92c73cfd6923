//! The filter that limits how often.

use std::num::NonZeroU32;

use crate::decode::Cursor;
use crate::values::header::{named_field, token};
use crate::values::rate::{Rate, rate};

/// `rate_limit`: refuses requests beyond a rate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// `algorithm`
    pub algorithm: RateAlgorithm,
    /// `key`: what has a limit of its own.
    pub key: RateKey,
    /// `rate`
    pub rate: Rate,
    /// `burst`: how many may come at once, never 0.
    pub burst: Option<NonZeroU32>,
}

/// How a rate limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateAlgorithm {
    /// `"token_bucket"`
    TokenBucket,
    /// `"gcra"`
    Gcra,
    /// `"sliding_window"`: two buckets, weighted.
    SlidingWindow,
    /// `"sliding_window_log"`
    SlidingWindowLog,
    /// `"fixed_window"`
    FixedWindow,
    /// `"leaky_bucket"`
    LeakyBucket,
}

/// What has a rate limit of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateKey {
    /// `"client_ip"`: every client address.
    ClientIp,
    /// `"host"`: every host.
    Host,
    /// `"path"`: every path.
    Path,
    /// `{"header": name}`: every value of this field; the name in lower case.
    Header(String),
    /// `{"cookie": name}`: every value of this cookie.
    Cookie(String),
}

pub(super) fn rate_limit(cursor: Cursor<'_>) -> Option<RateLimit> {
    cursor.object("an object", |fields| {
        let algorithm = fields.required("algorithm", r#"one such as "token_bucket""#, algorithm);
        let key = fields.required("key", r#"one such as "client_ip""#, key);
        let rate = fields.required("rate", r#"a rate such as "100/s""#, rate);
        let burst = fields.optional("burst", |cursor| cursor.integer(NonZeroU32::MIN..=NonZeroU32::MAX));
        Some(RateLimit { algorithm: algorithm?, key: key?, rate: rate?, burst })
    })
}

fn algorithm(cursor: Cursor<'_>) -> Option<RateAlgorithm> {
    cursor.tagged(
        "algorithm",
        &[
            ("fixed_window", |settings| settings.none(RateAlgorithm::FixedWindow)),
            ("gcra", |settings| settings.none(RateAlgorithm::Gcra)),
            ("leaky_bucket", |settings| settings.none(RateAlgorithm::LeakyBucket)),
            ("sliding_window", |settings| settings.none(RateAlgorithm::SlidingWindow)),
            ("sliding_window_log", |settings| settings.none(RateAlgorithm::SlidingWindowLog)),
            ("token_bucket", |settings| settings.none(RateAlgorithm::TokenBucket)),
        ],
    )
}

fn key(cursor: Cursor<'_>) -> Option<RateKey> {
    cursor.tagged(
        "key",
        &[
            ("client_ip", |settings| settings.none(RateKey::ClientIp)),
            ("cookie", |settings| settings.required(|name| token(name, "a cookie name")).map(RateKey::Cookie)),
            ("header", |settings| settings.required(named_field).map(RateKey::Header)),
            ("host", |settings| settings.none(RateKey::Host)),
            ("path", |settings| settings.none(RateKey::Path)),
        ],
    )
}
