//! The socket of a listener, and the sessions of its clients.

use std::collections::HashMap;
use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::session::{MAX_DATAGRAM, Next, Session};
use super::{LiveUdpProxy, Shared, UdpListener};
use crate::context::Link;
use crate::live::Live;
use crate::serve::{Clients, Deadline, Serve, Signal, hold, turned_away};
use crate::{ErrorKind, Peer, Result};

/// Datagrams that are taken at a time, before other tasks get a turn.
const BATCH: usize = 64;
/// How long receiving pauses when the system has no memory left.
const BACK_OFF: Duration = Duration::from_millis(100);

impl IntoFuture for Serve<UdpListener, LiveUdpProxy> {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Serve { listener, proxy, signal, deadline, .. } = self;
        Box::pin(run(Server::new(listener, proxy.0), signal, deadline))
    }
}

async fn run(mut server: Server, signal: Option<Signal>, deadline: Deadline) {
    let mut signal = signal.unwrap_or_else(|| Box::pin(std::future::pending()));
    let mut room = vec![0; MAX_DATAGRAM].into_boxed_slice();
    tokio::select! {
        biased;
        () = &mut signal => {}
        () = server.serve(&mut room) => {}
    }
    tracing::info!(sessions = server.tasks.len(), "draining");
    server.takes_clients = false;
    let deadline = match deadline {
        Deadline::After(time) => Box::pin(tokio::time::sleep(time)),
        Deadline::When(signal) => signal,
    };
    tokio::select! {
        biased;
        () = server.serve(&mut room) => {}
        () = deadline => tracing::warn!(sessions = server.tasks.len(), "drain deadline: ending what is left"),
    }
}

/// A listener's socket and its sessions.
struct Server {
    front: Arc<UdpSocket>,
    local: SocketAddr,
    name: Option<Arc<str>>,
    live: Arc<Live<Shared>>,
    table: Arc<Table>,
    clients: Arc<Clients>,
    tasks: JoinSet<()>,
    takes_clients: bool,
}

/// The sessions that clients' next datagrams belong to, and how many there are in all.
#[derive(Default)]
struct Table {
    current: Mutex<HashMap<SocketAddr, Arc<Session>>>,
    open: AtomicUsize,
}

/// A place in the table.
struct Place(Arc<Table>);

impl Table {
    fn current(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Session>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, client: SocketAddr) -> Option<Arc<Session>> {
        self.current().get(&client).cloned()
    }

    fn place(self: &Arc<Self>, most: usize) -> Option<Place> {
        // One task takes places: between the two nobody else does.
        if self.open.load(Ordering::Relaxed) >= most {
            return None;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Place(Arc::clone(self)))
    }

    /// Forgets the session, unless its client has another by now.
    fn forget(&self, session: &Arc<Session>) {
        let mut current = self.current();
        if current.get(&session.client()).is_some_and(|other| Arc::ptr_eq(other, session)) {
            current.remove(&session.client());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    fn new(listener: UdpListener, live: Arc<Live<Shared>>) -> Self {
        let UdpListener { socket, local, name } = listener;
        let (table, clients, tasks) = Default::default();
        Server { front: Arc::new(socket), local, name, live, table, clients, tasks, takes_clients: true }
    }

    /// Takes datagrams, as long as there are sessions or may be.
    async fn serve(&mut self, room: &mut [u8]) {
        while self.takes_clients || !self.tasks.is_empty() {
            tokio::select! {
                Some(_) = self.tasks.join_next() => {}
                ready = self.front.readable() => {
                    let taken = ready.and_then(|()| self.take(room));
                    if let Err(error) = taken {
                        tracing::warn!(%error, listen = %self.local, "receiving failed; waiting before the next");
                        tokio::time::sleep(BACK_OFF).await;
                    }
                }
            }
        }
    }

    /// Takes what has arrived.
    fn take(&mut self, room: &mut [u8]) -> io::Result<()> {
        for _ in 0..BATCH {
            match self.front.try_recv_from(room) {
                Ok((count, client)) => self.dispatch(&room[..count], client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Of a datagram sent before, to a client that is gone.
                Err(error) if super::socket::is_refusal(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn dispatch(&mut self, datagram: &[u8], client: SocketAddr) {
        if let Some(session) = self.table.find(client) {
            if session.next() == Next::Same {
                match session.send(datagram) {
                    Ok(()) => return,
                    // The backend is known to fail now: the next choice is another.
                    Err(error) => session.end(Err(error)),
                }
            }
            self.table.forget(&session);
        }
        if self.takes_clients {
            self.begin(datagram, client);
        }
    }

    /// Begins a session with its first datagram.
    fn begin(&mut self, datagram: &[u8], client: SocketAddr) {
        let (shared, generation) = self.live.current();
        let (local, listener) = (Some(self.local), self.name.clone());
        let peer = Peer { local, listener, ..Peer::new(client) };
        let Some(place) = self.table.place(shared.settings.max_sessions) else {
            return turned_away(shared.observer(), &peer, ErrorKind::SessionsFull);
        };
        let Some(of_client) = self.clients.enter(&peer, shared.settings.max_sessions_per_client) else {
            return turned_away(shared.observer(), &peer, ErrorKind::SessionsFull);
        };
        let Some(held) = hold(&shared.filters, &peer) else { return };
        let link = Link::datagrams(peer, (Arc::clone(&shared), generation));
        let Some(session) = Session::begin(shared, link, client, Box::new((place, of_client, held))) else { return };
        match session.open().and_then(|()| session.send(datagram)) {
            Ok(()) => self.start(session),
            Err(error) => session.end(Err(error)),
        }
    }

    fn start(&mut self, session: Arc<Session>) {
        let (front, table, running) = (Arc::clone(&self.front), Arc::clone(&self.table), Arc::clone(&session));
        let task = self.tasks.spawn(async move {
            let result: Result<()> = running.run(&front).await;
            table.forget(&running);
            running.end(result);
        });
        session.runs_in(task);
        self.table.current().insert(session.client(), session);
    }
}

/// Sessions hold places in the table that holds them.
impl Drop for Server {
    fn drop(&mut self) {
        let left = std::mem::take(&mut *self.table.current());
        drop(left);
    }
}
