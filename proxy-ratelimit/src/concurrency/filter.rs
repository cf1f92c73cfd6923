//! The concurrency limit in a proxy.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderValue, StatusCode, header};
use proxy_core::{Context, Fault, Filter, Flow, Instant, Outcome, Request, Response, Result};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::gate::{Entry, Gate, Slot};
use super::gates::{Gates, KeyedSlot, Pass};
use super::{Gradient, GradientSettings, Priorities, Sample};
use crate::stats::Counters;
use crate::{Key, LimitStats, Missing, Subject, notes};

/// A limit on how many requests run at a time: for all, for each key, or both; fixed or adaptive.
///
/// What is too much waits in a bounded queue for a bounded time, and is refused beyond: with 503, or
/// with 429 where it is the key's limit. A request counts until it has ended, whichever way.
///
/// How many run at one backend is not this filter's to say: that is the pool's and the breaker's.
///
/// ```
/// use std::time::Duration;
/// use proxy_ratelimit::{ConcurrencyLimit, GradientSettings, Key};
///
/// let fixed = ConcurrencyLimit::new(1000).queue(200, Duration::from_secs(1)).per_key(Key::client_ip(), 20);
/// let adaptive = ConcurrencyLimit::adaptive(GradientSettings::default());
/// # let _: [&dyn proxy_core::Filter; 2] = [&fixed, &adaptive];
/// ```
#[derive(Debug)]
pub struct ConcurrencyLimit {
    limit: Option<usize>,
    adaptive: Option<GradientSettings>,
    per_key: Option<(Key, usize)>,
    missing: Missing,
    room: usize,
    patience: Duration,
    priorities: Option<Priorities>,
    status: StatusCode,
    parts: Parts,
    counters: Counters,
}

/// What follows from the settings.
#[derive(Debug, Default)]
struct Parts {
    global: Option<Arc<Gate>>,
    gradient: Option<Mutex<Gradient>>,
    keyed: Option<Arc<Gates>>,
}

/// What a request holds while it runs.
struct Held {
    since: Instant,
    slots: Mutex<Option<(Option<KeyedSlot>, Option<Slot>)>>,
}

/// What a request may be refused for.
enum Refused {
    Key,
    All,
}

impl ConcurrencyLimit {
    /// At most so many at a time.
    pub fn new(limit: usize) -> Self {
        ConcurrencyLimit::with(Some(limit), None)
    }

    /// As many at a time as do not make each other wait: see [`Gradient`].
    pub fn adaptive(settings: GradientSettings) -> Self {
        ConcurrencyLimit::with(None, Some(settings))
    }

    /// No limit on all together, only on each [key](Self::per_key).
    pub fn keyed(key: Key, limit: usize) -> Self {
        ConcurrencyLimit::with(None, None).per_key(key, limit)
    }

    fn with(limit: Option<usize>, adaptive: Option<GradientSettings>) -> Self {
        let built = ConcurrencyLimit {
            limit,
            adaptive,
            per_key: None,
            missing: Missing::default(),
            room: 0,
            patience: Duration::from_secs(1),
            priorities: None,
            status: StatusCode::SERVICE_UNAVAILABLE,
            parts: Parts::default(),
            counters: Counters::default(),
        };
        built.assembled()
    }

    /// At most so many at a time of each key, too.
    #[must_use]
    pub fn per_key(self, key: Key, limit: usize) -> Self {
        ConcurrencyLimit { per_key: Some((key, limit)), ..self }.assembled()
    }

    /// What happens to a request whose key is missing. Default: all of them share one limit.
    #[must_use]
    pub fn missing_key(self, missing: Missing) -> Self {
        ConcurrencyLimit { missing, ..self }
    }

    /// How many may wait, for all and for each key, and how long at most. Default: none.
    #[must_use]
    pub fn queue(self, room: usize, patience: Duration) -> Self {
        ConcurrencyLimit { room, patience, ..self }.assembled()
    }

    /// Which requests are refused first and wait longest. Default: all are alike.
    #[must_use]
    pub fn priorities(self, priorities: Priorities) -> Self {
        ConcurrencyLimit { priorities: Some(priorities), ..self }.assembled()
    }

    /// The status of refusals by the limit on all. Default: 503. Those by a key's limit are 429.
    #[must_use]
    pub fn status(self, status: StatusCode) -> Self {
        ConcurrencyLimit { status, ..self }
    }

    /// What it did so far.
    pub fn stats(&self) -> LimitStats {
        self.counters.read()
    }

    /// How many run.
    pub fn in_flight(&self) -> usize {
        self.parts.global.as_ref().map_or(0, |gate| gate.inside())
    }

    /// How many may run; `None` without a limit on all.
    pub fn limit(&self) -> Option<usize> {
        self.parts.global.as_ref().map(|gate| gate.limit())
    }

    fn assembled(mut self) -> Self {
        let shares: Arc<[u8]> = self.priorities.as_ref().map_or_else(|| vec![100], Priorities::shares).into();
        let gradient = self.adaptive.map(Gradient::new);
        let limit = self.limit.or_else(|| gradient.as_ref().map(Gradient::limit));
        let keyed = self.per_key.as_ref().map(|(_, limit)| Gates::new(*limit, self.room, Arc::from([100])));
        self.parts = Parts {
            global: limit.map(|limit| Gate::new(limit, self.room, shares)),
            gradient: gradient.map(Mutex::new),
            keyed: keyed.map(Arc::new),
        };
        self
    }

    fn id(&self) -> usize {
        notes::id(self)
    }

    /// The gate of the request's key, entered or waited before.
    fn enter_keyed(&self, subject: &Subject<'_>) -> Option<Result<(Entry, Pass), Refused>> {
        let ((key, _), gates) = self.per_key.as_ref().zip(self.parts.keyed.as_ref())?;
        let mut hasher = gates.hasher();
        match (key.write(subject, &mut hasher), self.missing) {
            (None, Missing::Allow) => return None,
            (None, Missing::Deny) => return Some(Err(Refused::Key)),
            (None, Missing::Share) => hasher = gates.hasher(),
            (Some(()), _) => {}
        }
        Some(Ok(gates.enter(std::hash::Hasher::finish(&hasher), 0)))
    }

    async fn acquire(&self, keyed: Option<(Entry, Pass)>, class: usize) -> Result<Held, Refused> {
        let deadline = Instant::now() + self.patience;
        let keyed = match keyed {
            Some((entry, pass)) => {
                let slot = wait(entry, deadline, &self.counters).await.ok_or(Refused::Key)?;
                Some(KeyedSlot::new(slot, pass))
            }
            None => None,
        };
        let global = match &self.parts.global {
            Some(gate) => Some(wait(gate.enter(class), deadline, &self.counters).await.ok_or(Refused::All)?),
            None => None,
        };
        Ok(Held { since: Instant::now(), slots: Mutex::new(Some((keyed, global))) })
    }

    fn refuse(&self, refused: &Refused) -> Response {
        self.counters.refused.count();
        let status = match refused {
            Refused::Key => StatusCode::TOO_MANY_REQUESTS,
            Refused::All => self.status,
        };
        tracing::debug!(status = status.as_u16(), "concurrency limit: refused");
        let reason = status.canonical_reason().unwrap_or("refused");
        let mut response = Response::text(status, format!("{} {reason}\n", status.as_str()));
        response.head_mut().headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        response
    }

    /// Tells the gradient what happened, and the gate what follows.
    fn learn(&self, sample: Sample) {
        let Some((gate, gradient)) = self.parts.global.as_ref().zip(self.parts.gradient.as_ref()) else { return };
        let inside = gate.inside();
        let (before, after) = {
            let mut gradient = gradient.lock().unwrap_or_else(PoisonError::into_inner);
            (gradient.limit(), gradient.sample(sample, inside))
        };
        if before != after {
            gate.set_limit(after);
        }
    }
}

/// The slot, as soon as there is one; `None` if there is none in time.
async fn wait(entry: Entry, deadline: Instant, counters: &Counters) -> Option<Slot> {
    let receiver: oneshot::Receiver<Slot> = match entry {
        Entry::Inside(slot) => return Some(slot),
        Entry::Waiting(receiver) => receiver,
        Entry::Full => return None,
    };
    counters.delayed.count();
    timeout_at(deadline, receiver).await.ok()?.ok()
}

#[async_trait]
impl Filter for ConcurrencyLimit {
    async fn on_request(&self, request: &mut Request, context: &mut Context) -> Result<Flow> {
        let subject = Subject::proxied(request.head(), request.body().exact_length(), context);
        let class = self.priorities.as_ref().map_or(0, |priorities| priorities.of(&subject));
        let keyed = match self.enter_keyed(&subject).transpose() {
            Ok(keyed) => keyed,
            Err(refused) => return Ok(Flow::Respond(self.refuse(&refused))),
        };
        match self.acquire(keyed, class).await {
            Ok(held) => {
                notes::leave(context, self.id(), held);
                Ok(Flow::Continue)
            }
            Err(refused) => Ok(Flow::Respond(self.refuse(&refused))),
        }
    }

    fn on_response(&self, response: &mut Response, context: &mut Context) -> Result<()> {
        let upstream = context.backend().is_some();
        if let Some(held) = notes::read::<Held>(context, self.id()).filter(|_| upstream) {
            self.learn(match response.head().status() {
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Sample::Overloaded,
                _ => Sample::Took(held.since.elapsed()),
            });
        }
        Ok(())
    }

    fn on_done(&self, outcome: &Outcome, context: &Context) {
        let Some(held) = notes::read::<Held>(context, self.id()) else { return };
        // Now, and not when the context is used again.
        drop(held.slots.lock().unwrap_or_else(PoisonError::into_inner).take());
        if outcome.status.is_none() && outcome.fault() == Some(Fault::Upstream) {
            self.learn(Sample::Overloaded);
        }
    }
}
