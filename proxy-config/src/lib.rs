//! Declarative JSON configuration: schema, validation, and the running server built from it.
//!
//! ```
//! use proxy_config::Config;
//!
//! let config: Config = r#"{
//!     "listeners": { "web": { "listen": ["127.0.0.1:8080"], "http": { "upstream": "api" } } },
//!     "upstreams": { "api": { "backends": ["127.0.0.1:9001", "127.0.0.1:9002"] } }
//! }"#.parse()?;
//! assert_eq!(config.upstreams["api"].backends.len(), 2);
//! assert!(config.unsupported().is_empty());
//! # Ok::<(), proxy_config::ConfigErrors>(())
//! ```
//!
//! [`Server::start`] serves it, [`Server::reload`] goes over to another, [`Server::drain`] stops; the runtime is the
//! caller's.
//!
//! A [`Config`] that exists is valid: names resolve, addresses and header names are well formed, numbers are in
//! range. A file that is not valid yields [`ConfigErrors`] with *all* its mistakes, each with path, line and column.
//!
//! Knobs that a file does not turn are `None`: their defaults belong to the crates that use them.

mod decode;
mod describe;
mod error;
mod expand;
mod file_watch;
mod json;
mod nearest;
mod path;
mod registry;
mod schema;
mod server;
mod unsupported;
#[cfg(unix)]
mod upgrade;
mod values;

pub use error::{ConfigError, ConfigErrors, ErrorKind, Position};
pub use file_watch::FileWatch;
pub use registry::Registry;
pub use schema::access_log::{AccessLog, AccessLogFormat, AccessLogTarget, LogConditions};
pub use schema::backend::Backend;
pub use schema::breaker::{CircuitBreaker, SlowStart};
pub use schema::config::{Config, Shutdown};
pub use schema::discovery::Discovery;
pub use schema::filter::{Filter, RequestId, TraceContext};
pub use schema::forward::{AllowPrivate, Anonymity, Forward, ForwardAction, ForwardRule, Pac, ServerNames, Socks};
pub use schema::header_edits::{HeaderEdits, Headers};
pub use schema::health::{
    HealthCheck, HttpProbe, Latency, OutlierDetection, Probe, Start, StatusRange, SuccessRate, UdpProbe,
};
pub use schema::http::{Forwarded, Http, HttpTimeouts, Limits};
pub use schema::http2::{Http2, Http2Limits};
pub use schema::https::{Hsts, HttpsRedirect};
pub use schema::listener::{Listener, ListenerKind, ProxyProtocol};
pub use schema::load_limits::{
    BandwidthLimit, ConcurrencyBound, ConcurrencyLimit, ConnectionLimit, KeyedConcurrency, Priorities, PriorityClass,
    Queue,
};
pub use schema::matcher::{Match, PathMatch};
pub use schema::operations::Admin;
pub use schema::parent::{ForwardParent, ParentProxy, ParentSettings};
pub use schema::plugin::Plugin;
pub use schema::rate_limit::{
    MissingKey, RateAlgorithm, RateCost, RateHeaders, RateKey, RateLimit, RateQuota, RateRedis, RedisFailure,
};
pub use schema::relay::{ServerName, Tcp, TcpLimits, TcpTimeouts, Udp, UdpLimits};
pub use schema::route::{Route, Target};
pub use schema::secret::Secret;
pub use schema::selector::{Hash, HashKey, Selector};
pub use schema::sticky::Sticky;
pub use schema::tls::{Certificate, ClientAuth, Tls, TlsVersion, UnknownName};
pub use schema::upstream::{
    GrpcStatus, Pool, PoolHttp2, Retry, SendProxyHeader, Subset, Timeouts, Upstream, UpstreamHttp2,
};
pub use schema::upstream_tls::UpstreamTls;
pub use server::{Change, ChangeKind, Diff, ReloadError, Server, ServerError};
pub use unsupported::Unsupported;
#[cfg(unix)]
pub use upgrade::{Inherited, UpgradeSocket};
pub use values::{Address, Cidr, Rate};
