//! What is known about a request while it lives.

use std::any::Any;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::attempt::AttemptGuard;
use crate::clock::Instant;
use crate::http1::stream::Stream;
use crate::http1::timer::Timer;
use crate::http1::upload::Upload;
use crate::proxy::Shared;
use crate::recycle::FreeList;
use crate::{Backend, Peer, Phase, RequestHead, Result};

/// What is known about a request while it lives.
///
/// What the framework knows are typed accessors; what plugins know goes into [`insert`](Self::insert)
/// and [`get`](Self::get), keyed by a type of their own.
///
/// ```
/// #[derive(Debug, PartialEq)]
/// struct User(String);
///
/// let mut context = proxy_core::Context::internal();
/// context.insert(User("ada".into()));
/// assert_eq!(context.get::<User>(), Some(&User("ada".into())));
/// ```
pub struct Context {
    peer: Arc<Peer>,
    client: Option<IpAddr>,
    scheme: &'static str,
    request: Option<RequestHead>,
    pub(crate) proxy: Option<Arc<Shared>>,
    pub(crate) route: Option<usize>,
    upstream: Option<Arc<str>>,
    pub(crate) route_override: Option<Arc<str>>,
    pub(crate) attempt: Option<AttemptGuard>,
    backend: Option<Backend>,
    pub(crate) clocks: Clocks,
    pub(crate) attempts: u32,
    values: Vec<Box<dyn Any + Send + Sync>>,
    /// The rest of a request body, when the response began before its end.
    upload: Mutex<Option<Upload>>,
    /// Where interim responses go: the client's connection, on the engine path.
    pub(crate) interim: Option<Stream>,
    pub(crate) upgrade_requested: bool,
    pub(crate) timer: Timer,
    pub(crate) phase: Phase,
    /// Bytes of the request body that were taken from the client.
    pub(crate) received: u64,
}

/// When things happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) started: Instant,
    pub(crate) connecting: Option<Instant>,
    pub(crate) connected: Option<Instant>,
    pub(crate) first_byte: Option<Instant>,
    /// When the whole request must have ended.
    pub(crate) deadline: Option<Instant>,
}

impl Clocks {
    fn start(now: Instant) -> Self {
        Clocks { started: now, connecting: None, connected: None, first_byte: None, deadline: None }
    }
}

impl Context {
    /// The context of a request that a plugin makes itself: authentication, mirroring, revalidation.
    pub fn internal() -> Self {
        Context::new(Arc::new(Peer::default()), Instant::now())
    }

    pub(crate) fn new(peer: Arc<Peer>, now: Instant) -> Self {
        Context {
            client: peer.address.map(|address| address.ip().to_canonical()),
            peer,
            scheme: "http",
            request: None,
            proxy: None,
            route: None,
            upstream: None,
            route_override: None,
            attempt: None,
            backend: None,
            clocks: Clocks::start(now),
            attempts: 0,
            values: Vec::new(),
            upload: Mutex::new(None),
            interim: None,
            upgrade_requested: false,
            timer: Timer::default(),
            phase: Phase::Head,
            received: 0,
        }
    }

    /// Makes ready for another request.
    fn renew(&mut self, now: Instant) {
        self.client = self.peer.address.map(|address| address.ip().to_canonical());
        self.clocks = Clocks::start(now);
        self.attempts = 0;
        self.upgrade_requested = false;
        self.phase = Phase::Head;
        self.received = 0;
    }

    /// Lets go of everything that belongs to the request that ended.
    fn let_go(&mut self) {
        self.request = None;
        self.proxy = None;
        self.route = None;
        self.upstream = None;
        self.route_override = None;
        self.attempt = None;
        self.backend = None;
        self.values.clear();
        self.set_upload(None);
        self.interim = None;
        self.timer = Timer::default();
    }

    /// The client's side of the connection.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The client's address: the peer's, or what trusted proxies say it is.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    pub(crate) fn set_client(&mut self, client: Option<IpAddr>) {
        self.client = client;
    }

    /// `http` or `https`, as the client connected.
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// The request head as the client sent it. `None` where none could be read.
    pub fn request(&self) -> Option<&RequestHead> {
        self.request.as_ref()
    }

    pub(crate) fn set_request(&mut self, head: RequestHead) {
        self.request = Some(head);
    }

    /// The name of the route that matched, once one has.
    pub fn route(&self) -> Option<&str> {
        Some(self.proxy.as_ref()?.route_at(self.route?)?.name())
    }

    /// The name of the upstream, once it is chosen.
    pub fn upstream(&self) -> Option<&str> {
        self.upstream.as_deref()
    }

    pub(crate) fn set_upstream(&mut self, name: &Arc<str>) {
        self.upstream = Some(Arc::clone(name));
    }

    /// Sends the request to this upstream, whatever the routes say.
    pub fn route_to(&mut self, upstream: &str) {
        self.route_override = Some(upstream.into());
    }

    /// The backend of the last attempt.
    pub fn backend(&self) -> Option<&Backend> {
        self.backend.as_ref()
    }

    pub(crate) fn set_backend(&mut self, backend: Backend) {
        self.backend = Some(backend);
    }

    /// Attempts at backends so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long the request has lived.
    pub fn elapsed(&self) -> Duration {
        self.clocks.started.elapsed()
    }

    /// Keeps a plugin's value for the rest of the request. A value of the same type is replaced.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        match self.get_mut::<T>() {
            Some(slot) => *slot = value,
            None => self.values.push(Box::new(value)),
        }
    }

    /// A plugin's value, by its type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.values.iter().find_map(|value| value.downcast_ref())
    }

    /// A plugin's value, by its type, to be changed.
    pub fn get_mut<T: Send + Sync + 'static>(&mut self) -> Option<&mut T> {
        self.values.iter_mut().find_map(|value| value.downcast_mut())
    }

    /// Runs the `on_forward` hooks of the filters around this request. For upstreams: once per
    /// attempt, before the head is sent.
    ///
    /// # Errors
    /// The first error of a hook.
    pub fn forward(&mut self, head: &mut RequestHead, backend: &Backend) -> Result<()> {
        match self.proxy.clone() {
            Some(proxy) => proxy.run_on_forward(head, backend, self),
            None => Ok(()),
        }
    }

    pub(crate) fn has_filters(&self) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.has_filters(self))
    }

    pub(crate) fn set_upload(&mut self, upload: Option<Upload>) {
        *self.upload.get_mut().unwrap_or_else(PoisonError::into_inner) = upload;
    }

    pub(crate) fn take_upload(&mut self) -> Option<Upload> {
        self.upload.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("peer", &self.peer)
            .field("request", &self.request)
            .field("upstream", &self.upstream)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

thread_local! {
    static FREE: FreeList<Box<Context>> = const { FreeList::new(256) };
}

/// A context for a request that begins now.
pub(crate) fn take(peer: &Arc<Peer>, now: Instant) -> Box<Context> {
    match FREE.with(FreeList::take) {
        Some(mut context) => {
            context.peer = Arc::clone(peer);
            context.renew(now);
            context
        }
        None => Box::new(Context::new(Arc::clone(peer), now)),
    }
}

/// Keeps a context that is done with for another request, of any connection of this thread.
pub(crate) fn give(mut context: Box<Context>) {
    context.let_go();
    let _ = FREE.try_with(|free| free.give(context));
}
