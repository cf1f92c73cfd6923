//! One state of a set: backends, their health, and who of them is a candidate.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Backend, Candidates, Eligibility, Status};

/// One state of a set. It never changes.
#[derive(Debug)]
pub(crate) struct Snapshot {
    members: Arc<Members>,
    statuses: Vec<Status>,
    eligible: Vec<Backend>,
    /// For each member, whether it is among the eligible.
    is_eligible: Vec<bool>,
}

/// Who belongs to the set: shared by the snapshots between which only health changed.
#[derive(Debug)]
pub(super) struct Members {
    all: Vec<Backend>,
    by_id: HashMap<Box<str>, usize>,
}

impl Members {
    /// Of several with one id the first is taken.
    pub(super) fn new(backends: impl IntoIterator<Item = Backend>) -> Self {
        let (mut all, mut by_id) = (Vec::new(), HashMap::new());
        for backend in backends {
            if by_id.contains_key(backend.id()) {
                tracing::warn!(backend = backend.id(), "given twice; the first is taken");
                continue;
            }
            by_id.insert(backend.id().into(), all.len());
            all.push(backend);
        }
        Members { all, by_id }
    }

    pub(super) fn all(&self) -> &[Backend] {
        &self.all
    }

    pub(super) fn index(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&Backend> {
        Some(&self.all[self.index(id)?])
    }

    pub(super) fn contains(&self, backend: &Backend) -> bool {
        self.by_id(backend.id()).is_some_and(|known| known == backend)
    }
}

impl Snapshot {
    pub(super) fn new(members: Arc<Members>, eligibility: &dyn Eligibility) -> Self {
        let statuses = members.all.iter().map(Backend::status).collect();
        let mut snapshot = Snapshot { statuses, eligible: Vec::new(), is_eligible: Vec::new(), members };
        snapshot.decide(eligibility);
        snapshot
    }

    /// The next one, between which and this only the health of these members changed.
    pub(super) fn next(&self, changed: &[Backend], eligibility: &dyn Eligibility) -> Self {
        let mut next = Snapshot {
            members: Arc::clone(&self.members),
            statuses: self.statuses.clone(),
            eligible: Vec::new(),
            is_eligible: Vec::new(),
        };
        for backend in changed {
            if let Some(index) = self.members.index(backend.id()) {
                next.statuses[index] = backend.status();
            }
        }
        next.decide(eligibility);
        next
    }

    fn decide(&mut self, eligibility: &dyn Eligibility) {
        let all = &self.members.all;
        self.eligible = eligibility.eligible(all);
        self.is_eligible = vec![false; all.len()];
        let mut from = 0;
        for backend in &self.eligible {
            // They come in the order of the set; one that does not costs a look at its id.
            let ahead = all.get(from..).and_then(|rest| rest.iter().position(|member| member == backend));
            let index = ahead.map(|steps| from + steps).or_else(|| self.members.index(backend.id()));
            if let Some(index) = index {
                self.is_eligible[index] = true;
                from = if ahead.is_some() { index + 1 } else { from };
            }
        }
    }

    pub(super) fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// All that the set has.
    pub(crate) fn all(&self) -> &[Backend] {
        self.members.all()
    }

    pub(super) fn statuses(&self) -> impl Iterator<Item = (&Backend, &Status)> {
        self.members.all.iter().zip(&self.statuses)
    }

    pub(super) fn eligible(&self) -> &[Backend] {
        &self.eligible
    }

    pub(super) fn is_eligible(&self, backend: &Backend) -> bool {
        let index = self.members.index(backend.id());
        index.is_some_and(|index| self.is_eligible[index] && self.members.all[index] == *backend)
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&Backend> {
        self.members.by_id(id)
    }

    pub(crate) fn candidates(&self) -> Candidates<'_> {
        Candidates::new(&self.eligible, self)
    }

    /// The candidates among `list`, for attempts that leave out backends already tried.
    pub(crate) fn candidates_among<'a>(&'a self, list: &'a [Backend]) -> Candidates<'a> {
        Candidates::new(list, self)
    }
}
