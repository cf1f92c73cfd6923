//! Opening segment by segment, without following a link: what `openat2` promises, on any system.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, openat};

use super::kernel::PATH_ONLY;

/// Each segment is a name within the folder before it, which is open: nothing that is renamed meanwhile leads out.
pub(super) fn open(folder: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let mut segments = path.components().peekable();
    let mut above: Option<OwnedFd> = None;
    while let Some(segment) = segments.next() {
        let name = match segment {
            Component::Normal(name) => Path::new(name),
            Component::CurDir => Path::new("."),
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        let at = above.as_ref().unwrap_or(folder).as_fd();
        let flags = match segments.peek() {
            Some(_) => PATH_ONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            None => flags,
        };
        above = Some(openat(at, name, flags | OFlags::NOFOLLOW, Mode::empty())?);
    }
    above.ok_or_else(|| io::ErrorKind::NotFound.into())
}
