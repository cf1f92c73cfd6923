use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{copy_lane::CopyLane, settle::settle};
use crate::{Error, Options, Side, Transferred, deadlines::Deadlines};

/// Relays bytes between two streams until both have ended.
///
/// When one side ends, the other is shut down for writing, and the opposite direction goes on.
/// Both directions run in the calling task.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use proxy_zerocopy::{Options, copy_bidirectional};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
///
/// let (mut client, mut front) = duplex(64);
/// let (mut back, mut server) = duplex(64);
/// let relay = tokio::spawn(async move {
///     copy_bidirectional(&mut front, &mut back, &Options::new()).await
/// });
///
/// client.write_all(b"ping").await?;
/// client.shutdown().await?;
/// let mut request = String::new();
/// server.read_to_string(&mut request).await?; // ends, as the client's end is passed on
/// server.write_all(b"ok").await?;
/// drop(server);
///
/// let transferred = relay.await??;
/// assert_eq!((transferred.a_to_b, transferred.b_to_a), (4, 2));
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
/// Not cancel safe: dropping the future loses the buffered bytes and the counts. Keep a
/// [`Relay`] to have the counts in any case.
pub async fn copy_bidirectional<A, B>(a: &mut A, b: &mut B, options: &Options) -> Result<Transferred, Error>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let mut relay = Relay::new(options);
    poll_fn(|cx| relay.poll_relay(cx, a, b)).await
}

/// The state of a [`copy_bidirectional`], to be polled with the same two streams each time.
///
/// ```
/// # async fn example<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
/// #     mut a: S, mut b: S, shutdown: impl Future<Output = ()>) {
/// use proxy_zerocopy::{Options, Relay};
/// use std::future::poll_fn;
///
/// let mut relay = Relay::new(&Options::new());
/// tokio::select! {
///     _ = poll_fn(|cx| relay.poll_relay(cx, &mut a, &mut b)) => {}
///     () = shutdown => {}
/// }
/// println!("{} bytes", relay.transferred().total());
/// # }
/// ```
#[derive(Debug)]
pub struct Relay {
    up: CopyLane,
    down: CopyLane,
    deadlines: Deadlines,
}

impl Relay {
    /// A relay that has moved nothing yet.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            up: CopyLane::new(options.buffer_size),
            down: CopyLane::new(options.buffer_size),
            deadlines: Deadlines::new(options),
        }
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

    /// Moves what can be moved now; ready once both streams have ended. A poll does a bounded
    /// amount of work and, if there is more to do, wakes its task. Timeouts count from
    /// the first poll. After an error, poll no more.
    ///
    /// # Errors
    ///
    /// As [`copy_bidirectional`].
    ///
    /// # Panics
    ///
    /// As [`copy_bidirectional`].
    pub fn poll_relay<A, B>(&mut self, cx: &mut Context<'_>, a: &mut A, b: &mut B) -> Poll<Result<Transferred, Error>>
    where
        A: AsyncRead + AsyncWrite + Unpin + ?Sized,
        B: AsyncRead + AsyncWrite + Unpin + ?Sized,
    {
        let up = self.up.poll_move(cx, a, b);
        // A socket tells of its failure once, and looks as if it had ended from then on: the other way must not
        // take that for an end, and pass it on.
        let down = if matches!(up, Poll::Ready(Err(_))) { Poll::Pending } else { self.down.poll_move(cx, b, a) };
        let progress = self.up.progress() + self.down.progress();
        settle(cx, (up, down), self.transferred(), &mut self.deadlines, progress)
    }
}
