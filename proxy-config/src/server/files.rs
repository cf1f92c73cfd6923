//! Files that something was made from, and what happens when they change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ServerError;
use crate::file_watch::State;

/// Several files that belong together, such as certificates and their keys.
///
/// All are looked at every second, as [`FileWatch`](crate::FileWatch) does it, on one thread.
pub(super) struct Files {
    paths: Arc<[PathBuf]>,
    seen: States,
}

type States = Vec<Option<State>>;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at files that change, until they are taken to be whole.
const SETTLE: Duration = Duration::from_millis(100);

/// Makes something from files once more, and puts it into force.
pub(super) type Reload = Arc<dyn Fn() -> Result<(), ServerError> + Send + Sync>;

impl Files {
    /// Will tell of changes from now on: so before the files are read.
    pub(super) fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let paths: Arc<[_]> = paths.into_iter().collect();
        Files { seen: states(&paths), paths }
    }

    /// Reloads whenever they have changed, for as long as it is polled. Where that fails, all stays as it is.
    pub(super) async fn follow(mut self, reload: Reload) {
        loop {
            self.changed().await;
            let mut loaded = attempt(&reload).await;
            if loaded.is_err() {
                // A certificate and its key are two files: the other one may be about to follow.
                tokio::time::sleep(INTERVAL).await;
                loaded = attempt(&reload).await;
            }
            match loaded {
                Ok(()) => tracing::info!(files = ?self.paths, "loaded again"),
                Err(error) => tracing::error!(%error, "not loaded again: what was loaded before stays"),
            }
        }
    }

    async fn changed(&mut self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let states = self.look().await;
            if states == self.seen {
                continue;
            }
            tokio::time::sleep(SETTLE).await;
            // What is away for a moment is being replaced.
            if self.look().await == states && !states.contains(&None) {
                self.seen = states;
                return;
            }
        }
    }

    async fn look(&self) -> States {
        let paths = Arc::clone(&self.paths);
        blocking(move || states(&paths)).await
    }
}

async fn attempt(reload: &Reload) -> Result<(), ServerError> {
    let reload = Arc::clone(reload);
    blocking(move || reload()).await
}

/// On a thread for blocking work, so that no request waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

fn states(paths: &[PathBuf]) -> States {
    paths.iter().map(|path| std::fs::metadata(path).ok().map(|data| State::of(&data))).collect()
}
