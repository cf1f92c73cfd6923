//! The sockets of listeners: opened once, and kept over reloads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use proxy_core::{Listener as _, TcpListener};

use super::ServerError;
use crate::path::Path;
use crate::{Config, Listener};

/// The open sockets of one address of a listener: one, or with `reuse_port` one per worker.
#[derive(Debug)]
pub(super) struct Socket {
    listener: String,
    /// The address as the configuration writes it: its port may be 0.
    configured: SocketAddr,
    reuse_port: bool,
    /// Where it listens.
    local: SocketAddr,
    /// Kept beside the accept loops' own handles, so that a socket can go from one listener to another without
    /// being closed.
    handles: Vec<std::net::TcpListener>,
}

impl Socket {
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn is_of(&self, listener: &str) -> bool {
        self.listener == listener
    }

    /// The handles for a listener's accept loops.
    pub(super) fn handles(&self, listener: &str) -> io::Result<Vec<TcpListener>> {
        let handles = self.handles.iter().map(|handle| TcpListener::from_std(handle.try_clone()?));
        handles.map(|handle| Ok(handle?.named(listener))).collect()
    }

    fn open(listener: &str, configured: SocketAddr, reuse_port: bool, workers: usize) -> io::Result<Self> {
        let handles = match reuse_port {
            true => one_per_worker(configured, workers)?,
            false => vec![TcpListener::bind(configured)?],
        };
        let local = handles[0].local_addr()?;
        let handles = handles.into_iter().map(TcpListener::into_std).collect::<io::Result<_>>()?;
        Ok(Socket { listener: listener.to_owned(), configured, reuse_port, local, handles })
    }
}

fn one_per_worker(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind_reuse_port(address)?;
    // Where the system chose the port, all have to use the same one.
    let address = first.local_addr()?;
    let others = (1..workers).map(|_| TcpListener::bind_reuse_port(address));
    std::iter::once(Ok(first)).chain(others).collect()
}

/// The sockets that are there, of which a new configuration takes those it names.
pub(super) struct Sockets(Vec<Arc<Socket>>);

impl Sockets {
    pub(super) fn new(open: impl Iterator<Item = Arc<Socket>>) -> Self {
        Sockets(open.collect())
    }

    /// The sockets of a listener: those of its addresses that are open, and new ones.
    pub(super) fn take(
        &mut self,
        path: &Path<'_>,
        name: &str,
        listener: &Listener,
        config: &Config,
    ) -> Result<Vec<Arc<Socket>>, ServerError> {
        let key = Path::Key(path, "listen");
        let addresses = listener.listen.iter().enumerate();
        let sockets = addresses.map(|(index, &address)| {
            let reuse_port = listener.reuse_port == Some(true);
            if let Some(socket) = self.claim(name, address) {
                return match socket.reuse_port == reuse_port {
                    true => Ok(socket),
                    false => Err(ServerError::start_only(Path::Key(path, "reuse_port").to_string())),
                };
            }
            let opened = Socket::open(name, address, reuse_port, config.worker_count());
            let at = |error| ServerError::cannot_listen(Path::Index(&key, index).to_string(), address, error);
            opened.map(Arc::new).map_err(at)
        });
        sockets.collect()
    }

    /// An open socket of this address. One whose port the system chose belongs to its listener.
    fn claim(&mut self, listener: &str, configured: SocketAddr) -> Option<Arc<Socket>> {
        let fits = |socket: &Arc<Socket>| {
            socket.configured == configured && (configured.port() != 0 || socket.is_of(listener))
        };
        let index = self.0.iter().position(fits)?;
        Some(self.0.remove(index))
    }
}
