//! What operators look at.
//!
//! ```
//! use proxy_core::Proxy;
//! use proxy_metrics::Metrics;
//!
//! let metrics = Metrics::new();
//! let proxy = Proxy::builder().observer(metrics.listener("web")); // and so on
//! assert!(metrics.render().contains("# TYPE proxy_requests_in_flight gauge\n"));
//! # let _ = proxy;
//! ```
//!
//! | you want | take |
//! |---|---|
//! | Prometheus metrics of listeners, routes, upstreams, backends, pools and the process | [`Metrics`], and [`catalogue`] for what there is |
//! | the same in a recorder of the crate `metrics` | [`Publisher`] |
//! | a line for each request: JSON, combined, or a template; to a file, stdout or syslog | [`AccessLog`] |
//! | a dashboard, `/metrics`, `/readyz` and an API to look at backends and to drain them | [`Admin`] |
//!
//! Nothing here waits on the path of a request, takes a lock that another thread may hold for long, or grows
//! by what a client sends.

mod access_log;
mod admin;
pub mod catalogue;
mod exposition;
mod growing;
mod metrics;
mod sample;
mod sharded;
mod times;

pub use access_log::{AccessLog, AccessLogBuilder, LogFormat, LogTarget, TemplateError, Writer};
pub use admin::{Admin, AdminError, AdminServer, Control, Logging, Readiness};
pub use metrics::{Failure, LimitState, ListenerMetrics, Metrics, Publisher, UpstreamMetrics, UsageMetrics, Watched};
