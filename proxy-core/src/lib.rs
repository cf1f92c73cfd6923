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
//! Five traits are the seams: [`Listener`] (where connections come from), [`Filter`] (plugins around
//! every request), [`Upstream`] (where requests go), [`Selector`] (which backend) and [`Pool`]
//! (connections kept for the next request). [`Cluster`] is the upstream most programs want.
//!
//! The library runs in the caller's tokio runtime. It installs no signal handler, never exits the
//! process, and logs through `tracing`.

mod attempt;
mod backend;
mod body;
mod breaker;
mod cidr;
mod clock;
mod cluster;
mod connector;
mod context;
mod error;
mod filter;
mod forwarding;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod head;
mod http1;
mod io;
mod limits;
mod listener;
mod message;
mod observer;
mod outcome;
mod pool;
mod proxy;
mod recycle;
mod scratch;
mod selector;
mod serve;
#[cfg(feature = "testing")]
pub mod testing;
mod upstream;

pub use backend::{
    Address, Backend, BackendBuilder, BackendSet, BackendState, Candidates, Eligibility, HealthSource,
    ParseAddressError, SetChanges, SetError, SetEvent, SetWatch, Status, Usable, Verdict,
};
pub use body::{AsyncTransform, Body, Transform};
pub use breaker::{Breaker, BreakerPermit};
pub use cidr::{Cidr, CidrError};
pub use clock::Instant;
pub use cluster::{Cluster, ClusterBuilder, RetryPolicy, UpstreamTimeouts};
pub use connector::{Connector, TcpConnector};
pub use context::Context;
pub use error::{Error, ErrorKind, Fault, Phase, Result};
pub use filter::{
    Admission, EditHeaders, Filter, FilterFn, Flow, HeaderEditError, HeaderEdits, RequestId, RequestIdValue, filter_fn,
};
pub use forwarding::Forwarding;
pub use head::{Headers, RequestHead, ResponseHead};
pub use io::Io;
pub use limits::{Limits, Timeouts};
pub use listener::{Listener, Peer, TcpListener};
pub use message::{Request, Response};
pub use observer::{Observer, PoolEvent};
pub use outcome::{Outcome, Timings};
pub use pool::{Connection, Home, Lease, Pool, PoolBuilder, PoolSettings, PoolStats, Protocol, SharedPool, Target};
pub use proxy::{BuildError, Proxy, ProxyBuilder, ResponseFuture, Route, RouteError};
pub use selector::{Attempt, AttemptResult, SelectionContext, Selector, SelectorFn, selector_fn};
pub use serve::{Serve, serve};
pub use upstream::{ServiceUpstream, Upstream};
