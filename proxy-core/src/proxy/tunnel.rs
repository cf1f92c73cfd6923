//! A tunnel and the request that opened it.

use std::future::poll_fn;
use std::time::Duration;

use proxy_zerocopy::Options;

use super::exchange::{Exchange, Proxied};
use crate::clock::Instant;
use crate::http1::tunnel::Tunnel as Upstream;
use crate::message::Upgraded;
use crate::relay::{End, Relay, reason};
use crate::{ErrorKind, Phase};

mod check;

pub use check::{TunnelCheck, TunnelStart};

/// Moves bytes both ways until both sides have ended, one fails, or none moves for `idle`. The
/// request ends with the tunnel.
///
/// # Cancel safety
/// Dropping the future closes both sides; the request ends there, with what was moved.
pub(crate) async fn run<C, S>(mut exchange: Exchange<S>, mut client: C, upgraded: Upgraded, idle: Duration)
where
    C: End,
    S: Proxied,
{
    exchange.ctx().phase = Phase::Tunnel;
    let (mut upstream, check) = upgraded.into_parts();
    let begun = match check {
        None => Ok(Vec::new()),
        Some(check) => check.run(&mut client, &mut upstream).await,
    };
    let begun = match begun {
        Ok(begun) => begun,
        Err(kind) => {
            exchange.fail(kind);
            exchange.finish(Instant::now());
            return;
        }
    };
    let mut tunnel = Tunnel::new(exchange, &mut client, begun, &mut upstream, idle);
    let moved = poll_fn(|cx| tunnel.relay.poll(cx, &mut client, &mut upstream)).await;
    tunnel.end(moved.err().map(|error| reason(&error)));
}

/// Counts what was moved, also where it is dropped.
struct Tunnel<S: Proxied> {
    relay: Relay,
    exchange: Option<Exchange<S>>,
}

impl<S: Proxied> Tunnel<S> {
    /// `begun` was read from the client already.
    fn new(
        exchange: Exchange<S>,
        client: &mut impl End,
        begun: Vec<u8>,
        upstream: &mut Upstream,
        idle: Duration,
    ) -> Self {
        let relay = Relay::new(client, begun, upstream, &Options::default().idle_timeout(idle), true);
        Tunnel { relay, exchange: Some(exchange) }
    }

    fn end(mut self, error: Option<ErrorKind>) {
        let Some(mut exchange) = self.take() else { return };
        if let Some(kind) = error {
            exchange.fail(kind);
        }
        exchange.finish(Instant::now());
    }

    /// The exchange, with the counts.
    fn take(&mut self) -> Option<Exchange<S>> {
        let mut exchange = self.exchange.take()?;
        let moved = self.relay.transferred();
        exchange.tunnelled(moved.a_to_b, moved.b_to_a);
        Some(exchange)
    }
}

impl<S: Proxied> Drop for Tunnel<S> {
    fn drop(&mut self) {
        drop(self.take());
    }
}
