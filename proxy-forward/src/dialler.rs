//! Connecting to what was checked.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use proxy_core::{Connector, Io, Target};
use tokio::net::TcpStream;

use crate::origins::Directory;

mod eyeballs;

/// Connects to one address. A test's hands out streams in memory, and counts.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// A connection to this address.
    ///
    /// # Errors
    /// If there is none to be had.
    ///
    /// # Cancel safety
    /// Required: the future is dropped when another address was faster.
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Io>>;
}

/// Connects by TCP, with `TCP_NODELAY`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TcpDial;

#[async_trait]
impl Dial for TcpDial {
    async fn dial(&self, address: SocketAddr) -> io::Result<Box<dyn Io>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// What the pool connects with: to the addresses that were checked for a backend, and to nothing else.
pub(crate) struct Dialler {
    dial: Arc<dyn Dial>,
    directory: Directory,
}

impl Dialler {
    pub(crate) fn new(dial: Arc<dyn Dial>, directory: Directory) -> Self {
        Dialler { dial, directory }
    }
}

#[async_trait]
impl Connector for Dialler {
    async fn connect(&self, target: &Target) -> io::Result<Box<dyn Io>> {
        // No backend comes here but those of origins, which are in it while a request uses them.
        let checked = self.directory.checked(target.backend()).ok_or(io::ErrorKind::PermissionDenied)?;
        eyeballs::race(&*self.dial, checked.addresses()).await
    }
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialler")
    }
}
