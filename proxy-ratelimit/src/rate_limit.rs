//! A rate limit for requests, whatever they come through.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::answer::Answer;
use crate::key::KeyBytes;
use crate::limiter::AnyLimiter;
use crate::stats::Counters;
use crate::{
    Algorithm, Announce, Answered, Cost, Decision, Key, LimitStats, Limiter, Missing, Remote, Subject, Time, Verdict,
};

mod filter;
mod layer;

pub use layer::{RateLimitFuture, RateLimitLayer, RateLimitService};

/// A limit on how often: a [`Filter`](proxy_core::Filter), and through [`layer`](Self::layer) a tower
/// layer.
///
/// Refused requests get 429 with `Retry-After`, `RateLimit` and `RateLimit-Policy`. Put it before
/// what costs, and behind what finds out who the client is. A clone counts together with the original.
///
/// ```
/// use proxy_core::{BuildError, Proxy, Route, Upstream};
/// use proxy_ratelimit::{Key, Limiter, RateLimit, TokenBucket};
///
/// fn limited(api: impl Upstream) -> Result<Proxy, Box<dyn std::error::Error>> {
///     let bucket = TokenBucket::new("100/s".parse()?);
///     let limit = RateLimit::new(Limiter::new(bucket), Key::client_ip());
///     Ok(Proxy::builder().filter(limit).upstream("api", api).route(Route::to("api")).build()?)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimit(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    engine: Engine,
    key: Key,
    missing: Missing,
    cost: Cost,
    answer: Answer,
    dry_run: bool,
    counters: Arc<Counters>,
}

#[derive(Clone, Debug)]
enum Engine {
    Local(Arc<dyn AnyLimiter>),
    Remote(Arc<dyn Remote>),
}

/// What is known at once.
enum First {
    Pass,
    /// The key is missing and that is refused, or cost is more than there can ever be.
    Decided(Decision),
    /// Someone else has to be asked, about this key and cost.
    Ask(Arc<dyn Remote>, Vec<u8>, u64),
}

/// What follows for the request.
enum Next {
    Pass(Option<Decision>),
    Wait(Duration, Decision),
    Refuse(Refusal),
}

/// The head of a refusal: status and fields.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) fields: Vec<(HeaderName, HeaderValue)>,
}

impl RateLimit {
    /// Limits each key by what the limiter says.
    pub fn new<A: Algorithm>(limiter: Limiter<A>, key: Key) -> Self {
        let quotas = AnyLimiter::quotas(&limiter);
        RateLimit::over(Engine::Local(Arc::new(limiter)), key, quotas)
    }

    /// Limits each key by what is counted somewhere else.
    pub fn remote(limiter: impl Remote, key: Key) -> Self {
        let quotas = limiter.quotas();
        RateLimit::over(Engine::Remote(Arc::new(limiter)), key, quotas)
    }

    fn over(engine: Engine, key: Key, quotas: Vec<crate::Quota>) -> Self {
        RateLimit(Arc::new(Inner {
            engine,
            key,
            missing: Missing::default(),
            cost: Cost::default(),
            answer: Answer::new("default", quotas),
            dry_run: false,
            counters: Arc::default(),
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The name of the policy in `RateLimit` and `RateLimit-Policy`. Default: `default`.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.with(|inner| {
            let quotas = inner.quotas();
            inner.answer = inner.answer.renamed(name, quotas);
        })
    }

    /// What happens to a request whose key is missing. Default: all of them share one limit.
    #[must_use]
    pub fn missing_key(self, missing: Missing) -> Self {
        self.with(|inner| inner.missing = missing)
    }

    /// What a request costs. Default: one.
    #[must_use]
    pub fn cost(self, cost: Cost) -> Self {
        self.with(|inner| inner.cost = cost)
    }

    /// The status of refusals. Default: 429.
    #[must_use]
    pub fn status(self, status: StatusCode) -> Self {
        self.with(|inner| inner.answer.status = status)
    }

    /// When responses say how much is left. Default: when the request is refused.
    #[must_use]
    pub fn announce(self, announce: Announce) -> Self {
        self.with(|inner| inner.answer.announce = announce)
    }

    /// Whether `X-RateLimit-Limit`, `-Remaining` and `-Reset` come beside `RateLimit`. Default: no.
    #[must_use]
    pub fn legacy_fields(self, legacy: bool) -> Self {
        self.with(|inner| inner.answer.legacy = legacy)
    }

    /// Whether everything passes, and is only counted. Default: no.
    #[must_use]
    pub fn dry_run(self, dry_run: bool) -> Self {
        self.with(|inner| inner.dry_run = dry_run)
    }

    /// What it did so far.
    pub fn stats(&self) -> LimitStats {
        self.0.counters.read()
    }

    /// The keys that it remembers, and how many it forgot for want of room; `None` where they are counted elsewhere.
    pub fn keys(&self) -> Option<(usize, u64)> {
        match &self.0.engine {
            Engine::Local(limiter) => Some(limiter.remembered()),
            Engine::Remote(_) => None,
        }
    }

    /// The same limit as a tower layer.
    pub fn layer(&self) -> RateLimitLayer {
        RateLimitLayer::new(self.clone())
    }
}

impl Inner {
    fn quotas(&self) -> Vec<crate::Quota> {
        match &self.engine {
            Engine::Local(limiter) => limiter.quotas(),
            Engine::Remote(remote) => remote.quotas(),
        }
    }

    fn first(&self, subject: &Subject<'_>, now: Time) -> First {
        let cost = self.cost.of(subject);
        match &self.engine {
            Engine::Local(limiter) => {
                let mut hasher = limiter.hasher();
                match (self.key.write(subject, &mut hasher), self.missing) {
                    (None, Missing::Allow) => return First::Pass,
                    (None, Missing::Deny) => return First::Decided(NEVER),
                    (None, Missing::Share) => hasher = limiter.hasher(),
                    (Some(()), _) => {}
                }
                First::Decided(limiter.check_hash(std::hash::Hasher::finish(&hasher), now, cost))
            }
            Engine::Remote(remote) => {
                let mut key = KeyBytes::default();
                match (self.key.write(subject, &mut key), self.missing) {
                    (None, Missing::Allow) => return First::Pass,
                    (None, Missing::Deny) => return First::Decided(NEVER),
                    (None, Missing::Share) => key = KeyBytes::default(),
                    (Some(()), _) => {}
                }
                First::Ask(Arc::clone(remote), key.0, cost)
            }
        }
    }

    fn next(&self, decision: Decision) -> Next {
        let counters = &self.counters;
        match decision.verdict {
            Verdict::Allowed => Next::Pass(Some(decision)),
            _ if self.dry_run => {
                counters.would_refuse.count();
                Next::Pass(None)
            }
            Verdict::Delayed(delay) => {
                counters.delayed.count();
                Next::Wait(delay, decision)
            }
            Verdict::Denied { .. } => {
                counters.refused.count();
                tracing::debug!(limit = decision.limit, "rate limit: refused");
                let mut fields = Vec::new();
                self.answer.fields(&decision, |name, value| fields.push((name, value)));
                Next::Refuse(Refusal { status: self.answer.status, fields })
            }
        }
    }

    fn next_answered(&self, answered: Answered) -> Next {
        match answered {
            Answered::Decided(decision) => self.next(decision),
            Answered::Open => {
                self.counters.undecided.count();
                Next::Pass(None)
            }
            Answered::Closed if self.dry_run => {
                self.counters.would_refuse.count();
                Next::Pass(None)
            }
            Answered::Closed => {
                self.counters.undecided.count();
                let retry = (http::header::RETRY_AFTER, HeaderValue::from_static("1"));
                Next::Refuse(Refusal { status: StatusCode::SERVICE_UNAVAILABLE, fields: vec![retry] })
            }
        }
    }
}

/// What a request without the key it needs is told.
const NEVER: Decision =
    Decision { verdict: Verdict::Denied { retry_after: None }, remaining: 0, more_in: Duration::ZERO, limit: 0 };
