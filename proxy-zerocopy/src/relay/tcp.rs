use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use tokio::net::TcpStream;

use super::{settle::settle, tcp_lane::TcpLane};
use crate::{Error, Options, Transferred, idle::Idle};

/// Relays bytes between two TCP sockets until both have ended, on Linux without copying them.
///
/// Behaves as [`copy_bidirectional`](crate::copy_bidirectional) in all else: half-close, counts,
/// idle timeout, one task. [`Options::buffer_size`] has no effect.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use proxy_zerocopy::{Options, copy_tcp_bidirectional};
/// use tokio::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:8080").await?;
/// let (mut client, _) = listener.accept().await?;
/// let mut server = TcpStream::connect("127.0.0.1:9090").await?;
/// let transferred = copy_tcp_bidirectional(&mut client, &mut server, &Options::new()).await?;
/// println!("{} bytes", transferred.total());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The first failure of either direction, or
/// [`ErrorKind::IdleTimeout`](crate::ErrorKind::IdleTimeout). [`Error::transferred`] has the
/// counts until then.
///
/// # Panics
///
/// With an idle timeout, outside of a Tokio runtime with its time driver.
///
/// # Cancel safety
///
/// Not cancel safe: dropping the future loses the bytes in flight and the counts. Keep a
/// [`TcpRelay`] to have the counts in any case.
pub async fn copy_tcp_bidirectional(
    a: &mut TcpStream,
    b: &mut TcpStream,
    options: &Options,
) -> Result<Transferred, Error> {
    let mut relay = TcpRelay::new(options);
    poll_fn(|cx| relay.poll_relay(cx, a, b)).await
}

/// The state of a [`copy_tcp_bidirectional`], to be polled with the same two sockets each time.
#[derive(Debug)]
pub struct TcpRelay {
    up: TcpLane,
    down: TcpLane,
    idle: Idle,
}

impl TcpRelay {
    /// A relay that has moved nothing yet.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self { up: TcpLane::new(), down: TcpLane::new(), idle: Idle::new(options.idle_timeout) }
    }

    /// The bytes that have arrived so far.
    #[must_use]
    pub fn transferred(&self) -> Transferred {
        Transferred { a_to_b: self.up.written(), b_to_a: self.down.written() }
    }

    /// Moves what can be moved now; ready once both sockets have ended. A poll does a bounded
    /// amount of work and, if there is more to do, wakes its task. The idle timeout counts from
    /// the first poll. After an error, poll no more.
    ///
    /// # Errors
    ///
    /// As [`copy_tcp_bidirectional`].
    ///
    /// # Panics
    ///
    /// As [`copy_tcp_bidirectional`].
    pub fn poll_relay(
        &mut self,
        cx: &mut Context<'_>,
        a: &mut TcpStream,
        b: &mut TcpStream,
    ) -> Poll<Result<Transferred, Error>> {
        let up = self.up.poll_move(cx, a, b);
        let down = self.down.poll_move(cx, b, a);
        let progress = self.up.progress() + self.down.progress();
        settle(cx, (up, down), self.transferred(), &mut self.idle, progress)
    }
}
