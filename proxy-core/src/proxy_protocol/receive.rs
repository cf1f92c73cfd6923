//! Taking a PROXY header off a connection, and nothing behind it.

use std::io;

use tokio::io::AsyncReadExt;

use super::rewound::Rewound;
use super::{ProxyHeader, Start, start};
use crate::{ErrorKind, Io};

/// More than a header takes in practice.
const ROOM: usize = 512;

/// A connection that may begin with a header.
pub(super) struct Receiver {
    io: Box<dyn Io>,
    max: usize,
    /// What was read, and is no header yet.
    read: Vec<u8>,
}

impl Receiver {
    pub(super) fn new(io: Box<dyn Io>, max: usize) -> Self {
        Receiver { io, max, read: Vec::new() }
    }

    /// Whether not one byte has come.
    pub(super) fn is_silent(&self) -> bool {
        self.read.is_empty()
    }

    /// The header; `None` if the connection begins with something else.
    ///
    /// # Cancel safety
    /// What was read is kept.
    pub(super) async fn header(&mut self) -> Result<Option<ProxyHeader>, ErrorKind> {
        loop {
            let before = self.read.len();
            match self.look().await {
                Ok(0) if before == 0 => return Ok(None),
                Ok(0) | Err(_) => return Err(ErrorKind::ClientGone),
                Ok(_) => {}
            }
            match start(&self.read, self.max) {
                Start::Incomplete => self.consume(before).await?,
                Start::Header(header, length) => {
                    self.forget_seen(length.max(before));
                    self.consume(before).await?;
                    self.read.drain(..length);
                    return Ok(Some(header));
                }
                Start::Other => {
                    self.forget_seen(before);
                    return Ok(None);
                }
                Start::Malformed => return Err(ErrorKind::BadProxyHeader),
            }
        }
    }

    /// The connection from behind the header.
    pub(super) fn into_rest(self) -> Box<dyn Io> {
        match self.read.is_empty() {
            true => self.io,
            false => Box::new(Rewound::new(self.read, self.io)),
        }
    }

    /// Appends what has come: from a socket without taking it, so that what is behind the header stays there.
    async fn look(&mut self) -> io::Result<usize> {
        let mut room = [0; ROOM];
        let count = match self.io.as_tcp() {
            Some(socket) => socket.peek(&mut room).await?,
            None => self.io.read(&mut room).await?,
        };
        self.read.extend_from_slice(&room[..count]);
        Ok(count)
    }

    /// Takes what was only looked at: all that was read but the first bytes.
    async fn consume(&mut self, before: usize) -> Result<(), ErrorKind> {
        if self.io.as_tcp().is_some() {
            let taken = self.io.read_exact(&mut self.read[before..]).await;
            taken.map_err(|_| ErrorKind::ClientGone)?;
        }
        Ok(())
    }

    /// Leaves in the socket what is behind the first bytes. Of another stream it was read, and comes first in what follows.
    fn forget_seen(&mut self, first: usize) {
        if self.io.as_tcp().is_some() {
            self.read.truncate(first);
        }
    }
}
