use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use tokio::net::TcpStream;

use super::{settle::settle, tcp_lane::TcpLane};
use crate::{Error, Options, Side, Transferred, deadlines::Deadlines};

/// Relays bytes between two TCP sockets until both have ended, on Linux without copying them.
///
/// Behaves as [`copy_bidirectional`](crate::copy_bidirectional) in all else: half-close, counts,
/// timeouts, one task. [`Options::buffer_size`] has no effect.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use proxy_zerocopy::{Options, copy_tcp_bidirectional};
/// use tokio::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:8080").await?;
/// let (client, _) = listener.accept().await?;
/// let server = TcpStream::connect("127.0.0.1:9090").await?;
/// let transferred = copy_tcp_bidirectional(&client, &server, &Options::new()).await?;
/// println!("{} bytes", transferred.total());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The first failure of either direction, or that a deadline of [`Options`] has passed.
/// [`Error::transferred`] has the counts until then.
///
/// # Panics
///
/// With a timeout, outside of a Tokio runtime with its time driver.
///
/// # Cancel safety
///
/// Not cancel safe: dropping the future loses the bytes in flight and the counts. Keep a
/// [`TcpRelay`] to have the counts in any case.
///
/// A relay that failed or was dropped leaves both sockets open. Closing one then may look like the
/// end of a complete stream: [`TcpStream::set_zero_linger`] before that makes it a reset.
pub async fn copy_tcp_bidirectional(a: &TcpStream, b: &TcpStream, options: &Options) -> Result<Transferred, Error> {
    let mut relay = TcpRelay::new(options);
    poll_fn(|cx| relay.poll_relay(cx, a, b)).await
}

/// The state of a [`copy_tcp_bidirectional`], to be polled with the same two sockets each time.
#[derive(Debug)]
pub struct TcpRelay {
    up: TcpLane,
    down: TcpLane,
    deadlines: Deadlines,
}

impl TcpRelay {
    /// A relay that has moved nothing yet.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self { up: TcpLane::new(), down: TcpLane::new(), deadlines: Deadlines::new(options) }
    }

    /// Begins with these bytes, which were read from `side` before: they go to the other side first, and
    /// count as moved.
    #[must_use]
    pub fn after_reading(mut self, side: Side, bytes: Vec<u8>) -> Self {
        match side {
            Side::A => self.up.begin_with(bytes),
            Side::B => self.down.begin_with(bytes),
        }
        self
    }

    /// The bytes that have arrived so far.
    #[must_use]
    pub fn transferred(&self) -> Transferred {
        Transferred { a_to_b: self.up.written(), b_to_a: self.down.written() }
    }

    /// Moves what can be moved now; ready once both sockets have ended. A poll does a bounded
    /// amount of work and, if there is more to do, wakes its task. Timeouts count from
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
        a: &TcpStream,
        b: &TcpStream,
    ) -> Poll<Result<Transferred, Error>> {
        let up = self.up.poll_move(cx, a, b);
        // A socket tells of its failure once, and looks as if it had ended from then on: the other way must not
        // take that for an end, and pass it on.
        let down = if matches!(up, Poll::Ready(Err(_))) { Poll::Pending } else { self.down.poll_move(cx, b, a) };
        let progress = self.up.progress() + self.down.progress();
        settle(cx, (up, down), self.transferred(), &mut self.deadlines, progress)
    }
}
