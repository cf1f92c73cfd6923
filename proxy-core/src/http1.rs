//! The HTTP/1.1 engine: server and client side, on one task per client connection.

pub(crate) mod buffer;
pub(crate) mod chunked;
pub(crate) mod client;
pub(crate) mod decode;
pub(crate) mod drain;
pub(crate) mod encode;
pub(crate) mod framing;
pub(crate) mod parse;
pub(crate) mod reader;
pub(crate) mod relay;
pub(crate) mod server;
mod socket;
pub(crate) mod stream;
pub(crate) mod timer;
pub(crate) mod tokens;
pub(crate) mod tunnel;
pub(crate) mod upload;
