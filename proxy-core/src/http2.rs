//! HTTP/2 over the `h2` crate, by prior knowledge and by ALPN: with clients here, with backends in [`client`].
//!
//! One task serves a connection and all its streams, so nothing goes from thread to thread, and what
//! several of them have to say leaves in one write. The life of a request is that of HTTP/1: a stream ends
//! in the same [`Exchange`](crate::proxy::Exchange).
//!
//! Without the feature `http2` the same items are here, and nobody speaks it.

#[cfg(not(feature = "http2"))]
mod absent;
#[cfg(feature = "http2")]
mod body;
#[cfg(feature = "http2")]
mod budget;
#[cfg(feature = "http2")]
pub(crate) mod client;
#[cfg(feature = "http2")]
mod failure;
#[cfg(feature = "http2")]
mod grpc;
#[cfg(feature = "http2")]
mod head;
#[cfg(feature = "http2")]
mod meter;
#[cfg(feature = "http2")]
mod relay;
#[cfg(feature = "http2")]
mod seats;
#[cfg(feature = "http2")]
mod server;
#[cfg(feature = "http2")]
mod settings;
#[cfg(feature = "http2")]
mod sniff;
#[cfg(feature = "http2")]
mod stream;
#[cfg(feature = "http2")]
mod tunnel;
#[cfg(feature = "http2")]
mod wire;

#[cfg(not(feature = "http2"))]
pub(crate) use absent::{Settings, client, is_agreed, serve, sniff};
#[cfg(feature = "http2")]
pub(crate) use server::serve;
#[cfg(feature = "http2")]
pub use settings::Http2;
#[cfg(feature = "http2")]
pub(crate) use settings::Settings;
#[cfg(feature = "http2")]
pub(crate) use sniff::{is_agreed, sniff};

/// What the first bytes of a connection say.
#[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "nothing is looked for"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sniffed {
    /// They are the preface (RFC 9113 §3.4).
    Http2,
    /// They may become it.
    Maybe,
    Other,
}
