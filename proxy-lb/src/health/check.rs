//! How one backend is asked.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use proxy_core::Backend;

/// How one backend is asked. [`TcpCheck`](super::TcpCheck) and [`HttpCheck`](super::HttpCheck) are there.
///
/// ```
/// use async_trait::async_trait;
/// use proxy_core::Backend;
/// use proxy_lb::{Check, CheckFailure};
///
/// /// A file that its operator touches.
/// struct Flag;
///
/// #[async_trait]
/// impl Check for Flag {
///     async fn check(&self, backend: &Backend) -> Result<(), CheckFailure> {
///         let file = format!("/run/up/{}", backend.id());
///         std::path::Path::new(&file).exists().then_some(()).ok_or_else(|| CheckFailure::new("not flagged"))
///     }
/// }
/// ```
#[async_trait]
pub trait Check: Send + Sync + 'static {
    /// Asks once. `backend` stands in for the one that is checked, with its id and labels and the address
    /// to ask: what is counted about it does not count for the real one. It is the same handle each time, so
    /// connections may be kept for it.
    ///
    /// # Errors
    /// If the answer is bad. No answer within the timeout is bad too: the future is dropped.
    ///
    /// # Cancel safety
    /// Must be safe to drop at any time.
    async fn check(&self, backend: &Backend) -> Result<(), CheckFailure>;
}

/// Why an answer is bad, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFailure(Arc<str>);

impl CheckFailure {
    /// A bad answer, for this reason.
    pub fn new(reason: impl Into<Arc<str>>) -> Self {
        CheckFailure(reason.into())
    }
}

impl From<io::Error> for CheckFailure {
    fn from(error: io::Error) -> Self {
        CheckFailure::new(error.to_string())
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CheckFailure {}
