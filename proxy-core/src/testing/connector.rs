//! Origins without sockets.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::ROOM;
use super::message::Seen;
use super::script::{Connect, Script};
use crate::connector::introduced;
use crate::{Address, Backend, Cluster, Connector, Io, SelectorFn, SharedPool, Target, selector_fn};

/// Connects to scripted origins in memory: each connection plays a [`Script`].
///
/// A cheap handle; clones share scripts and records.
///
/// ```
/// use proxy_core::testing::{Script, ScriptedConnector};
/// use proxy_core::{Cluster, selector_fn};
///
/// let origins = ScriptedConnector::default()
///     .backend("a:80", [Script::refuse(), Script::ok()])
///     .backend_always("b:80", Script::ok());
/// let cluster = Cluster::builder(selector_fn(|candidates, _| candidates.at(0).cloned()))
///     .backend("a:80".parse()?)
///     .backend("b:80".parse()?)
///     .build_with(origins.pool());
/// # let _ = cluster;
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ScriptedConnector {
    state: Arc<Mutex<State>>,
    room: usize,
}

#[derive(Debug, Default)]
struct State {
    /// By address; the empty one is for addresses without a part of their own.
    parts: HashMap<String, Part>,
    connections: Vec<Record>,
}

#[derive(Debug)]
enum Part {
    InTurn(VecDeque<Script>),
    Always(Script),
}

/// A connection that was tried.
#[derive(Debug)]
struct Record {
    to: String,
    received: Seen,
}

impl Default for ScriptedConnector {
    fn default() -> Self {
        ScriptedConnector { state: Arc::default(), room: ROOM }
    }
}

/// The one selector of [`ScriptedConnector::cluster`].
type First = fn(&crate::Candidates<'_>, &crate::SelectionContext<'_>) -> Option<Backend>;

impl ScriptedConnector {
    /// Every connection plays this script.
    pub fn always(script: Script) -> Self {
        ScriptedConnector::default().backend_always("", script)
    }

    /// The first connection plays the first script, and so on; further ones are refused.
    pub fn in_turn(scripts: impl IntoIterator<Item = Script>) -> Self {
        ScriptedConnector::default().backend("", scripts)
    }

    /// Connections to this address play these scripts in turn; further ones are refused.
    #[must_use]
    pub fn backend(self, address: &str, scripts: impl IntoIterator<Item = Script>) -> Self {
        let part = Part::InTurn(scripts.into_iter().collect());
        self.lock().parts.insert(address.to_owned(), part);
        self
    }

    /// Every connection to this address plays this script.
    #[must_use]
    pub fn backend_always(self, address: &str, script: Script) -> Self {
        self.lock().parts.insert(address.to_owned(), Part::Always(script));
        self
    }

    /// How many bytes lie between proxy and origin, each way, before a writer has to wait. Default
    /// 64 KiB.
    #[must_use]
    pub fn room(mut self, bytes: usize) -> Self {
        self.room = bytes;
        self
    }

    /// A pool over it.
    pub fn pool(&self) -> SharedPool {
        SharedPool::builder().connector(Arc::new(self.clone())).build()
    }

    /// A cluster of one backend, `origin:80`, over it.
    pub fn cluster(&self) -> Cluster<SelectorFn<First>> {
        let first: First = |candidates, _| candidates.at(0).cloned();
        let origin = Address::Name("origin".to_owned(), 80);
        Cluster::builder(selector_fn(first)).backend(origin).build_with(self.pool())
    }

    /// Connections that were tried.
    pub fn connections(&self) -> usize {
        self.lock().connections.len()
    }

    /// Where the connections that were tried went, in order.
    pub fn tried(&self) -> Vec<String> {
        self.lock().connections.iter().map(|record| record.to.clone()).collect()
    }

    /// What the origin has read so far on a connection, the first being 0.
    ///
    /// # Panics
    /// If there was no such connection.
    pub fn received(&self, connection: usize) -> String {
        String::from_utf8_lossy(&self.received_bytes(connection)).into_owned()
    }

    /// The same byte for byte, for what is no text.
    ///
    /// # Panics
    /// If there was no such connection.
    pub fn received_bytes(&self, connection: usize) -> Vec<u8> {
        let state = self.lock();
        let record = state.connections.get(connection);
        let record = record.unwrap_or_else(|| panic!("no connection {connection}, of {}", state.connections.len()));
        record.received.bytes()
    }

    /// What origins have read so far on all connections.
    pub fn received_in_all(&self) -> String {
        (0..self.connections()).map(|connection| self.received(connection)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_script(&mut self, address: &str) -> Script {
        let known = self.parts.contains_key(address);
        match self.parts.get_mut(if known { address } else { "" }) {
            Some(Part::Always(script)) => script.clone(),
            Some(Part::InTurn(scripts)) => scripts.pop_front().unwrap_or_else(Script::refuse),
            None => Script::refuse(),
        }
    }

    fn begin(&mut self, to: String) -> (Script, Seen) {
        let received = Seen::default();
        let script = self.next_script(&to);
        self.connections.push(Record { to, received: received.clone() });
        (script, received)
    }
}

#[async_trait]
impl Connector for ScriptedConnector {
    async fn connect(&self, target: &Target) -> io::Result<Box<dyn Io>> {
        let (script, received) = self.lock().begin(target.backend().address().to_string());
        match script.connect {
            Connect::Refuse => return Err(io::ErrorKind::ConnectionRefused.into()),
            Connect::Hang => std::future::pending().await,
            Connect::Accept => {}
        }
        let (proxy, origin) = tokio::io::duplex(self.room);
        tokio::spawn(script.play(origin, received));
        introduced(Box::new(proxy), target).await
    }
}
