//! From one process to the next: the new one gets the listening sockets of the old one, which drains once the new
//! one serves.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use crate::Server;
use crate::server::Socket;

mod inherited;
mod wire;

pub use inherited::Inherited;

use wire::Wire;

/// What both sides say first; the number changes with what follows.
const HELLO: &str = "proxy-upgrade 1";
/// How long an answer may take that needs no work.
const PROMPT: Duration = Duration::from_secs(10);
/// How long accepting pauses when the process has no descriptor left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Where a new process asks for the sockets of this one: a Unix socket that only this user and root may use.
///
/// ```no_run
/// use proxy_config::{Config, Inherited, Server, UpgradeSocket};
///
/// # async fn run(upgrade: bool) -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::load("lb.json")?;
/// let (server, mut socket) = if upgrade {
///     let inherited = Inherited::ask("/run/lb.sock").await?;
///     let server = Server::start_with(&config, &inherited)?;
///     (server, inherited.ready().await?) // the old process drains, and ends
/// } else {
///     (Server::start(&config)?, UpgradeSocket::open("/run/lb.sock")?)
/// };
/// socket.hand_over(&server).await; // a new process serves
/// server.drain().await;
/// # Ok(())
/// # }
/// ```
///
/// Old and new process accept from the same queues until the old one stops: no connection is refused, none is lost.
/// Each has its own limits, pools, health and counters.
///
/// Dropping it removes the socket, unless it was handed over.
#[derive(Debug)]
pub struct UpgradeSocket {
    listener: UnixListener,
    path: PathBuf,
    patience: Duration,
    handed_over: bool,
}

impl UpgradeSocket {
    /// Opens it. One that a process left behind that is no more is replaced.
    ///
    /// # Errors
    /// If another process answers there, or the path cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        remove_stale(&path)?;
        let listener = StdListener::bind(&path)?;
        // Who connects before is refused by its user.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        UpgradeSocket::adopt(listener, path)
    }

    fn adopt(listener: StdListener, path: PathBuf) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        Ok(UpgradeSocket { listener, path, patience: Duration::from_secs(60), handed_over: false })
    }

    /// How long a new process may take from its question until it serves, before it is given up. Default 60 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Waits for a new process, hands it the sockets of `server`, and is ready once it serves. Then it is time to
    /// [drain](Server::drain). A new process that fails, or hangs, changes nothing: the next one is waited for.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the new process that is being waited for.
    pub async fn hand_over(&mut self, server: &Server) {
        loop {
            let stream = self.accept().await;
            match self.attend(stream, server).await {
                Ok(()) => {
                    self.handed_over = true;
                    tracing::info!("a new process serves");
                    return;
                }
                Err(error) => tracing::error!(%error, "the new process does not serve: this one goes on"),
            }
        }
    }

    /// Hands over to one process, and tells others that they are too many.
    async fn attend(&self, stream: UnixStream, server: &Server) -> io::Result<()> {
        let mut wire = Wire::new(stream);
        let result = {
            let handing = tokio::time::timeout(self.patience, self.hand(&mut wire, server));
            let mut handing = std::pin::pin!(handing);
            loop {
                tokio::select! {
                    result = &mut handing => break result.unwrap_or_else(|_| Err(late("it did not get ready in time"))),
                    other = self.accept() => refuse(&mut Wire::new(other), "busy").await,
                }
            }
        };
        if result.is_err() {
            // Otherwise it would take this one to have died, and serve.
            refuse(&mut wire, "too late").await;
        }
        result
    }

    async fn hand(&self, wire: &mut Wire, server: &Server) -> io::Result<()> {
        expect(&wire.prompt().await?, HELLO)?;
        tracing::info!("handing the sockets to a new process");
        wire.send(HELLO, &[]).await?;
        for socket in server.sockets() {
            let (about, handles) = (socket.describe(), socket.descriptors());
            wire.send(&format!("socket {} {about}", handles.len()), &handles).await?;
        }
        wire.send("upgrade", &[self.listener.as_fd()]).await?;
        wire.send("end", &[]).await?;
        expect(&wire.line().await?, "ready")?;
        server.leave_admin();
        // From here on it serves, whatever becomes of this answer.
        let _ = wire.send("draining", &[]).await;
        Ok(())
    }

    /// The next one who may ask.
    async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if is_trusted(&stream) => return stream,
                Ok(_) => tracing::warn!("another user asked for the sockets"),
                Err(error) => {
                    tracing::warn!(%error, "accept failed; waiting before the next");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }
}

impl Drop for UpgradeSocket {
    fn drop(&mut self) {
        if !self.handed_over {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that nobody listens on.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(data) if !data.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{}: is no socket", path.display())));
        }
        Ok(_) => {}
    }
    match StdStream::connect(path) {
        Ok(_) => {
            let message = format!("{}: another process answers there; upgrade from it", path.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Whether the process at the other end is of this user, or of root.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// As far as it listens.
async fn refuse(wire: &mut Wire, word: &str) {
    let _ = tokio::time::timeout(BACK_OFF, wire.send(word, &[])).await;
}

fn expect(line: &str, expected: &str) -> io::Result<()> {
    match line {
        line if line == expected => Ok(()),
        "busy" => Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process is taking over already")),
        "too late" => Err(late("the old process has given this one up")),
        line => Err(invalid(format!("it said {line:?} instead of {expected:?}"))),
    }
}

fn invalid(message: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn late(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, message)
}

/// What a new process has been given.
type Sockets = Vec<Arc<Socket>>;
