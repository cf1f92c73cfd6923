//! What is known about a request while it lives.

use std::any::Any;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::Span;

use crate::attempt::AttemptGuard;
use crate::clock::Instant;
use crate::http1::stream::Stream;
use crate::http1::timer::Timer;
use crate::interim::{Interim, Responder};
use crate::proxy::Shared;
use crate::recycle::FreeList;
use crate::upload::Upload;
use crate::{Backend, Io, Observer, Peer, Phase, RequestHead, Result};
use crate::{tcp, udp};

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
    /// `None` where there is no connection: in a request that a plugin makes, and while nothing uses it.
    link: Option<Arc<Link>>,
    client: Option<IpAddr>,
    request: Option<RequestHead>,
    /// Places in the proxy's lists.
    pub(crate) route: Option<usize>,
    pub(crate) upstream: Option<usize>,
    pub(crate) route_override: Option<Arc<str>>,
    /// The last one, also once it has ended.
    pub(crate) attempt: Option<AttemptGuard>,
    pub(crate) clocks: Clocks,
    pub(crate) attempts: u32,
    values: Vec<Box<dyn Any + Send + Sync>>,
    /// The rest of a request body, when the response began before its end.
    upload: Mutex<Option<Upload>>,
    /// The client understands interim responses.
    pub(crate) takes_interim: bool,
    pub(crate) upgrade_requested: bool,
    pub(crate) timer: Timer,
    pub(crate) phase: Phase,
    /// Who answers the client, where the request shares its connection.
    responder: Option<Arc<dyn Responder>>,
    /// Bytes of the request body that were taken from the client.
    pub(crate) received: u64,
    /// Of the request, or of a connection without any. Disabled where nobody wants it.
    pub(crate) span: Span,
}

/// What the requests of one connection have in common.
pub(crate) struct Link {
    pub(crate) peer: Peer,
    pub(crate) proxy: Option<Arc<Shared>>,
    /// Instead of a proxy, where bytes are relayed as they are.
    pub(crate) raw: Option<Raw>,
    /// The client's connection, on the engine path: interim responses go there.
    pub(crate) client: Option<Stream>,
    /// The number of the proxy among those that replaced each other.
    pub(crate) generation: usize,
}

/// What relays bytes as they are.
pub(crate) enum Raw {
    Tcp(Arc<tcp::Shared>),
    Udp(Arc<udp::Shared>),
}

impl Link {
    /// A client's connection to this proxy.
    pub(crate) fn new(io: Box<dyn Io>, peer: Peer, (proxy, generation): (Arc<Shared>, usize)) -> Arc<Self> {
        Arc::new(Link { peer, proxy: Some(proxy), raw: None, client: Some(Stream::new(io)), generation })
    }

    /// The same connection to the proxy's successor.
    pub(crate) fn renewed(&self, (proxy, generation): (Arc<Shared>, usize)) -> Arc<Self> {
        let (peer, client) = (self.peer.clone(), self.client.clone());
        Arc::new(Link { peer, proxy: Some(proxy), raw: None, client, generation })
    }

    /// A client's raw connection.
    pub(crate) fn raw(io: Box<dyn Io>, peer: Peer, (tcp, generation): (Arc<tcp::Shared>, usize)) -> Arc<Self> {
        Arc::new(Link { peer, proxy: None, raw: Some(Raw::Tcp(tcp)), client: Some(Stream::new(io)), generation })
    }

    /// A client's datagrams.
    pub(crate) fn datagrams(peer: Peer, (udp, generation): (Arc<udp::Shared>, usize)) -> Arc<Self> {
        Arc::new(Link { peer, proxy: None, raw: Some(Raw::Udp(udp)), client: None, generation })
    }

    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        match (&self.proxy, &self.raw) {
            (Some(proxy), _) => proxy.observer.as_ref(),
            (None, Some(Raw::Tcp(tcp))) => tcp.observer(),
            (None, Some(Raw::Udp(udp))) => udp.observer(),
            (None, None) => None,
        }
    }
}

static NO_LINK: Link = Link { peer: Peer::UNKNOWN, proxy: None, raw: None, client: None, generation: 0 };

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
    /// The whole request ends within this, too.
    #[cfg(feature = "http2")]
    pub(crate) fn ends_within(&mut self, timeout: Option<Duration>) {
        let at = timeout.and_then(|timeout| self.started.checked_add(timeout));
        self.deadline = self.deadline.into_iter().chain(at).min();
    }

    fn start(now: Instant) -> Self {
        Clocks { started: now, connecting: None, connected: None, first_byte: None, deadline: None }
    }
}

impl Context {
    /// The context of a request that a plugin makes itself: authentication, mirroring, revalidation.
    pub fn internal() -> Self {
        Context::new(None, Instant::now())
    }

    /// That of a client without a connection.
    #[cfg(test)]
    pub(crate) fn of(peer: Peer) -> Self {
        let link = Link { peer, proxy: None, raw: None, client: None, generation: 0 };
        Context::new(Some(Arc::new(link)), Instant::now())
    }

    pub(crate) fn new(link: Option<Arc<Link>>, now: Instant) -> Self {
        Context {
            client: link.as_ref().and_then(|link| link.peer.client()),
            link,
            request: None,
            route: None,
            upstream: None,
            route_override: None,
            attempt: None,
            clocks: Clocks::start(now),
            attempts: 0,
            values: Vec::new(),
            upload: Mutex::new(None),
            takes_interim: false,
            upgrade_requested: false,
            timer: Timer::default(),
            phase: Phase::Head,
            responder: None,
            received: 0,
            span: Span::none(),
        }
    }

    /// Makes ready for another request.
    fn renew(&mut self, now: Instant) {
        self.client = self.peer().client();
        self.clocks = Clocks::start(now);
        self.attempts = 0;
        self.takes_interim = false;
        self.upgrade_requested = false;
        self.phase = Phase::Head;
        self.received = 0;
    }

    /// Lets go of everything that belongs to the request that ended.
    fn let_go(&mut self) {
        self.link = None;
        self.request = None;
        self.route = None;
        self.upstream = None;
        self.route_override = None;
        self.attempt = None;
        self.responder = None;
        self.values.clear();
        self.set_upload(None);
        self.timer = Timer::default();
        self.span = Span::none();
    }

    /// The client's side of the connection.
    pub fn peer(&self) -> &Peer {
        &self.link().peer
    }

    fn link(&self) -> &Link {
        self.link.as_deref().unwrap_or(&NO_LINK)
    }

    fn proxy(&self) -> Option<&Shared> {
        self.link().proxy.as_deref()
    }

    /// Where interim responses go, if the client understands them.
    pub(crate) fn interim(&self) -> Option<Interim<'_>> {
        if !self.takes_interim {
            return None;
        }
        match &self.responder {
            Some(responder) => Some(Interim::Stream(&**responder)),
            None => self.link().client.as_ref().map(Interim::Connection),
        }
    }

    #[cfg(feature = "http2")]
    pub(crate) fn set_responder(&mut self, responder: Arc<dyn Responder>) {
        self.responder = Some(responder);
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
        match &self.peer().tls {
            Some(_) => "https",
            None => "http",
        }
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
        Some(self.proxy()?.route_at(self.route?)?.name())
    }

    /// The place of the route that matched, in the order they were added to the proxy: a key for tables
    /// that spares a look-up by name.
    pub fn route_index(&self) -> Option<usize> {
        self.route
    }

    /// The name of the upstream, once it is chosen.
    pub fn upstream(&self) -> Option<&str> {
        let (link, index) = (self.link(), self.upstream?);
        match (&link.proxy, &link.raw) {
            (Some(proxy), _) => proxy.upstream_at(index).map(|named| &*named.name),
            (None, Some(Raw::Tcp(tcp))) => tcp.upstream_name(index),
            (None, Some(Raw::Udp(udp))) => Some(udp.upstream_name()),
            (None, None) => None,
        }
    }

    /// The place of the upstream, in the order they were added to the proxy.
    pub fn upstream_index(&self) -> Option<usize> {
        self.upstream
    }

    /// Sends the request to this upstream, whatever the routes say. For filters of the listener and of
    /// routes: once an upstream's own filters run, it is chosen.
    pub fn route_to(&mut self, upstream: &str) {
        self.route_override = Some(upstream.into());
    }

    /// The backend of the last attempt.
    pub fn backend(&self) -> Option<&Backend> {
        self.attempt.as_ref().map(AttemptGuard::backend)
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
        let link = self.link.clone();
        match link.as_ref().and_then(|link| link.proxy.as_ref()) {
            Some(proxy) => proxy.run_on_forward(head, backend, self),
            None => Ok(()),
        }
    }

    pub(crate) fn has_filters(&self) -> bool {
        self.proxy().is_some_and(|proxy| proxy.has_filters(self))
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
            .field("peer", self.peer())
            .field("request", &self.request)
            .field("upstream", &self.upstream())
            .field("backend", &self.backend())
            .finish_non_exhaustive()
    }
}

thread_local! {
    static FREE: FreeList<Box<Context>> = const { FreeList::new(256) };
}

/// A context for a request that begins now.
pub(crate) fn take(link: &Arc<Link>, now: Instant) -> Box<Context> {
    match FREE.with(FreeList::take) {
        Some(mut context) => {
            context.link = Some(Arc::clone(link));
            context.renew(now);
            context
        }
        None => Box::new(Context::new(Some(Arc::clone(link)), now)),
    }
}

/// Keeps a context that is done with for another request, of any connection of this thread.
pub(crate) fn give(mut context: Box<Context>) {
    context.let_go();
    let _ = FREE.try_with(|free| free.give(context));
}
