use std::{
    fs::File,
    io::{self, IoSliceMut},
    ops::Range,
};

use rustix::{
    fs::sendfile,
    io::{Errno, ReadWriteFlags, preadv2, retry_on_intr},
};
use tokio::{io::Interest, net::TcpStream};

/// Whether the first and the last byte can be read without waiting for a disk. A file system that cannot tell
/// counts as one that has to.
pub(super) fn is_in_memory(file: &File, piece: &Range<u64>) -> bool {
    let has = |at| {
        let mut byte = [0];
        let read = retry_on_intr(|| preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT));
        read.is_ok()
    };
    has(piece.start) && has(piece.end - 1)
}

/// Sends what the socket takes of this piece, which is not empty. `EAGAIN` comes from the socket alone.
pub(super) fn send(file: &File, piece: Range<u64>, to: &TcpStream) -> io::Result<usize> {
    let length = usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX);
    to.try_io(Interest::WRITABLE, || {
        let mut at = piece.start;
        match retry_on_intr(|| sendfile(to, file, Some(&mut at), length)) {
            Err(Errno::NOSYS | Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
            sent => Ok(sent?),
        }
    })
}
