//! Reading and writing a socket by shared reference.
//!
//! What tokio's `AsyncRead` and `AsyncWrite` do, without `&mut`: readiness is asked first where nothing
//! is expected, the call is tried first where it is, and a short transfer clears readiness, so that no
//! call is made only to be told to wait.

use std::io::{self, IoSlice};
use std::task::{Context as Task, Poll, ready};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Reads into `room`, which is asked for once there is something to read.
pub(super) fn poll_read<'a>(
    socket: &TcpStream,
    cx: &mut Task<'_>,
    room: impl FnOnce() -> &'a mut [u8],
) -> Poll<io::Result<usize>> {
    ready!(socket.poll_read_ready(cx))?;
    let room = room();
    loop {
        let wanted = room.len();
        let read = || Ok(rustix::net::recv(socket, &mut *room, RecvFlags::empty())?.1);
        match transfer(socket, Interest::READABLE, wanted, read) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_read_ready(cx))?,
            result => return Poll::Ready(result),
        }
    }
}

/// Whether there is nothing to read, the end included.
pub(super) fn is_quiet(socket: &TcpStream) -> bool {
    let mut byte = [0];
    let peek = || Ok(rustix::net::recv(socket, &mut byte, RecvFlags::PEEK)?.1);
    matches!(socket.try_io(Interest::READABLE, peek), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

pub(super) fn poll_write(socket: &TcpStream, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    poll_send(socket, cx, bytes.len(), || Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?))
}

/// The same before more that follows at once: the kernel keeps a last segment that is not full for up to 200 ms.
pub(super) fn poll_write_more(socket: &TcpStream, cx: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    let flags = SendFlags::NOSIGNAL.union(MORE);
    poll_send(socket, cx, bytes.len(), || Ok(rustix::net::send(socket, bytes, flags)?))
}

#[cfg(target_os = "linux")]
const MORE: SendFlags = SendFlags::MORE;
#[cfg(not(target_os = "linux"))]
const MORE: SendFlags = SendFlags::empty();

pub(super) fn poll_write_vectored(
    socket: &TcpStream,
    cx: &mut Task<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let wanted = pieces.iter().map(|piece| piece.len()).sum();
    let mut nothing = SendAncillaryBuffer::default();
    poll_send(socket, cx, wanted, || Ok(rustix::net::sendmsg(socket, pieces, &mut nothing, SendFlags::NOSIGNAL)?))
}

fn poll_send(
    socket: &TcpStream,
    cx: &mut Task<'_>,
    wanted: usize,
    mut send: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        match transfer(socket, Interest::WRITABLE, wanted, &mut send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(socket.poll_write_ready(cx))?,
            result => return Poll::Ready(result),
        }
    }
}

/// Closes the sending side.
pub(super) fn shutdown(socket: &TcpStream) -> io::Result<()> {
    Ok(rustix::net::shutdown(socket, Shutdown::Write)?)
}

/// Makes the call if the socket is ready for it. One that moves less than wanted has emptied or filled
/// the socket's buffer: saying `WouldBlock` to the runtime clears the readiness that was seen before
/// the call, and an event that came since is not lost.
fn transfer(
    socket: &TcpStream,
    interest: Interest,
    wanted: usize,
    call: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut moved = None;
    let result = socket.try_io(interest, || match call()? {
        count @ 1.. if count < wanted => {
            moved = Some(count);
            Err(io::ErrorKind::WouldBlock.into())
        }
        count => Ok(count),
    });
    moved.map_or(result, Ok)
}
