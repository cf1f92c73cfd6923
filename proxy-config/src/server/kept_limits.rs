//! Limits that outlive the configuration they were built for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use proxy_core::Filter;
use proxy_metrics::{LimitState, Metrics};

/// The limits of a running server, so that a changed configuration takes over those that did not change, with what
/// they have counted.
///
/// A limit did not change if it stands at the same place, or has the same name there, with the same settings.
/// It is kept as long as a server has it.
pub(super) struct KeptLimits {
    kept: Mutex<HashMap<String, Weak<dyn Filter>>>,
    metrics: Metrics,
}

impl KeptLimits {
    /// None yet; these metrics are to show them.
    pub(super) fn new(metrics: Metrics) -> Self {
        KeptLimits { kept: Mutex::default(), metrics }
    }

    /// A new limit, which is shown by what `read` finds for as long as it lives.
    pub(super) fn shown<F: Filter>(
        &self,
        name: &str,
        kind: &'static str,
        limit: F,
        read: fn(&F) -> LimitState,
    ) -> Arc<dyn Filter> {
        let limit = Arc::new(limit);
        let weak = Arc::downgrade(&limit);
        self.metrics.limit(name, kind, move || weak.upgrade().map(|limit| read(&limit)));
        limit
    }

    /// The limit with this identity, made if there is none.
    pub(super) fn take_over<E>(
        &self,
        identity: String,
        make: impl FnOnce() -> Result<Arc<dyn Filter>, E>,
    ) -> Result<Arc<dyn Filter>, E> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
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
        // Not the identities: a URL among the settings may hold a password.
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("KeptLimits").field("kept", &kept).finish_non_exhaustive()
    }
}
