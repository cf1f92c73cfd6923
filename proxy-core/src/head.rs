//! Request and response heads, as they arrived plus the edits made since.
//!
//! A head keeps the bytes it came in (name case, field order and request target included), an index
//! into them, and an overlay of edits. A head nobody edited is copied out, not written anew.

mod convert;
mod edits;
mod headers;
mod known;
mod raw;
mod request;
mod response;

pub use headers::Headers;
pub use request::RequestHead;
pub use response::ResponseHead;

pub(crate) use known::{Known, KnownSet};
pub(crate) use raw::{Field, MAX_FIELDS, RawHead, SharedHead, Span, Start};
pub(crate) use request::absolute_parts;
#[cfg(feature = "http2")]
pub(crate) use request::is_target;
