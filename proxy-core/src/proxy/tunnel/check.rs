//! What a tunnel begins with, looked at before any of it goes on.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, ReadBuf};

use crate::ErrorKind;
use crate::http1::tunnel::Tunnel as Upstream;
use crate::relay::End;
use crate::tcp::client_hello::{Peeked, peek};

/// More than any ClientHello, also with the keys that come after quantum computers.
const MAX_HELLO: usize = 16 * 1024;
/// How long a client may take to begin.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is read at a time.
const CHUNK: usize = 4096;
/// A fatal alert, `unrecognized_name` (RFC 6066 §3): the client's user is told more than that the connection broke.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 1, 0, 2, 2, 112];

/// How a tunnel begins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunnelStart {
    /// With a TLS handshake for this server, in lower case and without a final dot; `None` where it names none.
    Tls(Option<Box<str>>),
    /// With something else: that is no TLS, malformed, or from the server. Or with nothing, for too long. The kind says
    /// what (`not_tls`, `bad_client_hello`, `client_hello_timeout`).
    Other(ErrorKind),
}

/// Looks at how a tunnel begins, once it is open and before the first byte goes on: part of the
/// [`Response`](crate::Response) that opens it.
///
/// It waits until the client has sent a whole ClientHello, something else, or nothing for 5 s, or until the server has
/// spoken first. Nothing is taken away: what was read goes on first.
pub struct TunnelCheck {
    judge: Box<Judge>,
}

type Judge = dyn FnOnce(&TunnelStart) -> Result<(), ErrorKind> + Send + Sync;

impl TunnelCheck {
    /// Asks `judge`. An error closes the tunnel, and is the reason the request ended for.
    pub fn new(judge: impl FnOnce(&TunnelStart) -> Result<(), ErrorKind> + Send + Sync + 'static) -> Self {
        TunnelCheck { judge: Box::new(judge) }
    }

    /// What was read from the client, to go on first.
    ///
    /// # Cancel safety
    /// Dropping the future loses what was read: the tunnel is to be closed then.
    pub(crate) async fn run(self, client: &mut impl End, upstream: &mut Upstream) -> Result<Vec<u8>, ErrorKind> {
        let (mut bytes, mut wanted) = (Vec::new(), 0);
        let start = poll_fn(|cx| poll_start(cx, client, upstream, &mut bytes, &mut wanted));
        let start = tokio::time::timeout(PATIENCE, start).await;
        let start = start.unwrap_or(Ok(TunnelStart::Other(ErrorKind::ClientHelloTimeout)))?;
        let Err(kind) = (self.judge)(&start) else { return Ok(bytes) };
        if let TunnelStart::Tls(_) = start {
            // Who does not take seven bytes is closed without them.
            let _ = tokio::time::timeout(PATIENCE, client.write_all(&UNRECOGNIZED_NAME)).await;
        }
        Err(kind)
    }
}

impl fmt::Debug for TunnelCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TunnelCheck")
    }
}

/// What there is of a hello is looked at again only once there are as many bytes as the last look `wanted`.
fn poll_start(
    cx: &mut Task<'_>,
    client: &mut impl End,
    upstream: &mut Upstream,
    bytes: &mut Vec<u8>,
    wanted: &mut usize,
) -> Poll<Result<TunnelStart, ErrorKind>> {
    loop {
        let mut chunk = [0; CHUNK];
        let mut room = ReadBuf::new(&mut chunk);
        match Pin::new(&mut *client).poll_read(cx, &mut room) {
            Poll::Pending => return poll_server(cx, upstream),
            Poll::Ready(Err(_)) => return Poll::Ready(Err(ErrorKind::ClientGone)),
            // The end of what the client sends, which may still wait for an answer.
            Poll::Ready(Ok(())) if room.filled().is_empty() => {
                return Poll::Ready(Ok(TunnelStart::Other(ErrorKind::NotTls)));
            }
            Poll::Ready(Ok(())) => bytes.extend_from_slice(room.filled()),
        }
        if bytes.len() < *wanted {
            continue;
        }
        match peek(bytes, MAX_HELLO) {
            Peeked::Hello(hello) => return Poll::Ready(Ok(TunnelStart::Tls(hello.server_name))),
            Peeked::Refused(kind) => return Poll::Ready(Ok(TunnelStart::Other(kind))),
            Peeked::Incomplete { wanted: more } => *wanted = more,
        }
    }
}

/// In TLS it is the client who speaks first.
fn poll_server(cx: &mut Task<'_>, upstream: &mut Upstream) -> Poll<Result<TunnelStart, ErrorKind>> {
    let reader = upstream.reader();
    if reader.buffer.is_empty() && reader.poll_fill(cx).is_pending() {
        return Poll::Pending;
    }
    Poll::Ready(Ok(TunnelStart::Other(ErrorKind::NotTls)))
}
