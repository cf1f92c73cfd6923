//! A limit for each key.

use std::fmt;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};

use crate::store::Store;
use crate::{Algorithm, AtomicGcra, Decision, Quota, Time};

/// An algorithm applied to each key by itself, in bounded memory, and a limit on all of them together.
///
/// Keys are remembered up to a number, 1,048,576 unless said otherwise. Beyond that the one is
/// forgotten that owes least, of eight; what is forgotten is forgiven, so that a client with very many
/// keys is held only by the [global limit](Self::with_global). A key takes the algorithm's state, 8 bytes
/// for its hash and 5 to 10 for the index: with [`Gcra`](crate::Gcra) at most 32 bytes
/// (`cargo run --release -p proxy-ratelimit --example memory_per_key` counts them).
///
/// Keys are told apart by a 64-bit hash, keyed by the process: nobody can choose to share another's
/// limit, and by chance two of a million do with a probability of 3 in 10⁸.
///
/// ```
/// use proxy_ratelimit::{Gcra, Limiter, Time};
///
/// let limiter = Limiter::new(Gcra::new("2/s".parse()?)).with_global("3/s".parse()?);
/// let now = Time::now();
/// let allowed = ["ada", "ada", "ada", "bob", "bob"].map(|user| limiter.check(user, now, 1).is_allowed());
/// assert_eq!(allowed, [true, true, false, true, false]);
/// # Ok::<(), proxy_ratelimit::QuotaError>(())
/// ```
pub struct Limiter<A: Algorithm> {
    algorithm: A,
    store: Store<A::State>,
    global: Option<AtomicGcra>,
    hasher: RandomState,
}

/// What a [`Limiter`] remembers unless told otherwise.
const CAPACITY: usize = 1 << 20;

impl<A: Algorithm> Limiter<A> {
    /// Limits each key by this algorithm.
    pub fn new(algorithm: A) -> Self {
        Limiter { algorithm, store: Store::new(CAPACITY), global: None, hasher: RandomState::new() }
    }

    /// Remembers at most so many keys.
    #[must_use]
    pub fn with_capacity(self, keys: usize) -> Self {
        Limiter { store: Store::new(keys), ..self }
    }

    /// Limits all keys together, too.
    #[must_use]
    pub fn with_global(self, quota: Quota) -> Self {
        Limiter { global: Some(AtomicGcra::new(quota)), ..self }
    }

    /// Decides about a request under this key. It costs nothing unless both limits let it go ahead.
    #[inline(always)]
    #[allow(clippy::manual_hash_one)]
    pub fn check(&self, key: impl Hash, now: Time, cost: u64) -> Decision {
        // `hash_one` by hand: it would be a call, with the key and the hash through memory.
        let mut hasher = self.hasher.build_hasher();
        key.hash(&mut hasher);
        self.check_hash(hasher.finish(), now, cost)
    }

    /// How many keys are remembered.
    pub fn keys(&self) -> usize {
        self.store.len()
    }

    /// How many keys can be remembered.
    pub fn capacity(&self) -> usize {
        self.store.capacity()
    }

    /// How many keys were forgotten for want of room.
    pub fn evicted(&self) -> u64 {
        self.store.evicted()
    }

    #[inline(always)]
    fn check_hash(&self, hash: u64, now: Time, cost: u64) -> Decision {
        let algorithm = &self.algorithm;
        let mut lent = self.store.lend(hash, || algorithm.fresh(now), |state| algorithm.debt(state, now));
        algorithm.decide_with(lent.state(), now, cost, || self.check_global(now, cost))
    }

    #[inline]
    fn check_global(&self, now: Time, cost: u64) -> Option<Decision> {
        let global = self.global.as_ref()?;
        Some(global.decide(now, cost).of_limit(A::LIMITS))
    }
}

/// A [`Limiter`] of any algorithm.
pub(crate) trait AnyLimiter: Send + Sync + fmt::Debug {
    fn hasher(&self) -> DefaultHasher;
    fn check_hash(&self, hash: u64, now: Time, cost: u64) -> Decision;
    /// In the order of [`Decision::limit`].
    fn quotas(&self) -> Vec<Quota>;
    /// Keys that are remembered, and keys that were forgotten.
    fn remembered(&self) -> (usize, u64);
}

impl<A: Algorithm> AnyLimiter for Limiter<A> {
    fn hasher(&self) -> DefaultHasher {
        self.hasher.build_hasher()
    }

    fn check_hash(&self, hash: u64, now: Time, cost: u64) -> Decision {
        Limiter::check_hash(self, hash, now, cost)
    }

    fn quotas(&self) -> Vec<Quota> {
        let mut quotas = self.algorithm.quotas();
        quotas.extend(self.global.as_ref().map(AtomicGcra::quota));
        quotas
    }

    fn remembered(&self) -> (usize, u64) {
        (self.keys(), self.evicted())
    }
}

impl<A: Algorithm> fmt::Debug for Limiter<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("quotas", &AnyLimiter::quotas(self))
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}
