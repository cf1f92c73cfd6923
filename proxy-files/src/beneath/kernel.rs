//! `openat2`, whose resolution cannot leave a folder.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::{Means, Patience};

pub(super) const PATH_ONLY: OFlags = OFlags::PATH;

/// A rename on the way may make the kernel ask for another try.
const TRIES: usize = 8;

/// Tries the calls with the folder itself.
pub(super) fn means(folder: &OwnedFd) -> Means {
    let works = |resolve| {
        let opened =
            openat2(folder, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH | resolve);
        matches!(opened, Ok(_) | Err(Errno::AGAIN))
    };
    match () {
        () if works(ResolveFlags::CACHED) => Means::Cached,
        () if works(ResolveFlags::empty()) => Means::Beneath,
        () => Means::Walk,
    }
}

/// Opens a path of the operator's, if that takes no waiting.
pub(super) fn open_cached(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)?)
}

pub(super) fn open(
    folder: &OwnedFd,
    path: &Path,
    flags: OFlags,
    follow_links: bool,
    patience: Patience,
) -> io::Result<OwnedFd> {
    let links = if follow_links { ResolveFlags::empty() } else { ResolveFlags::NO_SYMLINKS };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | links;
    let open = |resolve| openat2(folder, path, flags, Mode::empty(), resolve);
    if patience == Patience::None {
        return Ok(open(resolve | ResolveFlags::CACHED)?);
    }
    let mut opened = open(resolve);
    for _ in 1..TRIES {
        match opened {
            Err(Errno::AGAIN | Errno::INTR) => opened = open(resolve),
            opened => return Ok(opened?),
        }
    }
    Ok(opened?)
}
