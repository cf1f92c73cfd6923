//! Goes over to what the file says, whenever it changes and whenever SIGHUP says so; opens logs anew on SIGUSR1.

use std::io;
use std::path::{Path, PathBuf};

use proxy_config::{FileWatch, Server};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::systemd;

/// A file, and what tells that it may have changed.
pub(crate) struct Followed {
    file: PathBuf,
    changes: FileWatch,
    hangups: Signal,
}

impl Followed {
    /// Before the file is read for the first time, so that no change is missed.
    pub(crate) fn new(file: &Path) -> io::Result<Self> {
        let hangups = signal(SignalKind::hangup())?;
        Ok(Followed { file: file.to_owned(), changes: FileWatch::new(file), hangups })
    }

    async fn run(&mut self, server: &Server) {
        loop {
            let reason = tokio::select! {
                _ = self.hangups.recv() => "SIGHUP",
                () = self.changes.changed() => "the file changed",
            };
            tracing::info!(reason, file = %self.file.display(), "reloading");
            systemd::reloading();
            // What was changed, the server says itself.
            if let Err(error) = server.reload_file(&self.file).await {
                tracing::error!(%error, "not reloaded: everything is as it was");
            }
            systemd::ready();
        }
    }
}

/// Keeps the server at what the file says, as long as it is polled. The demo has none.
pub(crate) async fn run(followed: Option<Followed>, server: &Server) {
    match followed {
        Some(mut followed) => followed.run(server).await,
        None => std::future::pending().await,
    }
}

/// SIGUSR1, which says that the access log was moved away.
pub(crate) fn rotated() -> io::Result<Signal> {
    signal(SignalKind::user_defined1())
}

/// Opens the log anew each time, as long as it is polled.
pub(crate) async fn rotations(mut rotated: Signal, server: &Server) {
    while rotated.recv().await.is_some() {
        tracing::info!(reason = "SIGUSR1", "opening the access log anew");
        server.reopen_logs();
    }
    std::future::pending::<()>().await;
}
