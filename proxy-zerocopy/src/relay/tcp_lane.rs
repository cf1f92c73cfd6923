use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{io::AsyncWrite, net::TcpStream};

use crate::{error::Fault, splice::Pump};

/// One direction between TCP sockets, with the half-close at its end.
#[derive(Debug)]
pub(super) struct TcpLane {
    pump: Pump,
    closed: bool,
}

impl TcpLane {
    pub(super) fn new() -> Self {
        Self { pump: Pump::new(None), closed: false }
    }

    pub(super) fn written(&self) -> u64 {
        self.pump.moved()
    }

    /// Grows with each byte read and with each byte written.
    pub(super) fn progress(&self) -> u64 {
        self.pump.progress()
    }

    /// Moves bytes; ready once the source has ended and the sink is shut down for writing.
    pub(super) fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &mut TcpStream,
    ) -> Poll<Result<(), Fault>> {
        if !self.closed {
            ready!(self.pump.poll_rounds(cx, from, to))?;
            ready!(poll_close(cx, to)).map_err(Fault::Write)?;
            self.closed = true;
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_close(cx: &mut Context<'_>, to: &mut TcpStream) -> Poll<io::Result<()>> {
    Pin::new(to).poll_shutdown(cx)
}
