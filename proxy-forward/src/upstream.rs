//! Where clients of a forward proxy go: wherever they want and may.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, StatusCode};
use proxy_core::{
    Backend, Candidates, Cluster, Connection, Context, Error, ErrorKind, Proxy, ProxyBuilder, Request, Response,
    Result, Route, SelectionContext, SelectorFn, Upstream,
};

use crate::anonymity::Trace;
use crate::destination::{Destination, Host};
use crate::egress::{Checked, EgressGuard};
use crate::origins::{Origin, Origins};
use crate::pac::PacFile;
use crate::parent::Parent;
use crate::parents::Parents;
use crate::policy::{Ask, Policy, Ruling};
use crate::refusal::{Pages, Reason, Refusal};
use crate::resolver::{ResolveError, Resolver};
use crate::user::User;

mod asked;
mod builder;
mod ports;
mod server_name;

pub use builder::ForwardBuilder;
pub use ports::Ports;
pub use server_name::ServerNames;

use asked::{Asked, Form};

/// An upstream that goes wherever a client wants and may.
///
/// | client asks | it gets |
/// |---|---|
/// | `GET http://host/path` | that page, over a connection that is kept for the next who asks there |
/// | `CONNECT host:443` | a tunnel over a new connection, spliced in the kernel where that is possible |
/// | `GET /path` | 400: the proxy is no origin |
///
/// On the way stand, in this order: the open [`Ports`], the [`Policy`], the [`Resolver`], the
/// [`EgressGuard`] and once more those rules of the policy that are about addresses. Only what all of
/// them admitted is connected to, by Happy Eyeballs (RFC 8305), or asked of one of the [`Parents`].
///
/// ```no_run
/// use proxy_core::{TcpListener, serve};
/// use proxy_forward::ForwardUpstream;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("127.0.0.1:3128".parse()?)?;
/// let proxy = ForwardUpstream::builder().own("127.0.0.1:3128".parse()?).build().into_proxy();
/// serve(listener, proxy.build()?).await;
/// # Ok(())
/// # }
/// ```
///
/// It is an [`Upstream`] as any other: every filter, limit and metric works with it.
pub struct ForwardUpstream {
    cluster: Cluster<NoChoice>,
    origins: Origins,
    resolver: Resolver,
    guard: EgressGuard,
    policy: Arc<Policy>,
    server_names: ServerNames,
    parents: Parents,
    connect_ports: Ports,
    http_ports: Ports,
    trace: Trace,
}

/// The cluster is never asked to choose.
type NoChoice = SelectorFn<fn(&Candidates<'_>, &SelectionContext<'_>) -> Option<Backend>>;

/// How a destination is reached.
enum Way<'a> {
    Direct(Arc<Origin>),
    Parent(&'a Parent),
}

/// Why there is no way to a destination.
enum Blocked {
    Refused(Refusal),
    Failed(Error),
}

impl From<Refusal> for Blocked {
    fn from(refusal: Refusal) -> Self {
        Blocked::Refused(refusal)
    }
}

impl ForwardUpstream {
    /// Starts one with the default guard, and a policy that allows everything else.
    pub fn builder() -> ForwardBuilder {
        ForwardBuilder::default()
    }

    /// A proxy of everything through it, to be completed with filters, limits and timeouts. Forwarding
    /// fields are those of its [`Anonymity`](crate::Anonymity), and failures are answered with a page that
    /// says why.
    pub fn into_proxy(self) -> ProxyBuilder {
        let forwarding = self.trace.forwarding();
        let builder = Proxy::builder().forwarding(forwarding).any_host(true).filter(Pages);
        builder.upstream("forward", self).route(Route::to("forward"))
    }

    /// How browsers find a proxy of this upstream: a filter to be put before others.
    pub fn pac_file(&self) -> PacFile {
        PacFile::new(&self.guard, &self.parents)
    }

    /// Origins whose connections are kept.
    pub fn origins(&self) -> usize {
        self.origins.len()
    }

    /// The way to a destination, if it is open to who asks.
    async fn open(&self, asked: &Asked, ctx: &Context) -> Result<Way<'_>, Blocked> {
        let (destination, method) = (&asked.destination, &asked.method);
        let ports = if *method == Method::CONNECT { &self.connect_ports } else { &self.http_ports };
        if !ports.contains(destination.port()) {
            return Err(Refusal::new(Reason::Port(destination.port()), destination).into());
        }
        let user = ctx.get::<User>().map(User::name);
        let ask = Ask { destination, method, client: ctx.client(), user };
        let depends = self.judge(&ask, None)?;
        if let Some(parent) = self.parents.of(destination.host()) {
            self.check_named(&ask, depends).await?;
            return Ok(Way::Parent(parent));
        }
        let checked = self.check(destination).await?;
        let checked = if depends { self.judge_each(&ask, checked)? } else { checked };
        Ok(Way::Direct(self.origins.get(destination.clone(), checked)))
    }

    /// What a parent is going to resolve is checked as far as it can be from here.
    async fn check_named(&self, ask: &Ask<'_>, depends: bool) -> Result<(), Blocked> {
        let destination = ask.destination;
        let checked = match destination.host() {
            Host::Address(_) => self.check(destination).await?,
            Host::Name(name) if is_this_machine(name) => {
                let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
                let checked = self.guard.admit(addresses.map(|address| (address, destination.port()).into()));
                checked.map_err(|class| Refusal::new(Reason::Address(class), destination))?
            }
            Host::Name(_) if depends => self.check(destination).await?,
            Host::Name(_) => return Ok(()),
        };
        if depends {
            // Which of its addresses the parent will take is not known.
            checked.addresses().iter().try_for_each(|address| self.judge(ask, Some(address.ip())).map(drop))?;
        }
        Ok(())
    }

    /// Whether it depends on the address, where it is not refused.
    fn judge(&self, ask: &Ask<'_>, address: Option<IpAddr>) -> Result<bool, Refusal> {
        match self.policy.judge(ask, address) {
            Ruling::Allowed => Ok(false),
            Ruling::Depends => Ok(true),
            Ruling::Denied(rule) => Err(Refusal::new(Reason::Rule(Arc::clone(rule)), ask.destination)),
            Ruling::DeniedByDefault => Err(Refusal::new(Reason::NoRule, ask.destination)),
        }
    }

    /// Those of the addresses that the policy allows.
    fn judge_each(&self, ask: &Ask<'_>, checked: Checked) -> Result<Checked, Refusal> {
        let first = checked.addresses().first().map(SocketAddr::ip);
        let allowed = |address: &SocketAddr| self.policy.judge(ask, Some(address.ip())) == Ruling::Allowed;
        match checked.filter(allowed) {
            Some(checked) => Ok(checked),
            None => Err(self.judge(ask, first).err().unwrap_or_else(|| Refusal::new(Reason::NoRule, ask.destination))),
        }
    }

    /// The addresses of a destination that the guard admits.
    async fn check(&self, destination: &Destination) -> Result<Checked, Blocked> {
        let port = destination.port();
        let admitted = match destination.host() {
            Host::Address(address) => self.guard.admit([(*address, port).into()]),
            Host::Name(name) => {
                let resolved = self.resolver.resolve(name).await.map_err(|error| Blocked::Failed(unresolved(error)))?;
                self.guard.admit(resolved.iter().map(|address| (*address, port).into()))
            }
        };
        admitted.map_err(|class| Refusal::new(Reason::Address(class), destination).into())
    }

    /// A request to an origin.
    async fn forward(&self, mut request: Request, asked: &Asked, ctx: &mut Context) -> Result<Response, Blocked> {
        let came_by = self.trace.leads_back(request.head());
        if came_by {
            return Err(Refusal::new(Reason::Loop, &asked.destination).into());
        }
        let way = self.open(asked, ctx).await?;
        self.trace.leave(request.head_mut());
        let sent = match way {
            Way::Direct(origin) => self.cluster.send_to(origin.backend(), request, ctx).await,
            Way::Parent(parent) => parent.send(request, ctx).await,
        };
        sent.map_err(Blocked::Failed)
    }

    /// A tunnel. Nothing of the client's goes to the origin before it is open.
    async fn tunnel(&self, request: Request, asked: &Asked, ctx: &mut Context) -> Result<Response, Blocked> {
        if !request.body().is_empty() {
            let reason = Reason::Malformed("A CONNECT request has no body");
            return Err(Refusal::new(reason, &asked.destination).into());
        }
        let response = Response::tunnel(self.dial(asked, ctx).await?);
        Ok(match server_name::check(self.server_names, &self.policy, asked, ctx) {
            Some(check) => response.check_tunnel(check),
            None => response,
        })
    }

    /// A new connection.
    async fn dial(&self, asked: &Asked, ctx: &mut Context) -> Result<Connection, Blocked> {
        let connected = match self.open(asked, ctx).await? {
            Way::Direct(origin) => self.cluster.connect_to(origin.backend(), ctx).await,
            Way::Parent(parent) => parent.connect(&asked.destination, ctx).await,
        };
        connected.map_err(Blocked::Failed)
    }

    async fn answer(&self, request: Request, ctx: &mut Context) -> Result<Response, Blocked> {
        match Asked::of(request.head())? {
            Form::Tunnel(asked) => self.tunnel(request, &asked, ctx).await,
            Form::Absolute(asked) => self.forward(request, &asked, ctx).await,
            Form::Origin => Err(Refusal::new(Reason::Malformed(NOT_AN_ORIGIN), "").into()),
        }
    }
}

const NOT_AN_ORIGIN: &str = "This is a forward proxy, and no server of its own: \
    tell your client to use it as a proxy, as in curl -x http://proxy:3128 http://example.com/";

/// RFC 6761 §6.3: these names are nobody else's, wherever they are resolved.
fn is_this_machine(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn unresolved(error: ResolveError) -> Error {
    let timed_out = error == ResolveError::Timeout;
    let resolve = Error::new(ErrorKind::Resolve).with_source(error);
    if timed_out { resolve.with_status(StatusCode::GATEWAY_TIMEOUT) } else { resolve }
}

/// Tells filters and the log of a refusal.
fn note(refusal: &Refusal, ctx: &mut Context) {
    tracing::debug!(
        code = refusal.code(),
        destination = refusal.destination(),
        rule = refusal.rule(),
        class = refusal.class().map(crate::AddressClass::as_str),
        client = ctx.client().map(tracing::field::display),
        user = ctx.get::<User>().map(User::name),
        "request refused",
    );
    ctx.insert(refusal.clone());
}

#[async_trait]
impl Upstream for ForwardUpstream {
    async fn send(&self, request: Request, ctx: &mut Context) -> Result<Response> {
        match self.answer(request, ctx).await {
            Ok(response) => Ok(response),
            Err(Blocked::Failed(error)) => Err(error),
            Err(Blocked::Refused(refusal)) => {
                note(&refusal, ctx);
                Ok(refusal.into_response())
            }
        }
    }

    async fn connect(&self, destination: Option<&str>, ctx: &mut Context) -> Result<Connection> {
        let named = destination.and_then(|text| Destination::parse(text, None).ok());
        let destination = named.ok_or(ErrorKind::Unsupported)?;
        let asked = Asked { destination, method: Method::CONNECT };
        match self.dial(&asked, ctx).await {
            Ok(connection) => Ok(connection),
            Err(Blocked::Failed(error)) => Err(error),
            Err(Blocked::Refused(refusal)) => {
                note(&refusal, ctx);
                let status = refusal.status();
                Err(Error::plugin(refusal.to_string()).with_status(status))
            }
        }
    }
}

impl fmt::Debug for ForwardUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardUpstream")
            .field("origins", &self.origins.len())
            .field("guard", &self.guard)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
