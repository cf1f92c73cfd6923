//! The sockets of listeners: opened once, and kept over reloads.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use proxy_core::{Listener as _, TcpListener, UdpListener};

use super::ServerError;
use crate::path::Path;
use crate::{Config, Listener, ListenerKind};

/// The open sockets of one address of a listener: one, or with `reuse_port` one per worker.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: String,
    /// The address as the configuration writes it: its port may be 0.
    configured: SocketAddr,
    /// `None` where it is not known: the system opened it.
    reuse_port: Option<bool>,
    /// Where it listens.
    local: SocketAddr,
    /// Kept beside the accept loops' own handles, so that a socket can go from one listener to another without
    /// being closed.
    handles: Handles,
}

#[derive(Debug)]
enum Handles {
    Stream(Vec<std::net::TcpListener>),
    Datagram(Vec<std::net::UdpSocket>),
}

#[cfg(unix)]
impl Handles {
    /// Where they listen, if there is one.
    fn local_addr(&self) -> Option<io::Result<SocketAddr>> {
        match self {
            Handles::Stream(handles) => handles.first().map(std::net::TcpListener::local_addr),
            Handles::Datagram(handles) => handles.first().map(std::net::UdpSocket::local_addr),
        }
    }
}

/// What loops take their clients from.
pub(super) enum Loops {
    Stream(Vec<TcpListener>),
    Datagram(Vec<UdpListener>),
}

impl Loops {
    /// The first that takes connections.
    pub(super) fn into_stream(self) -> Option<TcpListener> {
        match self {
            Loops::Stream(listeners) => listeners.into_iter().next(),
            Loops::Datagram(_) => None,
        }
    }
}

impl Socket {
    /// The administration interface's: no listener has this name.
    const ADMIN: &str = "";

    /// The administration interface's socket: one that is open already, or a new one.
    pub(super) fn of_admin(address: SocketAddr, inherited: &[Arc<Self>]) -> io::Result<Arc<Self>> {
        match Sockets::new(inherited.iter().cloned()).claim(Socket::ADMIN, address, false) {
            Some(socket) => Ok(socket),
            None => Socket::open(Socket::ADMIN, address, false, None).map(Arc::new),
        }
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn is_of(&self, listener: &str) -> bool {
        self.listener == listener
    }

    /// The handles for a listener's loops.
    pub(super) fn handles(&self, listener: &str) -> io::Result<Loops> {
        match &self.handles {
            Handles::Stream(handles) => {
                let handles = handles.iter().map(|handle| TcpListener::from_std(handle.try_clone()?));
                let named = handles.map(|handle| Ok(handle?.named(listener)));
                named.collect::<io::Result<_>>().map(Loops::Stream)
            }
            Handles::Datagram(handles) => {
                let handles = handles.iter().map(|handle| UdpListener::from_std(handle.try_clone()?));
                let named = handles.map(|handle| Ok(handle?.named(listener)));
                named.collect::<io::Result<_>>().map(Loops::Datagram)
            }
        }
    }

    /// What another process has to know of it, beside the descriptors.
    #[cfg(unix)]
    pub(crate) fn describe(&self) -> String {
        let kind = if self.is_for_datagrams() { "datagrams" } else { "connections" };
        let shared = if self.reuse_port == Some(true) { "shared" } else { "single" };
        format!("{} {kind} {shared} {}", self.configured, self.listener)
    }

    #[cfg(unix)]
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match &self.handles {
            Handles::Stream(handles) => handles.iter().map(AsFd::as_fd).collect(),
            Handles::Datagram(handles) => handles.iter().map(AsFd::as_fd).collect(),
        }
    }

    /// The socket that another process described so.
    #[cfg(unix)]
    pub(crate) fn adopt(about: &str, handles: Vec<OwnedFd>) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("no socket is described by {about:?}"));
        let [configured, kind, shared, listener] = about.splitn(4, ' ').collect::<Vec<_>>()[..] else {
            return Err(invalid());
        };
        let handles = match kind {
            "connections" => Handles::Stream(handles.into_iter().map(std::net::TcpListener::from).collect()),
            "datagrams" => Handles::Datagram(handles.into_iter().map(std::net::UdpSocket::from).collect()),
            _ => return Err(invalid()),
        };
        let local = handles.local_addr().ok_or_else(invalid)??;
        let (listener, reuse_port) = (listener.to_owned(), Some(shared == "shared"));
        let configured = configured.parse().map_err(|_| invalid())?;
        Ok(Socket { listener, configured, reuse_port, local, handles })
    }

    /// A socket that the system opened for the listener of its address.
    #[cfg(unix)]
    pub(crate) fn given(handle: std::net::TcpListener) -> io::Result<Self> {
        Socket::of_system(Handles::Stream(vec![handle]))
    }

    /// The same for datagrams.
    #[cfg(unix)]
    pub(crate) fn given_datagrams(handle: std::net::UdpSocket) -> io::Result<Self> {
        Socket::of_system(Handles::Datagram(vec![handle]))
    }

    #[cfg(unix)]
    fn of_system(handles: Handles) -> io::Result<Self> {
        let local = handles.local_addr().ok_or(io::ErrorKind::NotFound)??;
        Ok(Socket { listener: String::new(), configured: local, reuse_port: None, local, handles })
    }

    fn is_for_datagrams(&self) -> bool {
        matches!(self.handles, Handles::Datagram(_))
    }

    fn open(listener: &str, configured: SocketAddr, datagrams: bool, shares: Option<usize>) -> io::Result<Self> {
        let (local, handles) = match datagrams {
            false => {
                let sockets = match shares {
                    Some(shares) => shared(configured, shares, TcpListener::bind_reuse_port, TcpListener::local_addr)?,
                    None => vec![TcpListener::bind(configured)?],
                };
                let local = sockets[0].local_addr()?;
                let sockets = sockets.into_iter().map(TcpListener::into_std).collect::<io::Result<_>>()?;
                (local, Handles::Stream(sockets))
            }
            true => {
                let sockets = match shares {
                    Some(shares) => shared(configured, shares, UdpListener::bind_reuse_port, |it| Ok(it.local_addr()))?,
                    None => vec![UdpListener::bind(configured)?],
                };
                let local = sockets[0].local_addr();
                let sockets = sockets.into_iter().map(UdpListener::into_std).collect::<io::Result<_>>()?;
                (local, Handles::Datagram(sockets))
            }
        };
        let (listener, reuse_port) = (listener.to_owned(), Some(shares.is_some()));
        Ok(Socket { listener, configured, reuse_port, local, handles })
    }
}

/// So many sockets of one address.
fn shared<S>(
    address: SocketAddr,
    shares: usize,
    bind: impl Fn(SocketAddr) -> io::Result<S>,
    local: impl Fn(&S) -> io::Result<SocketAddr>,
) -> io::Result<Vec<S>> {
    let first = bind(address)?;
    // Where the system chose the port, all have to use the same one.
    let address = local(&first)?;
    let others = (1..shares).map(|_| bind(address));
    std::iter::once(Ok(first)).chain(others).collect()
}

/// The sockets that are there, of which a new configuration takes those it names.
pub(super) struct Sockets(Vec<Arc<Socket>>);

impl Sockets {
    pub(super) fn new(open: impl Iterator<Item = Arc<Socket>>) -> Self {
        Sockets(open.collect())
    }

    /// The sockets of a listener: those of its addresses that are open, and new ones.
    pub(super) fn take(
        &mut self,
        path: &Path<'_>,
        name: &str,
        listener: &Listener,
        config: &Config,
    ) -> Result<Vec<Arc<Socket>>, ServerError> {
        let key = Path::Key(path, "listen");
        let addresses = listener.listen.iter().enumerate();
        let sockets = addresses.map(|(index, &address)| {
            let reuse_port = listener.reuse_port == Some(true);
            let datagrams = matches!(listener.kind, ListenerKind::Udp(_));
            if let Some(socket) = self.claim(name, address, datagrams) {
                return match socket.reuse_port.is_none_or(|it| it == reuse_port) {
                    true => Ok(socket),
                    false => Err(ServerError::start_only(Path::Key(path, "reuse_port").to_string())),
                };
            }
            let opened = Socket::open(name, address, datagrams, reuse_port.then(|| config.worker_count()));
            let at = |error| ServerError::cannot_listen(Path::Index(&key, index).to_string(), address, error);
            opened.map(Arc::new).map_err(at)
        });
        sockets.collect()
    }

    /// An open socket of this address. One whose port the system chose belongs to its listener.
    fn claim(&mut self, listener: &str, configured: SocketAddr, datagrams: bool) -> Option<Arc<Socket>> {
        let fits = |socket: &Arc<Socket>| {
            let is_of_kind = socket.is_for_datagrams() == datagrams;
            is_of_kind && socket.configured == configured && (configured.port() != 0 || socket.is_of(listener))
        };
        let index = self.0.iter().position(fits)?;
        Some(self.0.remove(index))
    }
}
