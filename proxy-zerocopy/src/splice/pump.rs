use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use tokio::net::TcpStream;

use super::Pipe;
use crate::{Error, Side, Transferred, error::Fault};

/// System calls per poll before other tasks get a turn: at most 2 MiB, well below a millisecond.
const ROUNDS: usize = 16;

/// Moves bytes from one TCP socket to another, optionally no more than a limit.
///
/// A pump holds a [`Pipe`] only while bytes are in flight, and refills it only once it is empty.
/// It never takes a byte beyond its limit out of the source.
///
/// Use the same two sockets for all calls, and do not read the source or write the destination
/// elsewhere meanwhile. Dropping a pump loses the bytes [`in_flight`](Pump::in_flight).
///
/// ```no_run
/// # async fn example(from: tokio::net::TcpStream, to: tokio::net::TcpStream)
/// # -> Result<(), proxy_zerocopy::Error> {
/// use proxy_zerocopy::splice::{Ended, Pump};
///
/// let mut pump = Pump::new(Some(1000));
/// match pump.run(&from, &to).await? {
///     Ended::Limit => println!("all 1000 bytes"),
///     Ended::Eof => println!("only {} bytes", pump.moved()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pump {
    /// Holds at least one byte.
    pipe: Option<Pipe>,
    /// Bytes that may still be read.
    left: Option<u64>,
    moved: u64,
    eof: bool,
}

/// Why a pump is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As many bytes as the limit allows have arrived.
    Limit,
    /// The source has ended, and all that it sent has arrived.
    Eof,
}

impl Pump {
    /// A pump for at most `limit` bytes, or for all until the source ends.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        Self { pipe: None, left: limit, moved: 0, eof: false }
    }

    /// Bytes the destination has taken so far.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Bytes read from the source that the destination has not yet taken.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pipe.as_ref().map_or(0, Pipe::len)
    }

    /// Moves what can be moved now; ready once the limit or the end of the source is reached,
    /// and then again at each later call. A poll does a bounded amount of work and, if there is
    /// more to do, wakes its task. See [`moved`](Pump::moved) for progress made while pending.
    ///
    /// Registers with [`TcpStream::poll_read_ready`] of `from` and
    /// [`TcpStream::poll_write_ready`] of `to`; each remembers the latest task only.
    ///
    /// # Errors
    ///
    /// Reading failed on [`Side::A`], the source, or writing on [`Side::B`], the destination.
    pub fn poll_pump(&mut self, cx: &mut Context<'_>, from: &TcpStream, to: &TcpStream) -> Poll<Result<Ended, Error>> {
        let result = ready!(self.poll_rounds(cx, from, to));
        Poll::Ready(result.map_err(|fault| fault.into_error(Side::A, self.transferred())))
    }

    /// Waits until [`poll_pump`](Pump::poll_pump) is ready.
    ///
    /// # Errors
    ///
    /// As [`poll_pump`](Pump::poll_pump).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: bytes in flight and counts stay in the pump, and a later call goes on.
    pub async fn run(&mut self, from: &TcpStream, to: &TcpStream) -> Result<Ended, Error> {
        poll_fn(|cx| self.poll_pump(cx, from, to)).await
    }

    pub(crate) fn poll_rounds(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
    ) -> Poll<Result<Ended, Fault>> {
        for _ in 0..ROUNDS {
            if let Some(ended) = self.ended() {
                return Poll::Ready(Ok(ended));
            }
            ready!(self.poll_round(cx, from, to))?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Grows with each byte read and with each byte written.
    pub(crate) fn progress(&self) -> u64 {
        self.moved * 2 + self.in_flight() as u64
    }

    pub(super) fn transferred(&self) -> Transferred {
        Transferred { a_to_b: self.moved, b_to_a: 0 }
    }

    fn ended(&self) -> Option<Ended> {
        match (&self.pipe, self.left) {
            (None, Some(0)) => Some(Ended::Limit),
            (None, _) if self.eof => Some(Ended::Eof),
            _ => None,
        }
    }

    /// One attempt. Ready also if it moved nothing: then readiness is cleared, and the next round
    /// registers the task.
    fn poll_round(&mut self, cx: &mut Context<'_>, from: &TcpStream, to: &TcpStream) -> Poll<Result<(), Fault>> {
        if self.pipe.is_none() {
            ready!(from.poll_read_ready(cx)).map_err(Fault::Read)?;
            unless_blocked(self.fill(from)).map_err(Fault::Read)?;
        } else {
            ready!(to.poll_write_ready(cx)).map_err(Fault::Write)?;
            unless_blocked(self.drain(to)).map_err(Fault::Write)?;
        }
        Poll::Ready(Ok(()))
    }

    fn fill(&mut self, from: &TcpStream) -> io::Result<()> {
        let max = self.left.unwrap_or(u64::MAX);
        let mut pipe = Pipe::take();
        let read = pipe.fill(from, usize::try_from(max).unwrap_or(usize::MAX))?;
        self.left = self.left.map(|left| left - read as u64);
        self.eof = read == 0;
        self.pipe = Some(pipe).filter(|pipe| !pipe.is_empty());
        Ok(())
    }

    fn drain(&mut self, to: &TcpStream) -> io::Result<()> {
        if let Some(pipe) = &mut self.pipe {
            self.moved += pipe.drain(to)? as u64;
        }
        self.pipe = self.pipe.take().filter(|pipe| !pipe.is_empty());
        Ok(())
    }
}

fn unless_blocked(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        result => result,
    }
}
