//! The schema, one file per part. A type stands with its decoder.

pub(crate) mod access_log;
pub(crate) mod backend;
pub(crate) mod breaker;
pub(crate) mod config;
pub(crate) mod discovery;
pub(crate) mod filter;
pub(crate) mod forward;
pub(crate) mod header_edits;
pub(crate) mod health;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod https;
pub(crate) mod listener;
pub(crate) mod load_limits;
pub(crate) mod matcher;
pub(crate) mod operations;
pub(crate) mod parent;
pub(crate) mod plugin;
pub(crate) mod rate_limit;
pub(crate) mod relay;
pub(crate) mod route;
pub(crate) mod secret;
pub(crate) mod selector;
pub(crate) mod sticky;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod upstream_tls;

mod names;
mod source;
