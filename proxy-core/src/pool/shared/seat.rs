//! The place that one open connection takes at its backend.

use std::sync::Arc;

use super::Inner;
use super::site::{Kept, Permit, Site};
use super::worker;
use crate::Backend;
use crate::observer::PoolEvent;
use crate::pool::{Connection, Home, Target};

/// Held by a connection while it is open, idle or leased; dropped when it is closed.
pub(super) struct Seat {
    pool: Arc<Inner>,
    target: Target,
    generation: u64,
    permit: Permit<Idle>,
}

/// A connection between two exchanges. It is closed before its seat is given up.
pub(super) struct Idle {
    pub(super) connection: Connection,
    pub(super) seat: Arc<Seat>,
}

impl Seat {
    pub(super) fn new(pool: Arc<Inner>, target: Target, generation: u64, permit: Permit<Idle>) -> Self {
        Seat { pool, target, generation, permit }
    }

    pub(super) fn backend(&self) -> &Backend {
        self.target.backend()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.counters.closed();
        self.pool.notify(self.backend(), PoolEvent::Closed);
    }
}

impl Home for Seat {
    fn release(self: Arc<Self>, connection: Connection) {
        // Keeps the pool alive while the connection moves into it. Cloning the pool's own handle would
        // write to a cache line that all workers share.
        let seat = Arc::clone(&self);
        let idle = Idle { connection, seat: self };
        if seat.target.is_shareable() && seat.pool.is_young(&idle.connection, idle.connection.idle_since()) {
            seat.pool.shelves.release(worker::number(), idle);
        }
    }

    /// Nothing to do: the lease drops its home right after the connection.
    fn closed(&self) {}
}

impl Kept for Idle {
    type Key = Target;

    fn key(&self) -> &Target {
        &self.seat.target
    }

    fn site(&self) -> &Arc<Site<Self>> {
        self.seat.permit.site()
    }

    fn is_stale(&self) -> bool {
        self.seat.generation != self.site().generation()
    }

    fn is_alive(&mut self) -> bool {
        self.connection.is_alive()
    }

    fn is_older(&self, other: &Self) -> bool {
        self.connection.idle_since() < other.connection.idle_since()
    }
}
