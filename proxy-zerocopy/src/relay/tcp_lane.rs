use std::{
    io,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::{buffer::Buffer, error::Fault, splice::Pump};

/// One direction between TCP sockets, with the half-close at its end.
#[derive(Debug)]
pub(super) struct TcpLane {
    /// Bytes that were read before, and go first; dropped once they are written.
    ahead: Option<Box<Buffer>>,
    /// How many of them are written.
    led: u64,
    pump: Pump,
    closed: bool,
}

impl TcpLane {
    pub(super) fn new() -> Self {
        Self { ahead: None, led: 0, pump: Pump::new(None), closed: false }
    }

    /// Writes these bytes before the first read.
    pub(super) fn begin_with(&mut self, bytes: Vec<u8>) {
        self.ahead = (!bytes.is_empty()).then(|| Box::new(Buffer::holding(bytes)));
    }

    pub(super) fn written(&self) -> u64 {
        self.led + self.pump.moved()
    }

    /// Grows with each byte read and with each byte written.
    pub(super) fn progress(&self) -> u64 {
        self.led + self.pump.progress()
    }

    /// Moves bytes; ready once the source has ended and the sink is shut down for writing.
    pub(super) fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
    ) -> Poll<Result<(), Fault>> {
        if !self.closed {
            ready!(self.poll_lead(cx, to)).map_err(Fault::Write)?;
            ready!(self.pump.poll_rounds(cx, from, to))?;
            close(to).map_err(Fault::Write)?;
            self.closed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_lead(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<()>> {
        while let Some(ahead) = &mut self.ahead {
            ready!(to.poll_write_ready(cx))?;
            match to.try_write(ahead.pending()) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    self.led += written as u64;
                    ahead.consume(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if ahead.is_empty() {
                self.ahead = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Closes the sending side. A peer that has reset the connection meanwhile shows where it is read from.
fn close(to: &TcpStream) -> io::Result<()> {
    match SockRef::from(to).shutdown(std::net::Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}
