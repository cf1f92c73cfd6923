//! Limits that outlive the server they were built for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use proxy_core::Filter;

/// The limits of running servers, so that a server built from a changed configuration takes over
/// those that did not change, with what they have counted.
///
/// A limit did not change if it stands at the same place, or has the same name there, with the same settings.
/// It is kept as long as a server has it.
///
/// ```no_run
/// use proxy_config::{Config, KeptLimits, Server};
///
/// # async fn run(old: Config, new: Config) -> Result<(), proxy_config::ServerError> {
/// let limits = KeptLimits::default();
/// let first = Server::bind_with(&old, &limits)?;
/// // While `first` runs: who is over a limit stays so.
/// let second = Server::bind_with(&new, &limits)?;
/// # drop((first, second));
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct KeptLimits(Mutex<HashMap<String, Weak<dyn Filter>>>);

impl KeptLimits {
    /// The limit with this identity, made if there is none.
    pub(super) fn take_over<E>(
        &self,
        identity: String,
        make: impl FnOnce() -> Result<Arc<dyn Filter>, E>,
    ) -> Result<Arc<dyn Filter>, E> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = kept.get(&identity).and_then(Weak::upgrade) {
            return Ok(limit);
        }
        kept.retain(|_, limit| limit.strong_count() > 0);
        let limit = make()?;
        kept.insert(identity, Arc::downgrade(&limit));
        Ok(limit)
    }
}

impl fmt::Debug for KeptLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(kept.keys()).finish()
    }
}
