//! Opening what lies beneath a folder, and nothing else.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

#[cfg(not(target_os = "linux"))]
#[path = "beneath/absent.rs"]
mod kernel;
#[cfg(target_os = "linux")]
mod kernel;
mod walk;

/// A folder, by its path: one that takes its place is served at once.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    path: PathBuf,
    means: Means,
    follow_links: bool,
}

/// What the kernel offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// `openat2`, also without waiting.
    Cached,
    /// `openat2`.
    Beneath,
    /// Neither: segment by segment.
    Walk,
}

/// Whether looking something up may wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) says that it would have to.
    None,
    Enough,
}

/// A root that is open.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    root: &'a Root,
    folder: OwnedFd,
    patience: Patience,
}

impl Root {
    /// Looks at the folder, and finds out what the kernel offers for it.
    pub(crate) fn new(path: PathBuf, follow_links: bool) -> io::Result<Self> {
        let folder = open_root(&path)?;
        Ok(Root { path, means: kernel::means(&folder), follow_links })
    }

    /// The same without the calls that this kernel has.
    #[cfg(test)]
    pub(crate) fn with(path: PathBuf, follow_links: bool, means: Means) -> Self {
        Root { path, means, follow_links }
    }

    /// Whether looking up may be tried without waiting.
    pub(crate) fn can_be_impatient(&self) -> bool {
        self.means == Means::Cached
    }

    pub(crate) fn open(&self, patience: Patience) -> io::Result<Opened<'_>> {
        let folder = match patience {
            Patience::None => kernel::open_cached(&self.path, FOLDER)?,
            Patience::Enough => open_root(&self.path)?,
        };
        Ok(Opened { root: self, folder, patience })
    }
}

impl Opened<'_> {
    /// Opens a file, or a folder, for reading. The path is relative, of plain names; the empty one is the root.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        // A pipe that nobody writes to must not be waited for; a terminal must not become ours.
        self.open_as(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)
    }

    /// Opens a folder, to list it.
    pub(crate) fn open_folder(&self, path: &Path) -> io::Result<File> {
        self.open_as(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn open_as(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = flags | OFlags::CLOEXEC;
        let opened = match self.root.means {
            Means::Walk => walk::open(&self.folder, path, flags),
            _ => kernel::open(&self.folder, path, flags, self.root.follow_links, self.patience),
        };
        Ok(opened?.into())
    }

    /// Whether a link that is beneath the root leads somewhere.
    pub(crate) fn follows_links(&self) -> bool {
        self.root.follow_links && self.root.means != Means::Walk
    }
}

/// Only to open something beneath it.
const FOLDER: OFlags = kernel::PATH_ONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The root itself may be reached through links: its path is the operator's.
fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, FOLDER, Mode::empty())?)
}

/// Whether an error says that there is nothing of this name that may be served: missing, a link, out of the
/// folder, no folder on the way, a name too long, a socket.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    const ABSENT: [Errno; 7] =
        [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::XDEV, Errno::NAMETOOLONG, Errno::NXIO, Errno::NODEV];
    Errno::from_io_error(error).is_some_and(|error| ABSENT.contains(&error))
}

#[cfg(test)]
mod tests;
