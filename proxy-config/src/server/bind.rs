//! The sockets of a listener.

use std::io;
use std::net::SocketAddr;

use proxy_core::{Listener as _, TcpListener};

use super::ServerError;
use crate::Listener;
use crate::path::Path;

/// One socket per address, or with `reuse_port` one per address and worker.
pub(super) fn sockets(
    path: &Path<'_>,
    name: &str,
    listener: &Listener,
    workers: usize,
) -> Result<Vec<TcpListener>, ServerError> {
    let key = Path::Key(path, "listen");
    let mut sockets = Vec::new();
    for (index, address) in listener.listen.iter().enumerate() {
        let opened = match listener.reuse_port {
            Some(true) => one_per_worker(*address, workers),
            _ => TcpListener::bind(*address).map(|socket| vec![socket]),
        };
        let opened = opened
            .map_err(|error| ServerError::cannot_listen(Path::Index(&key, index).to_string(), *address, error))?;
        sockets.extend(opened.into_iter().map(|socket| socket.named(name)));
    }
    Ok(sockets)
}

fn one_per_worker(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind_reuse_port(address)?;
    // Where the system chose the port, all have to use the same one.
    let address = first.local_addr()?;
    let others = (1..workers).map(|_| TcpListener::bind_reuse_port(address));
    std::iter::once(Ok(first)).chain(others).collect()
}
