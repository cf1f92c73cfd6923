//! The connections that are open.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::SystemTime;

use proxy_core::Peer;

use super::lock;

/// Parts that are locked by themselves: a connection that comes or goes waits for few others.
const PARTS: usize = 16;

/// The connections of a listener that are open, for a person to look at: those that have an address.
pub(crate) struct Connections {
    parts: [Mutex<HashMap<Ends, Open>>; PARTS],
    hasher: RandomState,
}

/// The two ends of a connection.
type Ends = (SocketAddr, Option<SocketAddr>);

/// A connection that is open. A client that a PROXY header names may seem to have several between the same ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) since: SystemTime,
    pub(crate) tls: Option<&'static str>,
    pub(crate) count: usize,
}

impl Default for Connections {
    fn default() -> Self {
        Connections { parts: Default::default(), hasher: RandomState::new() }
    }
}

impl Connections {
    pub(super) fn opened(&self, peer: &Peer) {
        let Some((part, ends)) = self.place(peer) else { return };
        match lock(part).entry(ends) {
            Entry::Occupied(mut open) => open.get_mut().count += 1,
            Entry::Vacant(place) => {
                let tls = peer.tls.as_ref().map(|tls| tls.version);
                place.insert(Open { since: SystemTime::now(), tls, count: 1 });
            }
        }
    }

    pub(super) fn closed(&self, peer: &Peer) {
        let Some((part, ends)) = self.place(peer) else { return };
        let mut part = lock(part);
        if let Entry::Occupied(mut open) = part.entry(ends) {
            match open.get_mut().count {
                1 => drop(open.remove()),
                _ => open.get_mut().count -= 1,
            }
        }
        // After a flood of them, its memory is given back.
        if part.capacity() > 1024 && part.len() < part.capacity() / 8 {
            part.shrink_to_fit();
        }
    }

    fn place(&self, peer: &Peer) -> Option<(&Mutex<HashMap<Ends, Open>>, Ends)> {
        let ends = (peer.address?, peer.local);
        Some((&self.parts[self.hasher.hash_one(ends) as usize % PARTS], ends))
    }

    /// All of them, one part after the other.
    pub(crate) fn each(&self, mut see: impl FnMut(SocketAddr, Option<SocketAddr>, &Open)) {
        for part in &self.parts {
            lock(part).iter().for_each(|((client, local), open)| see(*client, *local, open));
        }
    }
}
