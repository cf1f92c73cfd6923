//! Both directions between a client and an upstream, within the kernel where both are sockets.

use std::task::{Context as Task, Poll};

use proxy_zerocopy::{Error, Options, Side, TcpRelay, Transferred};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::ErrorKind;
use crate::http1::tunnel::Tunnel;

/// A client's side of a relay.
pub(crate) trait End: AsyncRead + AsyncWrite + Unpin {
    /// The socket under it, if the bytes are the socket's.
    fn socket(&self) -> Option<&TcpStream> {
        None
    }

    /// Takes what was read from the socket before.
    fn take_read(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

impl End for Tunnel {
    fn socket(&self) -> Option<&TcpStream> {
        Tunnel::socket(self)
    }

    fn take_read(&mut self) -> Vec<u8> {
        Tunnel::take_read(self)
    }
}

/// The state of a relay, to be polled with the same two ends each time.
pub(crate) enum Relay {
    Spliced(TcpRelay),
    Copied(proxy_zerocopy::Relay),
}

impl Relay {
    /// Splices where it may and can, and copies elsewhere. `begun` was read from the client before.
    pub(crate) fn new(
        client: &mut impl End,
        begun: Vec<u8>,
        upstream: &mut Tunnel,
        options: &Options,
        may_splice: bool,
    ) -> Self {
        let (mut of_client, of_upstream) = (begun, upstream.take_read());
        of_client.extend(client.take_read());
        if may_splice && client.socket().is_some() && upstream.socket().is_some() {
            let relay = TcpRelay::new(options).after_reading(Side::A, of_client);
            return Relay::Spliced(relay.after_reading(Side::B, of_upstream));
        }
        let relay = proxy_zerocopy::Relay::new(options).after_reading(Side::A, of_client);
        Relay::Copied(relay.after_reading(Side::B, of_upstream))
    }

    /// Moves what can be moved now; ready once both sides have ended.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Task<'_>,
        client: &mut impl End,
        upstream: &mut Tunnel,
    ) -> Poll<Result<Transferred, Error>> {
        match self {
            Relay::Copied(relay) => relay.poll_relay(cx, client, upstream),
            Relay::Spliced(relay) => match (client.socket(), upstream.socket()) {
                (Some(client), Some(upstream)) => relay.poll_relay(cx, client, upstream),
                _ => unreachable!("what is a socket stays one"),
            },
        }
    }

    pub(crate) fn transferred(&self) -> Transferred {
        match self {
            Relay::Spliced(relay) => relay.transferred(),
            Relay::Copied(relay) => relay.transferred(),
        }
    }
}

/// Why it ended early.
pub(crate) fn reason(error: &Error) -> ErrorKind {
    match (error.kind(), error.side()) {
        (proxy_zerocopy::ErrorKind::LifetimeOver, _) => ErrorKind::LifetimeOver,
        (_, None) => ErrorKind::TunnelIdle,
        (_, Some(Side::A)) => ErrorKind::ClientGone,
        (_, Some(Side::B)) => ErrorKind::UpstreamIo,
    }
}
