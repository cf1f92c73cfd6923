//! Limits, as the configuration names them.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use proxy_core::Filter;
use proxy_metrics::LimitState;
use proxy_ratelimit::{
    Algorithm, Announce, BandwidthLimit, ConcurrencyLimit, ConnectionLimit, Cost, FixedWindow, Gcra, GradientSettings,
    Key, LeakyBucket, LimitStats, Limiter, Missing, OnFailure, Priorities, Quota, QuotaError, RateLimit, RedisError,
    RedisLimiter, RedisSettings, SharedAlgorithm, SlidingLog, SlidingWindow, TokenBucket,
};

use super::upstream::set;
use crate::{
    ConcurrencyBound, MissingKey, Rate, RateAlgorithm, RateCost, RateHeaders, RateKey, RateQuota, RateRedis,
    RedisFailure,
};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What a body costs whose length is not announced, in units.
const UNKNOWN_BODY: u64 = 1;
/// How long start-up waits for Redis.
const PATIENCE: Duration = Duration::from_secs(1);

/// The limit; `place` is its name where it has none.
pub(super) fn rate_limit(place: &str, settings: &crate::RateLimit) -> Result<RateLimit, Source> {
    let name = settings.name.as_deref().unwrap_or(place);
    let limit = engine(name, settings)?.name(name);
    let limit = limit.missing_key(match settings.missing_key {
        Some(MissingKey::Allow) => Missing::Allow,
        Some(MissingKey::Deny) => Missing::Deny,
        Some(MissingKey::Share) | None => Missing::Share,
    });
    let limit = limit.announce(match settings.headers {
        Some(RateHeaders::Always) => Announce::Always,
        Some(RateHeaders::Never) => Announce::Never,
        Some(RateHeaders::Refused) | None => Announce::Refused,
    });
    let limit = limit.legacy_fields(settings.x_headers == Some(true)).dry_run(settings.dry_run == Some(true));
    let limit = limit.status(status(settings.status, StatusCode::TOO_MANY_REQUESTS));
    Ok(limit.cost(settings.cost.as_ref().map_or_else(Cost::one, cost)))
}

fn engine(name: &str, settings: &crate::RateLimit) -> Result<RateLimit, Source> {
    let quotas: Vec<_> = settings.limits.iter().map(quota).collect::<Result<_, _>>()?;
    match (settings.algorithm, &settings.redis) {
        (RateAlgorithm::TokenBucket, Some(redis)) => shared(TokenBucket::new(first(&quotas)?), name, redis, settings),
        (RateAlgorithm::Gcra, Some(redis)) => shared(Gcra::new(first(&quotas)?), name, redis, settings),
        (RateAlgorithm::LeakyBucket, Some(redis)) => shared(LeakyBucket::new(first(&quotas)?), name, redis, settings),
        (RateAlgorithm::SlidingWindow, Some(redis)) => {
            shared(SlidingWindow::new(first(&quotas)?), name, redis, settings)
        }
        (RateAlgorithm::FixedWindow, Some(redis)) => shared(FixedWindow::new(first(&quotas)?), name, redis, settings),
        // The schema lets no other pass with Redis.
        (RateAlgorithm::SlidingWindowLog, _) => local(SlidingLog::new, &quotas, settings),
        (RateAlgorithm::TokenBucket, None) => local(TokenBucket::new, &quotas, settings),
        (RateAlgorithm::Gcra, None) => local(Gcra::new, &quotas, settings),
        (RateAlgorithm::LeakyBucket, None) => local(LeakyBucket::new, &quotas, settings),
        (RateAlgorithm::SlidingWindow, None) => local(SlidingWindow::new, &quotas, settings),
        (RateAlgorithm::FixedWindow, None) => local(FixedWindow::new, &quotas, settings),
    }
}

fn first(quotas: &[Quota]) -> Result<Quota, Source> {
    quotas.first().copied().ok_or_else(|| "has no limit".into())
}

/// One to four limits of a kind, each number of them a type of its own.
fn local<A: Algorithm>(
    make: impl Fn(Quota) -> A,
    quotas: &[Quota],
    settings: &crate::RateLimit,
) -> Result<RateLimit, Source> {
    match *quotas {
        [a] => limited(make(a), settings),
        [a, b] => limited([a, b].map(make), settings),
        [a, b, c] => limited([a, b, c].map(make), settings),
        [a, b, c, d] => limited([a, b, c, d].map(make), settings),
        _ => Err("needs one to four limits".into()),
    }
}

fn limited<A: Algorithm>(algorithm: A, settings: &crate::RateLimit) -> Result<RateLimit, Source> {
    let mut limiter = Limiter::new(algorithm);
    if let Some(keys) = settings.max_keys {
        limiter = limiter.with_capacity(keys);
    }
    if let Some(global) = &settings.global {
        limiter = limiter.with_global(quota(global)?);
    }
    Ok(RateLimit::new(limiter, key(&settings.key)?))
}

fn shared<A: SharedAlgorithm>(
    algorithm: A,
    name: &str,
    redis: &RateRedis,
    settings: &crate::RateLimit,
) -> Result<RateLimit, Source> {
    let mut to = RedisSettings::new(&redis.url, name).on_failure(match redis.on_failure {
        Some(RedisFailure::Open) => OnFailure::Open,
        Some(RedisFailure::Closed) => OnFailure::Closed,
        Some(RedisFailure::Local) | None => OnFailure::Local,
    });
    if let Some(sync) = redis.approximate {
        to = to.approximate(sync);
    }
    if let Some(deadline) = redis.deadline {
        to = to.deadline(deadline);
    }
    if let Some(keys) = settings.max_keys {
        to = to.capacity(keys);
    }
    let limiter = RedisLimiter::new(algorithm, &to)?;
    start(&limiter, name, redis.on_failure)?;
    Ok(RateLimit::remote(limiter, key(&settings.key)?))
}

/// Who refuses everything without Redis does not start without it.
fn start(limiter: &RedisLimiter, name: &str, on_failure: Option<RedisFailure>) -> Result<(), RedisError> {
    match limiter.check_reachable(PATIENCE) {
        Err(error) if on_failure == Some(RedisFailure::Closed) => Err(error),
        Err(error) => {
            tracing::warn!(limit = name, %error, "starting without the shared limit");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn quota(settings: &RateQuota) -> Result<Quota, QuotaError> {
    let quota = of_rate(settings.rate)?;
    Ok(settings.burst.map_or(quota, |burst| quota.with_burst(burst.into())))
}

fn of_rate(rate: Rate) -> Result<Quota, QuotaError> {
    Quota::new(rate.count.into(), rate.per)
}

fn key(parts: &[RateKey]) -> Result<Key, Source> {
    let mut keys = parts.iter().map(key_part);
    let first = keys.next().ok_or("has no key")??;
    keys.try_fold(first, |all, key| Ok(all.and(key?)))
}

fn key_part(part: &RateKey) -> Result<Key, Source> {
    Ok(match part {
        RateKey::ClientIp { v4, v6 } => Key::client_network(v4.unwrap_or(32), v6.unwrap_or(64)),
        RateKey::Connection => Key::connection(),
        RateKey::Everything => Key::everything(),
        RateKey::Host => Key::host(),
        RateKey::Method => Key::method(),
        RateKey::Path => Key::path(),
        RateKey::Route => Key::route(),
        RateKey::TlsClient => Key::tls_client(),
        RateKey::User => Key::user(),
        RateKey::Header(name) => Key::header(HeaderName::from_bytes(name.as_bytes())?),
        RateKey::Cookie(name) => Key::cookie(name),
    })
}

fn cost(cost: &RateCost) -> Cost {
    match cost {
        RateCost::Methods(costs) => {
            let costs = costs.iter();
            // The schema lets only tokens through, and every token is a method.
            Cost::by_method(
                costs.filter_map(|(name, cost)| Some((Method::from_bytes(name.as_bytes()).ok()?, u64::from(*cost)))),
            )
        }
        RateCost::Body(unit) => Cost::by_body(NonZeroU64::new(*unit).unwrap_or(NonZeroU64::MIN), UNKNOWN_BODY),
    }
}

fn status(configured: Option<u16>, otherwise: StatusCode) -> StatusCode {
    configured.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(otherwise)
}

pub(super) fn concurrency_limit(settings: &crate::ConcurrencyLimit) -> Result<ConcurrencyLimit, Source> {
    let per_key = settings.per_key.as_ref().map(|keyed| Ok::<_, Source>((key(&keyed.key)?, keyed.max))).transpose()?;
    let limit = match (settings.bound, per_key) {
        (Some(bound), Some((key, max))) => bounded(bound).per_key(key, max),
        (Some(bound), None) => bounded(bound),
        (None, Some((key, max))) => ConcurrencyLimit::keyed(key, max),
        (None, None) => return Err("limits nothing".into()),
    };
    let limit = match settings.queue {
        Some(queue) => limit.queue(queue.length, queue.timeout.unwrap_or(Duration::from_secs(1))),
        None => limit,
    };
    let limit = match &settings.priorities {
        Some(settings) => limit.priorities(priorities(settings)?),
        None => limit,
    };
    Ok(limit.status(status(settings.status, StatusCode::SERVICE_UNAVAILABLE)))
}

fn bounded(bound: ConcurrencyBound) -> ConcurrencyLimit {
    match bound {
        ConcurrencyBound::Max(max) => ConcurrencyLimit::new(max),
        ConcurrencyBound::Adaptive { floor, ceiling, initial } => {
            let mut settings = GradientSettings::default();
            set(&mut settings.floor, floor);
            set(&mut settings.ceiling, ceiling);
            set(&mut settings.initial, initial);
            ConcurrencyLimit::adaptive(settings)
        }
    }
}

fn priorities(settings: &crate::Priorities) -> Result<Priorities, Source> {
    let header = HeaderName::from_bytes(settings.header.as_bytes())?;
    let classes = settings.classes.iter();
    let priorities =
        classes.fold(Priorities::new(header), |priorities, class| priorities.class(&class.value, class.percent));
    Ok(settings.default.iter().fold(priorities, |priorities, value| priorities.default_class(value)))
}

pub(super) fn bandwidth_limit(settings: &crate::BandwidthLimit) -> Result<Arc<dyn Filter>, Source> {
    let key = settings.key.as_deref().map_or_else(|| Ok(Key::connection()), key)?;
    let rate = |bytes: u64| {
        let rate = Quota::per_second(NonZeroU64::new(bytes).unwrap_or(NonZeroU64::MIN));
        settings.burst.and_then(NonZeroU64::new).map_or(rate, |burst| rate.with_burst(burst))
    };
    let limit = BandwidthLimit::new(key);
    let limit = settings.down.into_iter().fold(limit, |limit, bytes| limit.down(rate(bytes)));
    Ok(Arc::new(settings.up.into_iter().fold(limit, |limit, bytes| limit.up(rate(bytes)))))
}

pub(super) fn connection_limit(settings: &crate::ConnectionLimit) -> Result<ConnectionLimit, Source> {
    let mut limit = ConnectionLimit::new();
    if let Some(rate) = settings.rate_per_client {
        limit = limit.rate_per_client(of_rate(rate)?);
    }
    if let Some(rate) = settings.rate {
        limit = limit.rate(of_rate(rate)?);
    }
    let limit = settings.open_per_client.into_iter().fold(limit, ConnectionLimit::open_per_client);
    Ok(settings.open.into_iter().fold(limit, ConnectionLimit::open))
}

/// What a limit on requests in time did.
pub(super) fn state_of_rate(limit: &RateLimit) -> LimitState {
    let mut state = counted(limit.stats());
    if let Some((keys, forgotten)) = limit.keys() {
        (state.keys, state.forgotten) = (Some(keys as u64), forgotten);
    }
    state
}

/// What a limit on requests at a time did.
pub(super) fn state_of_concurrency(limit: &ConcurrencyLimit) -> LimitState {
    let mut state = counted(limit.stats());
    if let Some(most) = limit.limit() {
        (state.in_flight, state.most) = (Some(limit.in_flight() as u64), Some(most as u64));
    }
    state
}

/// What a limit on connections did.
pub(super) fn state_of_connections(limit: &ConnectionLimit) -> LimitState {
    counted(limit.stats())
}

fn counted(stats: LimitStats) -> LimitState {
    let mut state = LimitState::default();
    (state.refused, state.delayed) = (stats.refused, stats.delayed);
    (state.would_refuse, state.undecided) = (stats.would_refuse, stats.undecided);
    state
}
