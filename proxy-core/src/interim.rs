//! Where interim responses go.

use crate::ResponseHead;
use crate::http1::stream::Stream;

/// Where a client's interim responses go.
pub(crate) enum Interim<'a> {
    /// To its connection.
    Connection(&'a Stream),
    /// To one of the streams of it.
    Stream(&'a dyn Responder),
}

/// Answers a request that shares its connection with others.
pub(crate) trait Responder: Send + Sync {
    /// Sends an interim response. A client that is gone does not get it.
    fn interim(&self, head: &ResponseHead);
}
