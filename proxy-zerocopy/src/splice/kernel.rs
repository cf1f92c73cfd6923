use std::io;

use rustix::{
    io::retry_on_intr,
    pipe::{SpliceFlags, splice},
};
use tokio::{io::Interest, net::TcpStream};

use super::pool::{CAPACITY, Ends};

/// A kernel pipe that knows how many bytes are inside it.
#[derive(Debug)]
pub(super) struct KernelPipe {
    /// `None` only after drop began.
    ends: Option<Ends>,
    held: usize,
}

impl KernelPipe {
    pub(super) fn take() -> io::Result<Self> {
        Ok(Self { ends: Some(Ends::take()?), held: 0 })
    }

    pub(super) fn len(&self) -> usize {
        self.held
    }

    /// Only for an empty pipe: then `EAGAIN` can come from the socket alone, and `try_io` is right
    /// to clear the socket's readiness.
    pub(super) fn fill(&mut self, from: &TcpStream, max: usize) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0);
        let Some(ends) = &self.ends else { return Ok(0) };
        let max = max.min(CAPACITY);
        let moved = from
            .try_io(Interest::READABLE, || Ok(retry_on_intr(|| splice(from, None, &ends.write, None, max, FLAGS))?))?;
        self.held = moved;
        Ok(moved)
    }

    /// Only for a pipe with bytes: then `EAGAIN` can come from the socket alone.
    pub(super) fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        debug_assert_ne!(self.held, 0);
        let Some(ends) = &self.ends else { return Ok(0) };
        let moved = to.try_io(Interest::WRITABLE, || {
            Ok(retry_on_intr(|| splice(&ends.read, None, to, None, self.held, FLAGS))?)
        })?;
        self.held -= moved;
        Ok(moved)
    }
}

// Not `MORE`: it corks the socket, and the last bytes of a stream would wait 200 ms for company.
const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

impl Drop for KernelPipe {
    fn drop(&mut self) {
        // A pipe with bytes in it must not reach the next borrower: they are another stream's.
        if let Some(ends) = self.ends.take().filter(|_| self.held == 0) {
            ends.give_back();
        }
    }
}
