//! How a request ended.

use std::time::Duration;

use http::StatusCode;

use crate::clock::Instant;
use crate::context::Clocks;
use crate::{ErrorKind, Fault, Phase};

/// How a request ended: who ended it, in which phase, and where its time went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The status the client got; `None` where it got none.
    pub status: Option<StatusCode>,
    /// What ended it early; `None` where everything went well.
    pub error: Option<ErrorKind>,
    /// The phase it ended in.
    pub phase: Phase,
    /// Where its time went.
    pub timings: Timings,
    /// Bytes of the request's body read from the client.
    pub bytes_received: u64,
    /// Bytes of head and body written to the client.
    pub bytes_sent: u64,
    /// Attempts at backends.
    pub attempts: u32,
}

impl Outcome {
    /// The two-part reason code: who ended the request and in which phase, or `ok`.
    ///
    /// | code | meaning |
    /// |---|---|
    /// | `ok` | the response was relayed whole |
    /// | `client/head` … `client/tunnel` | the client's fault, in that phase |
    /// | `upstream/connect` … `upstream/relay` | the upstream's fault, in that phase |
    /// | `proxy/filter` … | a plugin, routing or a shutdown |
    ///
    /// [`error`](Self::error) has the exact reason.
    pub fn reason(&self) -> (&'static str, &'static str) {
        match self.error {
            None => ("ok", ""),
            Some(kind) => (kind.fault().as_str(), self.phase.as_str()),
        }
    }

    /// Who ended it, where it did not go well.
    pub fn fault(&self) -> Option<Fault> {
        self.error.map(ErrorKind::fault)
    }
}

/// Where a request's time went.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Timings {
    /// In filters and waiting for a free connection.
    pub queue: Option<Duration>,
    /// Until a connection was there, pooled or new.
    pub connect: Option<Duration>,
    /// Until the first byte of the response head.
    pub first_byte: Option<Duration>,
    /// From the complete request head to the end.
    pub total: Duration,
}

impl Timings {
    pub(crate) fn of(clocks: &Clocks, now: Instant) -> Self {
        Timings {
            queue: clocks.connecting.map(|at| at - clocks.started),
            connect: clocks.connected.zip(clocks.connecting).map(|(to, from)| to.saturating_duration_since(from)),
            first_byte: clocks.first_byte.map(|at| at - clocks.started),
            total: now.saturating_duration_since(clocks.started),
        }
    }
}
