use std::io;

use tokio::net::TcpStream;

use crate::buffer::{Buffer, DEFAULT_SIZE};

/// The portable stand-in for a pipe: a pooled buffer.
#[derive(Debug)]
pub(super) struct Copied {
    buffer: Buffer,
}

impl Copied {
    pub(super) fn take() -> Self {
        Self { buffer: Buffer::take(DEFAULT_SIZE) }
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.pending().len()
    }

    pub(super) fn fill(&mut self, from: &TcpStream, max: usize) -> io::Result<usize> {
        let room = self.buffer.room();
        let max = max.min(room.len());
        let read = from.try_read(&mut room[..max])?;
        self.buffer.filled(read);
        Ok(read)
    }

    pub(super) fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        let written = to.try_write(self.buffer.pending())?;
        self.buffer.consume(written);
        Ok(written)
    }
}
