//! Limits for a fleet, counted in Redis or Valkey.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisResult, Script};
use tokio::time::timeout;

use crate::limiter::AnyLimiter;
use crate::{Answered, Decision, Limiter, Quota, Remote, Time, Verdict};

mod algorithm;
mod approximate;
mod outage;

pub use algorithm::SharedAlgorithm;

use algorithm::Scripted;
use approximate::Approximate;
use outage::Outage;

/// A limit that all instances with the same name and Redis count together.
///
/// *Exact* (the default): each decision is one round trip, a script that Redis runs by its hash
/// and by its own clock, so that the clocks of the instances do not matter.
///
/// *Approximate* ([`RedisSettings::approximate`]): an instance decides by itself and tells Redis what
/// it let pass every so many milliseconds, all keys in one round trip; it gets back what the fleet
/// used. What was let pass beyond the limit is a debt that is waited off: over time the fleet
/// keeps the rate, and within an interval each instance may pass what it would alone.
///
/// Each answer has a deadline, 20 ms unless said otherwise. After three failures in a row Redis is left
/// alone for 50 ms, then up to a second, with one request at a time to try; until it is back,
/// [`OnFailure`] decides. Keys expire by themselves. Each script touches one key, which carries a hash tag:
/// `ratelimit:NAME:{KEY}`. So keys spread over a Redis Cluster behind whatever routes by them (a proxy, a managed
/// endpoint); the connection here is to one address and follows no redirections.
///
/// ```no_run
/// use proxy_ratelimit::{Gcra, Key, OnFailure, RateLimit, RedisLimiter, RedisSettings};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = RedisSettings::new("redis://127.0.0.1:6379", "api").on_failure(OnFailure::Local);
/// let limiter = RedisLimiter::new(Gcra::new("100/s".parse()?), &settings)?;
/// let filter = RateLimit::remote(limiter, Key::client_ip());
/// # Ok(())
/// # }
/// ```
pub struct RedisLimiter {
    scripted: Arc<dyn Scripted>,
    redis: Arc<Redis>,
    mode: Mode,
    on_failure: OnFailure,
    local: Arc<dyn AnyLimiter>,
}

enum Mode {
    Exact,
    Approximate(Arc<Approximate>),
}

/// Where the limit is counted, and under which name.
#[derive(Clone)]
pub struct RedisSettings {
    url: String,
    name: String,
    deadline: Duration,
    on_failure: OnFailure,
    sync: Option<Duration>,
    capacity: usize,
}

impl fmt::Debug for RedisSettings {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings").field("name", &self.name).field("sync", &self.sync).finish_non_exhaustive()
    }
}

/// What happens while Redis does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnFailure {
    /// Each instance limits by itself, to the whole quota.
    #[default]
    Local,
    /// Requests pass.
    Open,
    /// Requests are refused, with 503.
    Closed,
}

impl RedisSettings {
    /// At this URL (`redis://[user:password@]host[:port][/database]`, `unix:///path`), under this
    /// name: instances that share a limit give it the same.
    pub fn new(url: &str, name: &str) -> Self {
        RedisSettings {
            url: url.to_owned(),
            name: name.to_owned(),
            deadline: Duration::from_millis(20),
            on_failure: OnFailure::default(),
            sync: None,
            capacity: 1 << 20,
        }
    }

    /// How long an answer may take. Default: 20 ms.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        RedisSettings { deadline, ..self }
    }

    /// What happens while Redis does not answer. Default: each instance limits by itself.
    #[must_use]
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        RedisSettings { on_failure, ..self }
    }

    /// Decides by itself and tells Redis this often. For [`Gcra`](crate::Gcra) and
    /// [`TokenBucket`](crate::TokenBucket). Default: no, each decision is Redis'.
    #[must_use]
    pub fn approximate(self, sync: Duration) -> Self {
        RedisSettings { sync: Some(sync.max(Duration::from_millis(1))), ..self }
    }

    /// How many keys are remembered here, for the approximate mode and while Redis does not answer.
    /// Default: 1,048,576.
    #[must_use]
    pub fn capacity(self, keys: usize) -> Self {
        RedisSettings { capacity: keys, ..self }
    }
}

impl RedisLimiter {
    /// Limits by this algorithm. It connects when it is first asked; [`check_reachable`](Self::check_reachable)
    /// asks at once.
    ///
    /// # Errors
    /// If the URL is not one, or the algorithm has no approximate mode and that was asked for.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new<A: SharedAlgorithm>(algorithm: A, settings: &RedisSettings) -> Result<Self, RedisError> {
        let scripted: Arc<dyn Scripted> = Arc::new(algorithm.clone());
        let redis = Arc::new(Redis::open(settings, scripted.script())?);
        let mode = match (settings.sync, scripted.as_bucket()) {
            (None, _) => Mode::Exact,
            (Some(sync), Some(gcra)) => Mode::Approximate(Approximate::new(gcra, &redis, sync, settings.capacity)),
            (Some(_), None) => return Err(RedisError::of("only token buckets and GCRA have an approximate mode")),
        };
        let local = Arc::new(Limiter::new(algorithm).with_capacity(settings.capacity));
        Ok(RedisLimiter { scripted, redis, mode, on_failure: settings.on_failure, local })
    }

    /// Whether Redis answers now. For start-up: it blocks the thread.
    ///
    /// # Errors
    /// If Redis does not answer within `patience`.
    pub fn check_reachable(&self, patience: Duration) -> Result<(), RedisError> {
        let client = &self.redis.client;
        client.get_connection_with_timeout(patience).map(drop).map_err(|error| self.redis.unreachable(error))
    }

    async fn ask(&self, key: &[u8], now: Time, cost: u64) -> Option<Decision> {
        if !self.redis.outage.may_ask(now) {
            return None;
        }
        let arguments = self.scripted.arguments(cost);
        let reply = self.redis.run(&self.redis.key(key), &arguments).await;
        self.redis.note(reply.is_ok());
        reply.ok().map(|reply| self.scripted.decision(&reply, cost))
    }

    fn without_redis(&self, key: &[u8], now: Time, cost: u64) -> Answered {
        match self.on_failure {
            OnFailure::Open => Answered::Open,
            OnFailure::Closed => Answered::Closed,
            OnFailure::Local => {
                let mut hasher = self.local.hasher();
                std::hash::Hasher::write(&mut hasher, key);
                Answered::Decided(self.local.check_hash(std::hash::Hasher::finish(&hasher), now, cost))
            }
        }
    }
}

#[async_trait]
impl Remote for RedisLimiter {
    async fn check(&self, key: &[u8], now: Time, cost: u64) -> Answered {
        match &self.mode {
            Mode::Exact => match self.ask(key, now, cost).await {
                Some(decision) => Answered::Decided(decision),
                None => self.without_redis(key, now, cost),
            },
            Mode::Approximate(_) if self.on_failure != OnFailure::Local && self.redis.outage.is_on() => {
                self.without_redis(key, now, cost)
            }
            Mode::Approximate(approximate) => Answered::Decided(approximate.check(key, now, cost)),
        }
    }

    fn quotas(&self) -> Vec<Quota> {
        self.local.quotas()
    }
}

impl fmt::Debug for RedisLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLimiter")
            .field("name", &self.redis.name)
            .field("quotas", &self.quotas())
            .field("on_failure", &self.on_failure)
            .finish_non_exhaustive()
    }
}

/// The connection, and whether it is worth trying.
struct Redis {
    client: Client,
    manager: ConnectionManager,
    script: Script,
    name: String,
    deadline: Duration,
    outage: Outage,
}

impl Redis {
    fn open(settings: &RedisSettings, script: &str) -> Result<Self, RedisError> {
        let client = Client::open(settings.url.as_str())
            .map_err(|error| RedisError::new("expected a URL such as \"redis://127.0.0.1:6379\"", error))?;
        // A second to connect, once: the outage decides when to try again.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(settings.deadline * BATCH_PATIENCE));
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config)
            .map_err(|error| RedisError::new("cannot be connected to", error))?;
        Ok(Redis {
            client,
            manager,
            script: Script::new(script),
            name: settings.name.clone(),
            deadline: settings.deadline,
            outage: Outage::default(),
        })
    }

    /// One round trip, within the deadline. The script is sent only where Redis does not have it.
    async fn run(&self, key: &[u8], arguments: &[String]) -> Result<Vec<i64>, NoAnswer> {
        let mut call = self.script.key(key);
        for argument in arguments {
            call.arg(argument);
        }
        let mut manager = self.manager.clone();
        let answered = timeout(self.deadline, call.invoke_async::<Vec<i64>>(&mut manager)).await;
        answered.map_err(|_| self.log(&"no answer in time"))?.map_err(|error| self.log(&error))
    }

    /// Several calls of the script in one round trip.
    async fn run_all(&self, calls: &[(Vec<u8>, Vec<String>)]) -> Result<Vec<Vec<i64>>, NoAnswer> {
        let mut pipeline = redis::pipe();
        // Every time: a Redis that was started anew does not have it.
        pipeline.cmd("SCRIPT").arg("LOAD").arg(approximate::SCRIPT).ignore();
        for (key, arguments) in calls {
            pipeline.cmd("EVALSHA").arg(self.script.get_hash()).arg(1).arg(key).arg(arguments);
        }
        let mut manager = self.manager.clone();
        let reply: RedisResult<_> =
            match timeout(self.deadline * BATCH_PATIENCE, pipeline.query_async(&mut manager)).await {
                Ok(reply) => reply,
                Err(_) => return Err(self.log(&"no answer in time")),
            };
        reply.map_err(|error| self.log(&error))
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        let mut full = format!("ratelimit:{}:{{", self.name).into_bytes();
        match key.len() {
            ..=LONGEST_KEY => full.extend_from_slice(key),
            _ => full.extend_from_slice(sha1_smol::Sha1::from(key).digest().to_string().as_bytes()),
        }
        full.push(b'}');
        full
    }

    fn note(&self, ok: bool) {
        match self.outage.note(ok, Time::now()) {
            Some(true) => tracing::warn!(name = self.name, "the shared rate limit cannot be reached"),
            Some(false) => tracing::info!(name = self.name, "the shared rate limit is back"),
            None => {}
        }
    }

    fn log(&self, error: &dyn fmt::Display) -> NoAnswer {
        tracing::debug!(name = self.name, %error, "shared rate limit");
        NoAnswer
    }

    fn unreachable(&self, error: redis::RedisError) -> RedisError {
        let address = self.client.get_connection_info().addr().to_string();
        RedisError::new(format!("Redis at {address} does not answer"), error)
    }
}

/// Redis did not answer, or not in time, or with an error. The log has it.
struct NoAnswer;

/// How many deadlines a round trip with many keys may take. No request waits for it.
const BATCH_PATIENCE: u32 = 10;

/// Longer keys are stored as their SHA-1: a client must not fill Redis with headers of 32 KiB.
const LONGEST_KEY: usize = 128;

/// Why a shared limit cannot be used.
#[derive(Debug)]
pub struct RedisError {
    message: String,
    source: Option<redis::RedisError>,
}

impl RedisError {
    fn new(message: impl Into<String>, source: redis::RedisError) -> Self {
        RedisError { message: message.into(), source: Some(source) }
    }

    fn of(message: &str) -> Self {
        RedisError { message: message.to_owned(), source: None }
    }
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for RedisError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// The verdict is Redis'; what else is told follows from the state.
fn with_verdict(allowed: bool, wait: Duration, decision: Decision) -> Decision {
    let verdict = match (allowed, decision.verdict) {
        (true, _) if wait.is_zero() => Verdict::Allowed,
        (true, _) => Verdict::Delayed(wait),
        (false, denied @ Verdict::Denied { .. }) => denied,
        // Rounding: it is a matter of microseconds.
        (false, _) => Verdict::Denied { retry_after: Some(Duration::from_millis(1)) },
    };
    Decision { verdict, ..decision }
}
