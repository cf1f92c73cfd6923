//! Backends listed in a file.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use proxy_core::Backend;

use super::{Discover, DiscoverError, backends_from_lines};

/// A larger file lists no backends.
const LARGEST: u64 = 16 * 1024 * 1024;

type Parse = Box<dyn Fn(&str) -> Result<Vec<Backend>, DiscoverError> + Send + Sync>;

/// Backends listed in a file, which is read anew when it changes.
///
/// The file's state is looked at every second, through links, so a file that is replaced, or a directory that
/// is swapped as Kubernetes does it, is seen; and on network file systems too, which tell nobody of changes. A
/// file that still changes is left to settle first.
///
/// Its format is that of [`backends_from_lines`], unless [`parser`](Self::parser) says otherwise.
pub struct WatchedFile {
    path: PathBuf,
    interval: Duration,
    parse: Parse,
    seen: Option<State>,
}

/// What changes when the file does.
type State = (Option<SystemTime>, u64);

impl WatchedFile {
    /// Between two looks at a file that changes, until it is taken to be whole.
    const SETTLE: Duration = Duration::from_millis(100);

    /// This file. It need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let lines = |text: &str| backends_from_lines(text).map_err(|error| DiscoverError::new(error.to_string()));
        WatchedFile { path: path.into(), interval: Duration::from_secs(1), parse: Box::new(lines), seen: None }
    }

    /// How often it is looked at.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How its text is understood.
    #[must_use]
    pub fn parser(
        mut self,
        parse: impl Fn(&str) -> Result<Vec<Backend>, DiscoverError> + Send + Sync + 'static,
    ) -> Self {
        self.parse = Box::new(parse);
        self
    }

    async fn state(&self) -> Result<State, DiscoverError> {
        let data = tokio::fs::metadata(&self.path).await.map_err(|error| self.failed(&error))?;
        Ok((data.modified().ok(), data.len()))
    }

    /// Waits for a state that is not the one seen last, and that has settled.
    async fn change(&self) -> Result<State, DiscoverError> {
        let mut state = self.state().await?;
        while Some(state) == self.seen {
            tokio::time::sleep(self.interval).await;
            state = self.state().await?;
        }
        loop {
            tokio::time::sleep(Self::SETTLE).await;
            match self.state().await? {
                same if same == state => return Ok(state),
                other => state = other,
            }
        }
    }

    async fn read(&self, size: u64) -> Result<Vec<Backend>, DiscoverError> {
        if size > LARGEST {
            return Err(DiscoverError::new(format!("{}: larger than {LARGEST} bytes", self.path.display())));
        }
        let text = tokio::fs::read_to_string(&self.path).await.map_err(|error| self.failed(&error))?;
        (self.parse)(&text).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &dyn fmt::Display) -> DiscoverError {
        DiscoverError::new(format!("{}: {error}", self.path.display()))
    }
}

#[async_trait]
impl Discover for WatchedFile {
    async fn next(&mut self) -> Result<Vec<Backend>, DiscoverError> {
        let state = self.change().await?;
        // What is wrong with it stays wrong until it changes again: it is said once.
        self.seen = Some(state);
        self.read(state.1).await
    }
}

impl fmt::Debug for WatchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedFile").field("path", &self.path).finish_non_exhaustive()
    }
}
