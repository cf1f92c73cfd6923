//! The half that chooses.

use std::fmt;

use proxy_core::{Attempt, Backend, BackendState, Candidates, SelectionContext, Selector};

use super::{Kind, Sticky};

/// Chooses the backend that a request's cookie stands for, and asks another selector where there is none:
/// see [`Sticky`].
pub struct StickySelector<S> {
    sticky: Sticky,
    inner: S,
}

impl<S: Selector> StickySelector<S> {
    pub(super) fn new(sticky: Sticky, inner: S) -> Self {
        StickySelector { sticky, inner }
    }

    /// The selector for what has no cookie.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn wanted(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend> {
        let value = context.request()?.cookie(&self.sticky.cookie)?;
        let backend = match &*self.sticky.kind {
            Kind::Inserted(seal) => candidates.by_id(seal.open(value)?.as_str()?)?.clone(),
            Kind::Learnt(memory) => {
                let known = memory.recall(memory.mark(value.as_bytes()))?;
                // Another backend may have taken its id.
                candidates.by_id(known.id()).filter(|backend| **backend == known)?.clone()
            }
        };
        let alive = matches!(backend.state(), BackendState::Healthy | BackendState::Draining);
        (alive && !context.tried().contains(&backend)).then_some(backend)
    }
}

impl<S: Selector> Selector for StickySelector<S> {
    fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend> {
        self.wanted(candidates, context).or_else(|| self.inner.select(candidates, context))
    }

    fn on_change(&self, backends: &[Backend]) {
        self.inner.on_change(backends);
    }

    fn on_outcome(&self, backend: &Backend, attempt: &Attempt) {
        self.inner.on_outcome(backend, attempt);
    }
}

impl<S: fmt::Debug> fmt::Debug for StickySelector<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickySelector").field("sticky", &self.sticky).field("inner", &self.inner).finish()
    }
}
