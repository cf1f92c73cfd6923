//! Sizes and deadlines. Every one has a default and a knob.

use std::time::Duration;

/// What a client may ask of a proxy, in bytes and counts.
///
/// ```
/// let limits = proxy_core::Limits { max_body_bytes: Some(1024 * 1024), ..Default::default() };
/// assert_eq!(limits.max_head_bytes, 32 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The request head with its empty line, in bytes; 431 beyond. Default 32 KiB, at most 60 KiB.
    pub max_head_bytes: usize,
    /// Fields of a head; 431 beyond. Default 100, at most 128.
    pub max_headers: usize,
    /// The request target, in bytes; 414 beyond. Default 8 KiB.
    pub max_target_bytes: usize,
    /// The request body, in bytes; 413 beyond. Default: unlimited, bodies are not stored.
    pub max_body_bytes: Option<u64>,
    /// Connections of one listener at a time; more wait in the kernel's queue. Default 16,384.
    pub max_connections: usize,
    /// Connections of one client address at a time; more are closed. Default: unlimited.
    pub max_connections_per_client: Option<usize>,
    /// Requests on one client connection; then it is closed. Default: unlimited.
    pub max_requests_per_connection: Option<u64>,
    /// What is read and thrown away of a request body after an early response, in bytes, before the
    /// connection is closed instead. Default 256 KiB.
    pub max_drain_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_head_bytes: 32 * 1024,
            max_headers: 100,
            max_target_bytes: 8 * 1024,
            max_body_bytes: None,
            max_connections: 16_384,
            max_connections_per_client: None,
            max_requests_per_connection: None,
            max_drain_bytes: 256 * 1024,
        }
    }
}

/// How long a client may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a head to its last; 408 beyond. Default 10 s.
    pub head: Duration,
    /// An idle keep-alive connection is closed after this. Default 75 s.
    pub keep_alive: Duration,
    /// A request body that brings no byte for this long; 408 beyond. Default 30 s.
    pub body_idle: Duration,
    /// The least a request body must bring, in bytes per second, averaged over its whole time after
    /// the first [`body_idle`](Self::body_idle); 408 below. Default 64; 0 turns it off.
    pub min_body_rate: u64,
    /// A client that takes no byte of the response for this long is closed. Default 30 s.
    pub write_idle: Duration,
    /// A whole request, from head to the last byte of the response. Default: unlimited.
    pub total: Option<Duration>,
    /// A tunnel (WebSocket and the like) that moves no byte for this long is closed. Default 1 h.
    pub tunnel_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            body_idle: Duration::from_secs(30),
            min_body_rate: 64,
            write_idle: Duration::from_secs(30),
            total: None,
            tunnel_idle: Duration::from_secs(3600),
        }
    }
}
