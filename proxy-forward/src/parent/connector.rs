//! Connections that lead on.

use std::fmt;
use std::io;

use async_trait::async_trait;
use http::StatusCode;
use proxy_core::{Connector, Io, NextHopRefusal, Target};

use super::{ParentProxy, Protocol, connect, socks};
use crate::destination::Destination;

/// Connects to a parent and, where the target has a [destination](Target::destination), by it to that:
/// [`ParentProxy::connector`].
pub struct ParentConnector {
    proxy: ParentProxy,
    inner: Box<dyn Connector>,
}

impl ParentConnector {
    pub(super) fn new(proxy: ParentProxy, inner: impl Connector) -> Self {
        ParentConnector { proxy, inner: Box::new(inner) }
    }

    async fn lead(&self, io: Box<dyn Io>, destination: &str) -> io::Result<Box<dyn Io>> {
        // What forward proxies hand on was parsed before; another upstream may name anything.
        let destination = Destination::parse(destination, None)
            .map_err(|error| NextHopRefusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        match self.proxy.protocol {
            Protocol::Http => connect::ask(io, &destination, self.proxy.authorization().as_deref()).await,
            Protocol::Socks5 => socks::ask(io, &destination, self.proxy.credentials.as_deref()).await,
        }
    }
}

#[async_trait]
impl Connector for ParentConnector {
    async fn connect(&self, target: &Target) -> io::Result<Box<dyn Io>> {
        let connected = tokio::time::timeout(self.proxy.connect, self.inner.connect(target)).await;
        let io = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let Some(destination) = target.destination() else { return Ok(io) };
        let led = tokio::time::timeout(self.proxy.answer, self.lead(io, destination)).await;
        // It took the connection: what it waits for is the destination.
        led.unwrap_or_else(
            |_| Err(NextHopRefusal::new(StatusCode::GATEWAY_TIMEOUT, "it did not answer in time").into()),
        )
    }
}

impl fmt::Debug for ParentConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ParentConnector").field(&self.proxy).finish()
    }
}
