//! Values that are made once for all who ask at the same time, and count for a while.

use std::convert::Infallible;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use proxy_core::Instant;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use tokio::sync::OnceCell;

/// Bounded: the least used leave.
pub(crate) struct Flights<K, V> {
    known: Cache<K, Arc<Flight<V>>>,
}

/// A value that is being made, or was, and until when it counts. If the one who makes it leaves, the next of
/// those who wait does.
struct Flight<V>(OnceCell<(V, Instant)>);

impl<K: Eq + Hash, V: Clone> Flights<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Flights { known: Cache::new(capacity.max(1)) }
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// The value of a key, and whatever `make` says where there is none that still counts.
    pub(crate) async fn get<Q, F>(&self, key: &Q, make: impl FnOnce() -> F) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: Future<Output = (V, Duration)>,
    {
        let flight = self.flight(key, Instant::now());
        let (value, _) = flight
            .0
            .get_or_init(|| async {
                let (value, ttl) = make().await;
                (value, Instant::now() + ttl)
            })
            .await;
        value.clone()
    }

    fn flight<Q>(&self, key: &Q, now: Instant) -> Arc<Flight<V>>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(flight) = self.known.get(key) {
            if !flight.is_stale(now) {
                return flight;
            }
            // Not one that somebody else has just put in its place.
            self.known.remove_if(key, |flight| flight.is_stale(now));
        }
        let new = || Ok::<_, Infallible>(Arc::new(Flight(OnceCell::new())));
        match self.known.get_or_insert_with(key, new) {
            Ok(flight) => flight,
            Err(never) => match never {},
        }
    }
}

impl<V> Flight<V> {
    fn is_stale(&self, now: Instant) -> bool {
        self.0.get().is_some_and(|(_, until)| *until <= now)
    }
}
