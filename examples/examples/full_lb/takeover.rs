//! Takes over from the process that runs, hands over to the next, and starts that on SIGUSR2.

use std::future::pending;
use std::io;
use std::path::PathBuf;

use proxy_config::{Inherited, Server, UpgradeSocket};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;

/// Where processes meet, and whether one is there already.
pub(crate) struct Takeover {
    pub(crate) socket: Option<PathBuf>,
    pub(crate) upgrade: bool,
}

impl Takeover {
    /// No process before this one, and none after it.
    pub(crate) fn none() -> Self {
        Takeover { socket: None, upgrade: false }
    }

    /// The sockets of the process that runs, or those that systemd has opened.
    pub(crate) async fn inherited(&self) -> Result<Inherited, Failure> {
        match &self.socket {
            Some(path) if self.upgrade => Inherited::ask(path)
                .await
                .map_err(|error| Failure::at_run_time(format!("cannot take over at {}: {error}", path.display()))),
            _ => Inherited::from_system().map_err(Failure::at_run_time),
        }
    }

    /// Once this process serves: the one before drains, and the next may ask.
    pub(crate) async fn serving(self, inherited: Inherited) -> Result<Option<Successor>, Failure> {
        let socket = match self.socket {
            Some(_) if self.upgrade => inherited.ready().await.map_err(Failure::at_run_time)?,
            Some(path) => UpgradeSocket::open(path).map_err(Failure::at_run_time)?,
            None => return Ok(None),
        };
        Ok(Some(Successor { socket }))
    }
}

/// The process that may come.
pub(crate) struct Successor {
    socket: UpgradeSocket,
}

impl Successor {
    async fn serves(&mut self, server: &Server) -> io::Result<()> {
        let mut wanted = signal(SignalKind::user_defined2())?;
        loop {
            tokio::select! {
                () = self.socket.hand_over(server) => return Ok(()),
                _ = wanted.recv() => match start() {
                    Ok(()) => tracing::info!("a new process is started"),
                    Err(error) => tracing::error!(%error, "no new process can be started: this one goes on"),
                },
            }
        }
    }
}

/// Ready once a new process serves.
pub(crate) async fn handed_over(successor: &mut Option<Successor>, server: &Server) {
    match successor {
        Some(successor) => match successor.serves(server).await {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, "no new process can take over");
                pending::<()>().await;
            }
        },
        None => pending().await,
    }
}

/// What is installed now under the name that this process was started by, with its arguments.
fn start() -> io::Result<()> {
    let mut words = std::env::args_os();
    let program = words.next().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    command.args(words.filter(|word| word != "--upgrade")).arg("--upgrade");
    // These are said to one process, by its number.
    for said in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
        command.env_remove(said);
    }
    // tokio looks after it: one that fails leaves nothing behind.
    command.spawn().map(drop)
}
