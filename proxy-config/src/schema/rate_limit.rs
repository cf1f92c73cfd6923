//! The filter that limits how often.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::secret::secret;
use crate::decode::{Cursor, quote};
use crate::values::count::at_least_one;
use crate::values::duration::positive_duration;
use crate::values::header::{is_token, named_field, token};
use crate::values::rate::{Rate, rate};
use crate::values::size::size;

/// `rate_limit`: refuses requests beyond a rate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// `algorithm`: how it counts.
    pub algorithm: RateAlgorithm,
    /// `key`: what has a limit of its own; all of these together.
    pub key: Vec<RateKey>,
    /// `limits`: one to four, and a request must pass all; instead of `rate` and `burst`.
    pub limits: Vec<RateQuota>,
    /// `global`: a limit on all keys together.
    pub global: Option<RateQuota>,
    /// `missing_key`: what happens to requests without the key; `share` when absent.
    pub missing_key: Option<MissingKey>,
    /// `cost`: what a request costs, if not one.
    pub cost: Option<RateCost>,
    /// `max_keys`: how many keys are remembered; 1,048,576 when absent.
    pub max_keys: Option<usize>,
    /// `name`: of the policy in `RateLimit`, and of the limit across instances and reloads.
    pub name: Option<String>,
    /// `status`: of refusals; 429 when absent.
    pub status: Option<u16>,
    /// `headers`: when responses say how much is left; `refused` when absent.
    pub headers: Option<RateHeaders>,
    /// `x_headers`: whether `X-RateLimit-*` come as well; `false` when absent.
    pub x_headers: Option<bool>,
    /// `dry_run`: whether everything passes, and is only counted; `false` when absent.
    pub dry_run: Option<bool>,
    /// `redis`: where instances count together.
    pub redis: Option<RateRedis>,
}

/// A rate and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateQuota {
    /// `rate`: how many requests in how much time.
    pub rate: Rate,
    /// `burst`: how many may come at once, or wait in a leaky bucket; never 0.
    pub burst: Option<NonZeroU32>,
}

/// `missing_key`: what happens to requests without the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingKey {
    /// `"share"`: they share one limit.
    Share,
    /// `"allow"`: they pass.
    Allow,
    /// `"deny"`: they are refused.
    Deny,
}

/// `cost`: what a request costs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateCost {
    /// `{"methods": {"POST": 10}}`: others cost one.
    Methods(BTreeMap<String, u32>),
    /// `{"body": "64KiB"}`: one, and one more for each so many bytes of body.
    Body(u64),
}

/// `headers`: when responses say how much is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateHeaders {
    /// `"refused"`: refusals do.
    Refused,
    /// `"always"`: all responses do.
    Always,
    /// `"never"`: none does.
    Never,
}

/// `redis`: where instances count together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateRedis {
    /// `url`: such as `redis://127.0.0.1:6379`; as it may hold a password, `{"file": path}` reads it from a file.
    pub url: String,
    /// `approximate`: decide alone, and tell Redis this often.
    pub approximate: Option<Duration>,
    /// `deadline`: how long an answer may take.
    pub deadline: Option<Duration>,
    /// `on_failure`: what happens while there is none; `local` when absent.
    pub on_failure: Option<RedisFailure>,
}

/// `on_failure`: what happens while Redis does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisFailure {
    /// `"local"`: each instance limits by itself.
    Local,
    /// `"open"`: requests pass.
    Open,
    /// `"closed"`: requests are refused, and the server does not start without Redis.
    Closed,
}

/// How a rate limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateAlgorithm {
    /// `"token_bucket"`: tokens come at the rate, as many as the burst are kept.
    TokenBucket,
    /// `"gcra"`: the same by the time of the next request, in less memory.
    Gcra,
    /// `"sliding_window"`: this window and the one before, weighted.
    SlidingWindow,
    /// `"sliding_window_log"`: the time of each request; exact.
    SlidingWindowLog,
    /// `"fixed_window"`: windows that start anew.
    FixedWindow,
    /// `"leaky_bucket"`: requests wait their turn.
    LeakyBucket,
}

impl RateAlgorithm {
    /// Windows start anew instead.
    fn has_burst(self) -> bool {
        matches!(self, Self::TokenBucket | Self::Gcra | Self::LeakyBucket)
    }
}

/// What has a rate limit of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateKey {
    /// `"client_ip"`: every client address; IPv6 by its leading 64 bits, or as many as
    /// `{"client_ip": {"ipv4_prefix": 24, "ipv6_prefix": 48}}` says.
    ClientIp {
        /// `ipv4_prefix`: leading bits of an IPv4 address; 32 when absent.
        v4: Option<u8>,
        /// `ipv6_prefix`: leading bits of an IPv6 address; 64 when absent.
        v6: Option<u8>,
    },
    /// `"connection"`: every connection.
    Connection,
    /// `"everything"`: all requests have one limit.
    Everything,
    /// `"host"`: every host.
    Host,
    /// `"method"`: every method.
    Method,
    /// `"path"`: every path.
    Path,
    /// `"route"`: every route.
    Route,
    /// `"tls_client"`: every client by its certificate: its first URI, its first DNS name, or its fingerprint.
    TlsClient,
    /// `"user"`: every user of a forward proxy with `users`.
    User,
    /// `{"header": name}`: every value of this field; the name in lower case.
    Header(String),
    /// `{"cookie": name}`: every value of this cookie.
    Cookie(String),
}

/// Beyond this a bound is none.
const MOST_LIMITS: usize = 4;

pub(super) fn rate_limit(cursor: Cursor<'_>) -> Option<RateLimit> {
    cursor.object("an object", |fields| {
        let algorithm = fields.required("algorithm", r#"one such as "token_bucket""#, algorithm);
        let key = fields.required("key", r#"one such as "client_ip""#, key);
        let rate = fields.required_unless(&["limits"], "rate", r#"a rate such as "100/s""#, rate);
        let burst = fields.optional("burst", burst);
        fields.at_most_one(&["rate", "limits"]);
        fields.at_most_one(&["burst", "limits"]);
        let one = rate.map(|rate| vec![RateQuota { rate, burst }]);
        let several = fields.optional("limits", limits);
        let global = fields.optional("global", rate_quota);
        let missing_key = fields.optional("missing_key", missing_key);
        let cost = fields.optional("cost", cost);
        let max_keys = fields.optional("max_keys", at_least_one);
        let name = fields.optional("name", |cursor| token(cursor, "a name of letters, digits, - or _"));
        let status = fields.optional("status", status);
        let headers = fields.optional("headers", headers);
        let x_headers = fields.flag("x_headers");
        let dry_run = fields.flag("dry_run");
        let redis = fields.optional("redis", redis);
        let limits = one.or(several)?;
        let (algorithm, key) = (algorithm?, key?);
        check_algorithm(algorithm, fields.object(), limits.len(), redis.as_ref());
        Some(RateLimit {
            algorithm,
            key,
            limits,
            global,
            missing_key,
            cost,
            max_keys,
            name,
            status,
            headers,
            x_headers,
            dry_run,
            redis,
        })
    })
}

/// What goes with some algorithms only.
fn check_algorithm(algorithm: RateAlgorithm, object: Cursor<'_>, limits: usize, redis: Option<&RateRedis>) {
    let refuse = |key, message: &str| {
        object.revisit_key(key, |value| {
            value.fail::<()>(message);
        });
    };
    if !algorithm.has_burst() {
        refuse("burst", "a window has no burst; its rate is all there is");
    }
    let bucket = matches!(algorithm, RateAlgorithm::TokenBucket | RateAlgorithm::Gcra);
    match redis {
        Some(_) if algorithm == RateAlgorithm::SlidingWindowLog => {
            refuse("redis", r#"a "sliding_window_log" cannot be shared; a "sliding_window" can"#);
        }
        Some(_) if limits > 1 => refuse("redis", "several limits at once cannot be shared; use a filter for each"),
        Some(redis) if redis.approximate.is_some() && !bucket => {
            refuse("redis", r#"only "token_bucket" and "gcra" have an approximate mode"#);
        }
        Some(_) => refuse("global", "is not counted in Redis; use a filter with the key \"everything\""),
        None => {}
    }
}

fn limits(cursor: Cursor<'_>) -> Option<Vec<RateQuota>> {
    let limits = cursor.non_empty_list("an array of objects with a rate and a burst", rate_quota)?;
    if limits.len() > MOST_LIMITS {
        return cursor.fail(format!("has more than {MOST_LIMITS} limits"));
    }
    Some(limits)
}

fn rate_quota(cursor: Cursor<'_>) -> Option<RateQuota> {
    cursor.object("an object", |fields| {
        let rate = fields.required("rate", r#"a rate such as "100/s""#, rate);
        let burst = fields.optional("burst", burst);
        Some(RateQuota { rate: rate?, burst })
    })
}

fn burst(cursor: Cursor<'_>) -> Option<NonZeroU32> {
    cursor.integer(NonZeroU32::MIN..=NonZeroU32::MAX)
}

/// A refusal's status.
pub(super) fn status(cursor: Cursor<'_>) -> Option<u16> {
    cursor.integer(400..=599)
}

fn missing_key(cursor: Cursor<'_>) -> Option<MissingKey> {
    cursor.tagged(
        "policy",
        &[
            ("allow", |settings| settings.none(MissingKey::Allow)),
            ("deny", |settings| settings.none(MissingKey::Deny)),
            ("share", |settings| settings.none(MissingKey::Share)),
        ],
    )
}

fn cost(cursor: Cursor<'_>) -> Option<RateCost> {
    cursor.tagged(
        "cost",
        &[
            ("body", |settings| settings.required(body_unit).map(RateCost::Body)),
            ("methods", |settings| settings.required(method_costs).map(RateCost::Methods)),
        ],
    )
}

fn body_unit(cursor: Cursor<'_>) -> Option<u64> {
    match size(cursor)? {
        0 => cursor.fail("must be larger than zero"),
        unit => Some(unit),
    }
}

fn method_costs(cursor: Cursor<'_>) -> Option<BTreeMap<String, u32>> {
    cursor.non_empty_map("an object with a cost per method", |name, value| {
        if !is_token(name) {
            return value.fail(format!("{} is not a method", quote(name)));
        }
        value.integer(0..=u32::MAX)
    })
}

fn headers(cursor: Cursor<'_>) -> Option<RateHeaders> {
    cursor.tagged(
        "time",
        &[
            ("always", |settings| settings.none(RateHeaders::Always)),
            ("never", |settings| settings.none(RateHeaders::Never)),
            ("refused", |settings| settings.none(RateHeaders::Refused)),
        ],
    )
}

fn redis(cursor: Cursor<'_>) -> Option<RateRedis> {
    cursor.object("an object", |fields| {
        let url = fields.required("url", REDIS_URL, redis_url);
        let approximate = fields.optional("approximate", positive_duration);
        let deadline = fields.optional("deadline", positive_duration);
        let on_failure = fields.optional("on_failure", on_failure);
        Some(RateRedis { url: url?, approximate, deadline, on_failure })
    })
}

const REDIS_URL: &str = r#"a URL such as "redis://127.0.0.1:6379""#;

fn redis_url(cursor: Cursor<'_>) -> Option<String> {
    let text = secret(cursor, REDIS_URL)?.into_string();
    match text.strip_prefix("redis://").or_else(|| text.strip_prefix("unix://")) {
        _ if text.starts_with("rediss://") => cursor.fail("Redis over TLS is not in this build"),
        Some(rest) if !rest.is_empty() && !rest.contains(char::is_whitespace) => Some(text),
        // The text may hold a password.
        _ => cursor.fail(format!("expected {REDIS_URL}")),
    }
}

fn on_failure(cursor: Cursor<'_>) -> Option<RedisFailure> {
    cursor.tagged(
        "policy",
        &[
            ("closed", |settings| settings.none(RedisFailure::Closed)),
            ("local", |settings| settings.none(RedisFailure::Local)),
            ("open", |settings| settings.none(RedisFailure::Open)),
        ],
    )
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

/// One part, or an array of parts that make a key together.
pub(super) fn key(cursor: Cursor<'_>) -> Option<Vec<RateKey>> {
    match cursor.is_array() {
        true => cursor.non_empty_list("an array of keys", key_part),
        false => Some(vec![key_part(cursor)?]),
    }
}

fn key_part(cursor: Cursor<'_>) -> Option<RateKey> {
    cursor.tagged(
        "key",
        &[
            ("client_ip", |settings| settings.optional(RateKey::ClientIp { v4: None, v6: None }, client_ip)),
            ("connection", |settings| settings.none(RateKey::Connection)),
            ("cookie", |settings| settings.required(|name| token(name, "a cookie name")).map(RateKey::Cookie)),
            ("everything", |settings| settings.none(RateKey::Everything)),
            ("header", |settings| settings.required(named_field).map(RateKey::Header)),
            ("host", |settings| settings.none(RateKey::Host)),
            ("method", |settings| settings.none(RateKey::Method)),
            ("path", |settings| settings.none(RateKey::Path)),
            ("route", |settings| settings.none(RateKey::Route)),
            ("tls_client", |settings| settings.none(RateKey::TlsClient)),
            ("user", |settings| settings.none(RateKey::User)),
        ],
    )
}

fn client_ip(cursor: Cursor<'_>) -> Option<RateKey> {
    cursor.object("an object", |fields| {
        let v4 = fields.optional("ipv4_prefix", |cursor| cursor.integer(0..=32));
        let v6 = fields.optional("ipv6_prefix", |cursor| cursor.integer(0..=128));
        Some(RateKey::ClientIp { v4, v6 })
    })
}
