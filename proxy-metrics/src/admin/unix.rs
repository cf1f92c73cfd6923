//! A Unix socket for its owner only.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proxy_core::{Listener, Peer};
use tokio::net::{UnixListener, UnixStream};

/// A Unix socket for its owner only. It is removed with it, unless another has taken its path.
pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The file's device and number.
    file: Option<(u64, u64)>,
}

impl UnixSocket {
    /// It is made beside its place and put there once nobody else may open it.
    pub(super) fn bind(path: PathBuf) -> io::Result<Self> {
        let at =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {}: {error}", path.display()));
        if fs::symlink_metadata(&path).is_ok_and(|data| !data.file_type().is_socket()) {
            return Err(at(io::Error::new(io::ErrorKind::AlreadyExists, "it is there, and no socket")));
        }
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let listener = in_place(&beside, &path).map_err(at)?;
        let file = number(&path);
        Ok(UnixSocket { listener, path, file })
    }
}

fn in_place(beside: &Path, path: &Path) -> io::Result<UnixListener> {
    if fs::symlink_metadata(beside).is_ok_and(|data| data.file_type().is_socket()) {
        // Of somebody who was killed in the middle of this.
        fs::remove_file(beside)?;
    }
    let listener = UnixListener::bind(beside)?;
    fs::set_permissions(beside, Permissions::from_mode(0o600))?;
    fs::rename(beside, path)?;
    Ok(listener)
}

fn number(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

impl Listener for UnixSocket {
    type Io = UnixStream;

    async fn accept(&mut self) -> (UnixStream, Peer) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, Peer::default()),
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "accept failed");
                    // Without descriptors it fails at once, again and again.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if self.file.is_some() && number(&self.path) == self.file {
            let _ = fs::remove_file(&self.path);
        }
    }
}
