//! Limits on connections, at accept.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use proxy_core::{Admission, Filter, Instant, Peer};

use crate::key::network;
use crate::stats::Counters;
use crate::{AtomicGcra, Gcra, LimitStats, Limiter, Quota, Time};

/// Limits on connections: how many are opened in how much time, and how many are open, for each
/// client and for all. A connection beyond them is closed at accept, before TLS.
///
/// A client is an IPv4 address, or an IPv6 /64. Behind another proxy all connections come from that
/// one: limit requests instead. Connections without an address (Unix sockets) pass.
///
/// ```
/// use proxy_ratelimit::ConnectionLimit;
///
/// let limit = ConnectionLimit::new().rate_per_client("10/s".parse()?).open_per_client(100).open(10_000);
/// # let _: &dyn proxy_core::Filter = &limit;
/// # Ok::<(), proxy_ratelimit::QuotaError>(())
/// ```
#[derive(Debug)]
pub struct ConnectionLimit {
    rate_per_client: Option<Limiter<Gcra>>,
    rate: Option<AtomicGcra>,
    open_per_client: Option<usize>,
    open: Option<usize>,
    prefix: (u8, u8),
    opened: Arc<Opened>,
    counters: Counters,
    epoch: Instant,
}

/// Connections that are open. The map has an entry for each client with one, so never more than
/// there are connections.
#[derive(Debug, Default)]
struct Opened {
    all: AtomicUsize,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

impl Default for ConnectionLimit {
    fn default() -> Self {
        ConnectionLimit::new()
    }
}

impl ConnectionLimit {
    /// No limits yet.
    pub fn new() -> Self {
        ConnectionLimit {
            rate_per_client: None,
            rate: None,
            open_per_client: None,
            open: None,
            prefix: (32, 64),
            opened: Arc::default(),
            counters: Counters::default(),
            epoch: Instant::now(),
        }
    }

    /// How many a client may open in how much time.
    #[must_use]
    pub fn rate_per_client(self, quota: Quota) -> Self {
        ConnectionLimit { rate_per_client: Some(Limiter::new(Gcra::new(quota))), ..self }
    }

    /// How many may be opened in how much time, by all clients together.
    #[must_use]
    pub fn rate(self, quota: Quota) -> Self {
        ConnectionLimit { rate: Some(AtomicGcra::new(quota)), ..self }
    }

    /// How many a client may have open.
    #[must_use]
    pub fn open_per_client(self, count: usize) -> Self {
        ConnectionLimit { open_per_client: Some(count), ..self }
    }

    /// How many may be open, of all clients together.
    #[must_use]
    pub fn open(self, count: usize) -> Self {
        ConnectionLimit { open: Some(count), ..self }
    }

    /// How many leading bits of an address make a client. Default: 32 and 64.
    #[must_use]
    pub fn client_network(self, v4: u8, v6: u8) -> Self {
        ConnectionLimit { prefix: (v4.min(32), v6.min(128)), ..self }
    }

    /// How many it refused so far.
    pub fn stats(&self) -> LimitStats {
        self.counters.read()
    }

    /// The place of a connection, if it may be open and may be opened now.
    fn admit(&self, client: IpAddr, now: Instant) -> Option<Place> {
        let place = Opened::enter(&self.opened, client, self.open_per_client, self.open)?;
        let global = |limit: &AtomicGcra| limit.decide(Time::between(self.epoch, now), 1).is_allowed();
        let per_client = |limit: &Limiter<Gcra>| limit.check(client, now, 1).is_allowed();
        let passes = self.rate_per_client.as_ref().is_none_or(per_client) && self.rate.as_ref().is_none_or(global);
        passes.then_some(place)
    }
}

impl Filter for ConnectionLimit {
    fn on_connection(&self, peer: &Peer) -> Admission {
        let Some(address) = peer.address else { return Admission::Admit };
        let client = network(address.ip(), self.prefix.0, self.prefix.1);
        match self.admit(client, Instant::now()) {
            Some(place) if place.is_counted() => Admission::Hold(Box::new(place)),
            Some(_) => Admission::Admit,
            None => {
                self.counters.refused.count();
                tracing::debug!(client = %address, "connection limit: refused");
                Admission::Refuse
            }
        }
    }
}

/// The place of an open connection, among all and among its client's.
#[derive(Default)]
struct Place {
    all: Option<Arc<Opened>>,
    of_client: Option<(Arc<Opened>, IpAddr)>,
}

impl Place {
    fn is_counted(&self) -> bool {
        self.all.is_some() || self.of_client.is_some()
    }
}

impl Opened {
    fn enter(opened: &Arc<Self>, client: IpAddr, per_client: Option<usize>, all: Option<usize>) -> Option<Place> {
        let mut place = Place::default();
        if let Some(limit) = all {
            let more = |open| (open < limit).then_some(open + 1);
            opened.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
            place.all = Some(Arc::clone(opened));
        }
        if let Some(limit) = per_client {
            let mut clients = opened.clients.lock().unwrap_or_else(PoisonError::into_inner);
            let open = clients.get(&client).copied().unwrap_or(0);
            if open >= limit {
                return None;
            }
            clients.insert(client, open + 1);
            place.of_client = Some((Arc::clone(opened), client));
        }
        Some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(opened) = self.all.take() {
            opened.all.fetch_sub(1, Ordering::Relaxed);
        }
        let Some((opened, client)) = self.of_client.take() else { return };
        let mut clients = opened.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = clients.get_mut(&client) {
            *open -= 1;
            if *open == 0 {
                clients.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn from(limit: &ConnectionLimit, address: &str) -> Option<Admission> {
        match limit.on_connection(&Peer::new(address.parse().unwrap())) {
            Admission::Refuse => None,
            admitted => Some(admitted),
        }
    }

    #[test]
    fn open_connections_are_counted_until_they_end() {
        let limit = ConnectionLimit::new().open_per_client(2).open(3);
        let one = from(&limit, "192.0.2.1:1").unwrap();
        let _two = from(&limit, "192.0.2.1:2").unwrap();
        assert!(from(&limit, "192.0.2.1:3").is_none());
        let _other = from(&limit, "[2001:db8::1]:1").unwrap();
        assert!(from(&limit, "[2001:db8::2]:1").is_none());
        drop(one);
        assert!(from(&limit, "[2001:db8::2]:1").is_some());
        assert!(from(&limit, "192.0.2.1:3").is_some());
        assert_eq!(limit.stats().refused, 2);
        assert_eq!(limit.opened.clients.lock().unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn new_connections_have_a_rate() {
        let limit = ConnectionLimit::new().rate_per_client("2/s".parse().unwrap()).rate("3/s".parse().unwrap());
        let mut tries = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.2:1", "192.0.2.2:2"].into_iter();
        let admitted: Vec<_> = tries.by_ref().map(|address| from(&limit, address).is_some()).collect();
        assert_eq!(admitted, [true, true, false, true, false]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(from(&limit, "192.0.2.1:4").is_some());
        assert!(matches!(limit.on_connection(&Peer::default()), Admission::Admit));
    }
}
