//! Where there is no `openat2`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::OFlags;

use super::{Means, Patience};

pub(super) const PATH_ONLY: OFlags = OFlags::empty();

pub(super) fn means(_: &OwnedFd) -> Means {
    Means::Walk
}

pub(super) fn open_cached(_: &Path, _: OFlags) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::WouldBlock.into())
}

pub(super) fn open(_: &OwnedFd, _: &Path, _: OFlags, _: bool, _: Patience) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}
