//! A session's way to its backend.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context as Task, Poll, ready};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams of one client that wait for the backend's name to be resolved.
const WAITING: usize = 16;

/// The socket to a backend, or what waits for it.
#[derive(Debug, Default)]
pub(super) struct Way {
    socket: OnceLock<UdpSocket>,
    waiting: Mutex<Vec<Box<[u8]>>>,
}

/// What became of a datagram.
#[derive(Debug)]
pub(super) enum Sent {
    /// It is on its way, or waits.
    Yes,
    /// There was no room for it.
    Dropped,
    /// The backend does not take it, or an earlier one: nobody listens there, or there is no way.
    Refused(io::Error),
}

impl Way {
    /// Opens it, and sends what has waited.
    pub(super) fn open(&self, address: SocketAddr) -> io::Result<()> {
        let socket = connected(address)?;
        let mut waiting = self.waiting();
        for datagram in waiting.drain(..) {
            // A refusal shows with the next one, or where answers are read.
            let _ = send(&socket, &datagram);
        }
        // Within the lock: who finds no socket there waits.
        let _ = self.socket.set(socket);
        Ok(())
    }

    pub(super) fn send(&self, datagram: &[u8]) -> Sent {
        if let Some(socket) = self.socket.get() {
            return sent(send(socket, datagram));
        }
        let mut waiting = self.waiting();
        match self.socket.get() {
            Some(socket) => sent(send(socket, datagram)),
            None if waiting.len() < WAITING => {
                waiting.push(datagram.into());
                Sent::Yes
            }
            None => Sent::Dropped,
        }
    }

    /// The next answer.
    pub(super) fn poll_receive(&self, cx: &mut Task<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(socket) = self.socket.get() else { return Poll::Pending };
        loop {
            ready!(socket.poll_recv_ready(cx))?;
            match socket.try_recv(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return Poll::Ready(received),
            }
        }
    }

    /// Ready once the network says that the backend is not there: who waits for answers is not told.
    pub(super) async fn refusal(&self) -> io::Error {
        let Some(socket) = self.socket.get() else { return std::future::pending().await };
        loop {
            if let Err(error) = socket.ready(Interest::ERROR).await {
                return error;
            }
            match socket.take_error() {
                Ok(Some(error)) if is_refusal(&error) => return error,
                _ => {}
            }
            // Another error, or one that has shown with a datagram: until the next.
            let _ = socket.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the kernel, not the reactor, which has not yet heard of a new socket that there is room.
fn send(socket: &UdpSocket, datagram: &[u8]) -> io::Result<usize> {
    SockRef::from(socket).send(datagram)
}

/// Sends to this client, from the socket of all.
pub(super) fn send_to(socket: &UdpSocket, datagram: &[u8], client: SocketAddr) -> io::Result<usize> {
    SockRef::from(socket).send_to(datagram, &client.into())
}

/// A socket that takes datagrams of this address alone.
fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// An error of the socket is of a datagram before; one that is too long for the way is dropped, as it would be there.
fn sent(result: io::Result<usize>) -> Sent {
    match result {
        Ok(_) => Sent::Yes,
        Err(error) if is_refusal(&error) => Sent::Refused(error),
        Err(_) => Sent::Dropped,
    }
}

/// What a router or the backend's machine says where nobody takes datagrams.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | NetworkDown)
}
