//! An embeddable proxy: the request lifecycle, an own HTTP/1.1 engine, a connection pool.
//!
//! ```no_run
//! use proxy_core::{Proxy, TcpListener, serve};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
//!     serve(listener, Proxy::to("127.0.0.1:9000")?).await;
//!     Ok(())
//! }
//! ```
//!
//! That is a reverse proxy to one backend. It grows by parts:
//!
//! | you want | take |
//! |---|---|
//! | several backends, retries, a pool with limits of your own | [`Cluster`] and a [`Selector`]: [`selector_fn`], those of `proxy-lb`, or five lines of yours |
//! | to route by host, path, method, header, cookie or query, to split by weight | [`Proxy::builder`], [`Route`] |
//! | to look at requests, change them, answer them | a [`Filter`], or [`filter_fn`] |
//! | to relay raw TCP, also by the server name of a TLS handshake | [`serve_tcp`], [`TcpProxy`], [`TcpRoute`] |
//! | to know clients behind another balancer | [`ProxyProtocol`] |
//! | answers from this process: an axum `Router`, any tower service | [`ServiceUpstream`] |
//! | to mount the proxy in an axum `Router`, under tower layers | [`Proxy`] is a `tower_service::Service` |
//! | to stop without losing a request | [`Serve::with_graceful_shutdown`] |
//! | logs and metrics | [`Filter::on_done`] with its [`Outcome`], [`Observer`] |
//! | traces over several services (W3C Trace Context) | [`TraceContext`] |
//! | tests without sockets, in paused time | the module `testing`, a feature |
//!
//! # The five traits
//!
//! | trait | decides | implemented by | may wait |
//! |---|---|---|---|
//! | [`Listener`] | where client connections come from | [`TcpListener`] | yes |
//! | [`Filter`] | what happens around every request | [`RequestId`], [`EditHeaders`], [`FilterFn`] | in `on_request` |
//! | [`Upstream`] | where a request goes | [`Cluster`], [`ServiceUpstream`] | yes |
//! | [`Selector`] | which backend of a cluster | [`SelectorFn`], crate `proxy-lb` | no |
//! | [`Pool`] | which connection to a backend | [`SharedPool`] | in `acquire` |
//!
//! All but `Listener` are dyn-safe, and `Box` and `Arc` of them are what they point to. A plugin
//! that panics costs its own request (500) and nothing else.
//!
//! # The life of a request
//!
//! ```text
//! accept ─ Filter::on_connection ─ read head ─ Context
//!    │
//!    ▼ the listener's filters, then the route, then the route's filters, then the upstream's
//! on_request ─Continue▶ Upstream::send: select ▶ on_forward ▶ Pool ▶ send ▶ on_response ▶ relay ▶ on_done
//!    │                              ▲     once per attempt       │     last to first           ▲
//!    │                              └────── retry ───────────────┘                             │
//!    └─Respond, or an error: on_error ▶ on_response of the filters that ran ▶ answer ──────────┤
//!      the client leaves: every future is dropped ─────────────────────────────────────────────┘
//! ```
//!
//! Fields for one connection only are removed before the first filter, and [`Forwarding`] fields
//! written, so that no client can nominate away what a filter adds.
//!
//! # Errors
//! One opaque [`Error`]: its [`kind`](Error::kind) is one line of the table at [`ErrorKind`], with a
//! stable code for logs, the status the client gets and whose fault it was. Every request ends with
//! one [`Outcome`], which has that kind and the phase it happened in.
//!
//! # Limits and deadlines
//! Nothing a peer sends is unbounded in size, number or time. [`Limits`] and [`Timeouts`] are for
//! clients, [`UpstreamTimeouts`], [`RetryPolicy`] and [`PoolSettings`] for backends; each field says
//! its default.
//!
//! # Cancel safety
//! Dropping a future gives up what it was doing, and nothing else: a connection whose exchange did
//! not end cleanly is closed, never used again; counts, places and permits are guards. So a request
//! of a client that left takes the same path as one that ended.
//!
//! # Runtime
//! The library runs in the caller's tokio runtime, with I/O and time enabled. It installs no signal
//! handler, never exits the process, and owns no runtime. It panics outside of one.
//!
//! # Logs
//! Through `tracing`, fields rather than sentences.
//!
//! | level | events |
//! |---|---|
//! | error | a plugin panicked |
//! | warn | accepting failed, a backend refuses connections, a drain met its deadline |
//! | info | draining, a backend answers again |
//! | debug | one for each request that does not go well, with its code; refused connections |
//!
//! Every connection and every request has a span at the level debug, of the target `proxy_core::span`; a request's says
//! at its end what its [`Outcome`] says, and which trace it belongs to, where [`TraceContext`] knows. Where nobody
//! listens at that level a request pays a comparison for them. The example `otel` sends them to a collector.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `http2` (default) | HTTP/2 with clients ([`Http2`]) and backends ([`UpstreamHttp2`]); by prior knowledge and by ALPN |
//! | `tower-upgrade` | upgrades (WebSocket) through [`ServiceUpstream`], and through a [`Proxy`] used as a service; needs hyper |
//! | `tls` | [`tls`]: towards clients and backends; builds AWS-LC, which needs a C compiler |
//! | `testing` | proxies in memory for tests: scripted origins, a client to type bytes with |

mod attempt;
mod backend;
mod body;
mod breaker;
mod cidr;
mod clock;
mod cluster;
mod connector;
mod context;
mod ending;
mod error;
mod filter;
mod forwarding;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod head;
mod http1;
mod http2;
mod interim;
mod io;
mod limits;
mod listener;
mod live;
mod message;
mod observer;
mod outcome;
mod pool;
mod proxy;
mod proxy_protocol;
mod recycle;
mod relay;
mod scratch;
mod selector;
mod serve;
mod span;
mod tcp;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;
mod udp;
mod upgrade;
mod upload;
mod upstream;

pub use backend::{
    Address, Backend, BackendBuilder, BackendSet, BackendState, Candidates, Eligibility, HealthSource,
    ParseAddressError, SetChanges, SetError, SetEvent, SetWatch, Status, Usable, Verdict,
};
pub use body::{AsyncTransform, Body, Transform};
pub use breaker::{Breaker, BreakerPermit};
pub use cidr::{Cidr, CidrError};
pub use clock::Instant;
pub use cluster::{Cluster, ClusterBuilder, NextHop, RetryPolicy, UpstreamHttp2, UpstreamTimeouts};
pub use connector::{ClientHandshake, Connector, NextHopRefusal, TcpConnector};
pub use context::Context;
pub use error::{Error, ErrorKind, Fault, Phase, Result};
#[cfg(feature = "tls")]
pub use filter::ClientCertificateFields;
pub use filter::{
    Admission, ClientAccess, EditHeaders, Filter, FilterFn, Flow, HeaderEditError, HeaderEdits, Hsts, HttpsRedirect,
    RequestId, RequestIdValue, Trace, TraceContext, filter_fn,
};
pub use forwarding::Forwarding;
pub use head::{Headers, RequestHead, ResponseHead};
#[cfg(feature = "http2")]
pub use http2::Http2;
pub use io::Io;
pub use limits::{Limits, Timeouts};
pub use listener::{ClientCertificate, Listener, Peer, ServerHandshake, TcpListener, TlsInfo};
pub use message::{Request, Response};
pub use observer::{Observer, PoolEvent};
pub use outcome::{Outcome, Timings};
pub use pool::{
    Connection, Home, Lease, Pool, PoolBuilder, PoolHttp2, PoolSettings, PoolStats, Protocol, SharedPool, Target,
};
pub use proxy::{
    BuildError, LiveProxy, Proxy, ProxyBuilder, ResponseFuture, Route, RouteError, TunnelCheck, TunnelStart,
};
pub use proxy_protocol::{ProxyHeader, ProxyHeaderSender, ProxyProtocol};
pub use selector::{Attempt, AttemptResult, SelectionContext, Selector, SelectorFn, selector_fn};
pub use serve::{Serve, serve};
pub use tcp::{LiveTcpProxy, TcpProxy, TcpProxyBuilder, TcpRoute, TcpSettings, serve_tcp};
pub use udp::{LiveUdpProxy, UdpListener, UdpProxy, UdpSettings, serve_udp};
pub use upstream::{ServiceUpstream, Upstream};
