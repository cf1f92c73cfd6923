//! Waiting for a file to change.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Tells when a file has changed and has settled.
///
/// Its state is looked at every second, through links: so a file that is renamed into its place, as editors do
/// it, is seen, a directory that is swapped, as Kubernetes does it, and a change on a network file system. A
/// file that still changes, or is not there for a moment, is left to settle first.
///
/// ```no_run
/// use proxy_config::{Config, FileWatch, Server};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut watch = FileWatch::new("lb.json"); // before it is read: no change is missed
/// let server = Server::start(&Config::load("lb.json")?)?;
/// loop {
///     watch.changed().await;
///     if let Err(error) = server.reload_file("lb.json").await {
///         eprintln!("nothing was changed: {error}");
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    interval: Duration,
    seen: Option<State>,
}

/// What changes when the file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    modified: Option<SystemTime>,
    length: u64,
    /// A file that was renamed here may have the age and the length of the one before.
    number: u64,
}

impl FileWatch {
    /// Between two looks at a file that changes, until it is taken to be whole.
    const SETTLE: Duration = Duration::from_millis(100);

    /// Will tell of changes from now on. The file need not be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let seen = std::fs::metadata(&path).ok().map(|data| State::of(&data));
        FileWatch { path, interval: Duration::from_secs(1), seen }
    }

    /// How often it is looked at.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ready when the file is another than the last time, and has stayed so for 100 ms.
    ///
    /// # Cancel safety
    /// No change is missed.
    pub async fn changed(&mut self) {
        loop {
            let state = self.state().await;
            if state.is_none() || state == self.seen {
                tokio::time::sleep(self.interval).await;
                continue;
            }
            tokio::time::sleep(Self::SETTLE).await;
            if self.state().await == state {
                self.seen = state;
                return;
            }
        }
    }

    async fn state(&self) -> Option<State> {
        tokio::fs::metadata(&self.path).await.ok().map(|data| State::of(&data))
    }
}

impl State {
    pub(crate) fn of(data: &Metadata) -> Self {
        State { modified: data.modified().ok(), length: data.len(), number: number(data) }
    }
}

#[cfg(unix)]
fn number(data: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(data)
}

#[cfg(not(unix))]
fn number(_: &Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("file-watch-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn watch(path: &Path) -> FileWatch {
        FileWatch::new(path).interval(Duration::from_millis(10))
    }

    async fn changes(watch: &mut FileWatch) -> bool {
        tokio::time::timeout(Duration::from_secs(30), watch.changed()).await.is_ok()
    }

    async fn stays(watch: &mut FileWatch) -> bool {
        tokio::time::timeout(Duration::from_millis(300), watch.changed()).await.is_err()
    }

    #[tokio::test]
    async fn writing_renaming_and_swapping_are_changes() {
        let folder = Folder::new("changes");
        let file = folder.file("lb.json");
        fs::write(&file, "one").unwrap();
        let mut watched = watch(&file);
        assert!(stays(&mut watched).await);
        fs::write(&file, "two, longer").unwrap();
        assert!(changes(&mut watched).await);
        assert!(stays(&mut watched).await, "one change is told once");
        // As an editor does it, with the same length.
        fs::write(folder.file("new"), "six, longer").unwrap();
        fs::rename(folder.file("new"), &file).unwrap();
        assert!(changes(&mut watched).await);
        fs::remove_file(&file).unwrap();
        assert!(stays(&mut watched).await, "a file that is away is no configuration");
        fs::write(&file, "three").unwrap();
        assert!(changes(&mut watched).await);
    }

    /// As Kubernetes does it: the file is a link into `..data`, which is a link to a folder, and is swapped.
    #[cfg(unix)]
    #[tokio::test]
    async fn a_swapped_folder_is_a_change() {
        use std::os::unix::fs::symlink;
        let folder = Folder::new("swap");
        for version in ["v1", "v2"] {
            fs::create_dir(folder.file(version)).unwrap();
            fs::write(folder.file(version).join("lb.json"), version).unwrap();
        }
        symlink("v1", folder.file("..data")).unwrap();
        symlink("..data/lb.json", folder.file("lb.json")).unwrap();
        let mut watched = watch(&folder.file("lb.json"));
        symlink("v2", folder.file("..tmp")).unwrap();
        fs::rename(folder.file("..tmp"), folder.file("..data")).unwrap();
        assert!(changes(&mut watched).await);
        assert_eq!(fs::read_to_string(watched.path()).unwrap(), "v2");
    }

    #[tokio::test]
    async fn a_file_that_still_changes_is_left_to_settle() {
        let folder = Folder::new("settle");
        let file = folder.file("lb.json");
        let mut watched = watch(&file);
        let written = file.clone();
        let writing = tokio::spawn(async move {
            for length in 1..=20 {
                tokio::fs::write(&written, "x".repeat(length)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(changes(&mut watched).await);
        writing.await.unwrap();
        // Where the machine stood still for a while, it took it to be whole before.
        if fs::metadata(&file).unwrap().len() != watched.seen.unwrap().length {
            assert!(changes(&mut watched).await);
        }
        assert!(stays(&mut watched).await);
    }
}
