//! What a process was given by the one before it, or by the system.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use listenfd::ListenFd;
use tokio::net::UnixStream;

use super::wire::Wire;
use super::{HELLO, Sockets, UpgradeSocket, expect, invalid};
use crate::server::Socket;

/// Listening sockets that were open before this process: [`Server::start_with`](crate::Server::start_with) takes
/// those that its configuration names, and opens only the others.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Sockets,
    predecessor: Option<Predecessor>,
}

/// The process that serves until this one does.
#[derive(Debug)]
struct Predecessor {
    wire: Wire,
    socket: UpgradeSocket,
}

impl Inherited {
    /// Nothing: every address is to be opened.
    pub fn none() -> Self {
        Self::default()
    }

    /// Asks the process at this [`UpgradeSocket`] for its sockets. It goes on serving, and stops only once it is
    /// told that this one is [`ready`](Self::ready).
    ///
    /// # Errors
    /// If there is none, if it is of another user, or if it is handing over to another process.
    ///
    /// # Cancel safety
    /// Dropping the future, or what it returns, leaves the old process as it was.
    pub async fn ask(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let mut wire = Wire::new(UnixStream::connect(path).await?);
        wire.send(HELLO, &[]).await?;
        expect(&wire.prompt().await?, HELLO)?;
        let (mut sockets, mut door) = (Sockets::new(), None);
        loop {
            let line = wire.prompt().await?;
            match line.split_once(' ').unwrap_or((&line, "")) {
                ("socket", about) => {
                    let (count, about) = about.split_once(' ').ok_or_else(|| invalid("no number of sockets"))?;
                    let handles = wire.take(count.parse().map_err(invalid)?)?;
                    sockets.push(Socket::adopt(about, handles)?.into());
                }
                ("upgrade", "") => door = wire.take(1)?.pop(),
                ("end", "") => break,
                // A later version may say more.
                _ => {}
            }
        }
        let door = StdListener::from(door.ok_or_else(|| invalid("no socket to upgrade from"))?);
        let mut socket = UpgradeSocket::adopt(door, path.to_owned())?;
        // It is the old process's until this one serves.
        socket.handed_over = true;
        Ok(Inherited { sockets, predecessor: Some(Predecessor { wire, socket }) })
    }

    /// The sockets that systemd opened for this process (`LISTEN_FDS`), each for the listener of its address; none
    /// where it did not. What is no socket of an address is left alone.
    ///
    /// # Errors
    /// If a socket does not say where it listens.
    pub fn from_system() -> io::Result<Self> {
        let mut given = ListenFd::from_env();
        let mut sockets = Sockets::new();
        for index in 0..given.len() {
            if let Ok(Some(socket)) = given.take_tcp_listener(index) {
                sockets.push(Socket::given(socket)?.into());
            } else if let Ok(Some(socket)) = given.take_udp_socket(index) {
                sockets.push(Socket::given_datagrams(socket)?.into());
            }
        }
        Ok(Inherited { sockets, predecessor: None })
    }

    /// How many addresses are open.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    pub(crate) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Tells the old process that this one serves, and takes its [`UpgradeSocket`] over: the next one asks here.
    ///
    /// An old process that has meanwhile ended is as good as one that drains.
    ///
    /// # Errors
    /// If there is no old process, or it has given this one up: then it serves on, and this one must not.
    pub async fn ready(self) -> io::Result<UpgradeSocket> {
        let Some(Predecessor { mut wire, mut socket }) = self.predecessor else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no process was asked for its sockets"));
        };
        // What it was told, its answer shows.
        let _ = wire.send("ready", &[]).await;
        match wire.prompt().await {
            Ok(line) => expect(&line, "draining")?,
            Err(error) => tracing::warn!(%error, "the old process has ended"),
        }
        socket.handed_over = false;
        Ok(socket)
    }
}
