//! Deciding here, and telling Redis afterwards.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::algorithm::{BUCKET, bucket_arguments};
use super::{NoAnswer, Redis};
use crate::store::Store;
use crate::{Algorithm, Decision, Gcra, Time};

pub(super) const SCRIPT: &str = BUCKET;

/// A bucket per key, here. What passes is charged to the fleet's bucket every so often; ours then
/// becomes as full as that one is, debts included.
pub(super) struct Approximate {
    gcra: Gcra,
    redis: Arc<Redis>,
    store: Store<u64>,
    hasher: RandomState,
    sync: Duration,
    started: AtomicBool,
    /// What passed and was not charged yet.
    owed: Mutex<Owed>,
}

type Owed = HashMap<Box<[u8]>, u64>;

/// Keys that are charged in one round trip. Others that come in the same interval are limited here only.
const MOST_OWED: usize = 1 << 16;
/// Calls in one round trip.
const BATCH: usize = 1 << 10;

impl Approximate {
    pub(super) fn new(gcra: Gcra, redis: &Arc<Redis>, sync: Duration, capacity: usize) -> Arc<Self> {
        Arc::new(Approximate {
            gcra,
            redis: Arc::clone(redis),
            store: Store::new(capacity),
            hasher: RandomState::new(),
            sync,
            started: AtomicBool::new(false),
            owed: Mutex::default(),
        })
    }

    pub(super) fn check(self: &Arc<Self>, key: &[u8], now: Time, cost: u64) -> Decision {
        let decision = self.with(key, now, |state| {
            // Not settled to a burst: it may be in debt.
            let decision = self.gcra.judge_in_debt(*state, now, cost);
            if decision.is_allowed() {
                *state = self.gcra.spent(*state, now, cost);
            }
            decision
        });
        if decision.is_allowed() && cost > 0 {
            self.owe(key, cost);
            self.start();
        }
        decision
    }

    fn with<R>(&self, key: &[u8], now: Time, f: impl FnOnce(&mut u64) -> R) -> R {
        let hash = self.hasher.hash_one(key);
        f(self.store.lend(hash, || 0, |state| self.gcra.debt(state, now)).state())
    }

    fn owe(&self, key: &[u8], cost: u64) {
        let mut owed = self.owed();
        if let Some(sum) = owed.get_mut(key) {
            *sum = sum.saturating_add(cost);
        } else if owed.len() < MOST_OWED {
            owed.insert(key.into(), cost);
        }
    }

    fn owed(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task that charges runs from the first request on, as long as the limiter is there.
    fn start(self: &Arc<Self>) {
        if !self.started.swap(true, Ordering::Relaxed) {
            tokio::spawn(charge_regularly(Arc::downgrade(self), self.sync));
        }
    }

    /// Charges what is owed; keeps owing it where that fails.
    async fn charge(&self) {
        let owed: Vec<_> = std::mem::take(&mut *self.owed()).into_iter().collect();
        if owed.is_empty() {
            return;
        }
        for batch in owed.chunks(BATCH) {
            let reply = match self.redis.outage.may_ask(Time::now()) {
                true => {
                    let reply = self.redis.run_all(&self.calls(batch)).await;
                    self.redis.note(reply.is_ok());
                    reply
                }
                false => Err(NoAnswer),
            };
            match reply {
                Ok(replies) => self.learn(batch, &replies),
                Err(NoAnswer) => batch.iter().for_each(|(key, cost)| self.owe(key, *cost)),
            }
        }
    }

    fn calls(&self, batch: &[(Box<[u8]>, u64)]) -> Vec<(Vec<u8>, Vec<String>)> {
        let quota = self.gcra.quota();
        let call = |(key, cost): &(Box<[u8]>, u64)| (self.redis.key(key), bucket_arguments(&quota, *cost, "charge"));
        batch.iter().map(call).collect()
    }

    fn learn(&self, batch: &[(Box<[u8]>, u64)], replies: &[Vec<i64>]) {
        let now = Time::now();
        for ((key, _), reply) in batch.iter().zip(replies) {
            let ahead = reply.get(2).copied().unwrap_or(0).try_into().unwrap_or(0);
            // What passed while Redis was asked is not in its answer.
            let since = self.owed().get(key).copied().unwrap_or(0);
            let state = self.gcra.spent(self.gcra.ahead_at(now, Duration::from_micros(ahead)), now, since);
            self.with(key, now, |kept| *kept = state);
        }
    }
}

async fn charge_regularly(approximate: Weak<Approximate>, sync: Duration) {
    let mut ticks = tokio::time::interval(sync);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(approximate) = approximate.upgrade() else { return };
        approximate.charge().await;
    }
}
