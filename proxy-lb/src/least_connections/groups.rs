//! Backends in groups, with a note of the least load in each.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use proxy_core::{Backend, Candidates};

use crate::roster::Roster;

/// Up to so many backends are one group: they are walked through faster than notes are kept.
const FEW: usize = 16;

/// Groups that one choice may walk through, when notes turn out too low.
const LOOKS: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Groups {
    roster: Roster<()>,
    /// Loads, as the bits of a number that is not negative: these compare as the numbers do.
    notes: Box<[AtomicU64]>,
}

impl Groups {
    pub(super) fn new(backends: &[Backend]) -> Self {
        let count = if backends.len() <= FEW { 1 } else { backends.len().isqrt() };
        let groups = Groups {
            roster: Roster::default().renewed(backends),
            notes: (0..count).map(|_| AtomicU64::new(f64::MAX.to_bits())).collect(),
        };
        for (position, backend) in backends.iter().enumerate() {
            groups.note(position, load(backend, backend.in_flight()));
        }
        groups
    }

    /// Whether these are the candidates of the last change, as far as a look can tell.
    pub(super) fn is_for(&self, candidates: &Candidates<'_>) -> bool {
        self.roster.listed().len() == candidates.len()
    }

    /// The least loaded candidate; of equals the first from `turn` on.
    pub(super) fn least<'a>(&self, candidates: &Candidates<'a>, turn: usize) -> Option<&'a Backend> {
        if self.notes.len() == 1 {
            return Some(scan(candidates, 0..candidates.len(), turn)?.backend);
        }
        self.check_one(candidates, turn);
        let mut chosen = None;
        for _ in 0..LOOKS {
            let (group, note) = self.lowest(turn)?;
            let found = scan(candidates, self.members(group), turn / self.notes.len())?;
            let right = found.load.to_bits() <= note;
            let next = if right { found.after } else { found.load };
            // If an attempt has ended in the meantime, its note is the newer one.
            let _ = self.notes[group].compare_exchange(note, next.to_bits(), Ordering::Relaxed, Ordering::Relaxed);
            chosen = Some(found.backend);
            if right {
                break;
            }
        }
        chosen
    }

    /// An attempt at this backend ends; it is still counted as in flight.
    pub(super) fn ended(&self, backend: &Backend) {
        if let (Some((position, ())), true) = (self.roster.get(backend).map(|(at, _)| (at, ())), self.notes.len() > 1) {
            self.note(position, load(backend, backend.in_flight().saturating_sub(1)));
        }
    }

    fn note(&self, position: usize, load: f64) {
        self.notes[self.group_of(position)].fetch_min(load.to_bits(), Ordering::Relaxed);
    }

    fn check_one(&self, candidates: &Candidates<'_>, turn: usize) {
        let position = turn % candidates.len().max(1);
        if let Some(backend) = candidates.at(position) {
            self.note(position, load(backend, backend.in_flight()));
        }
    }

    /// The group with the lowest note, the first from `turn` on, and the note.
    fn lowest(&self, turn: usize) -> Option<(usize, u64)> {
        let (before, from) = self.notes.split_at(turn % self.notes.len());
        let in_turn = from.iter().chain(before).zip((before.len()..self.notes.len()).chain(0..before.len()));
        let notes = in_turn.map(|(note, group)| (group, note.load(Ordering::Relaxed)));
        notes.min_by_key(|(_, note)| *note)
    }

    fn members(&self, group: usize) -> Range<usize> {
        let (all, groups) = (self.roster.listed().len(), self.notes.len());
        (group * all).div_ceil(groups)..((group + 1) * all).div_ceil(groups)
    }

    fn group_of(&self, position: usize) -> usize {
        position * self.notes.len() / self.roster.listed().len()
    }
}

/// What a walk through some candidates found.
pub(super) struct Found<'a> {
    pub(super) backend: &'a Backend,
    load: f64,
    /// The least load among them once the backend has one request more.
    after: f64,
}

/// The least loaded candidate in `range`; of equals the first from `turn` on.
pub(super) fn scan<'a>(candidates: &Candidates<'a>, range: Range<usize>, turn: usize) -> Option<Found<'a>> {
    let first = range.start + turn.checked_rem(range.len())?;
    let in_turn = (first..range.end).chain(range.start..first).filter_map(|at| candidates.at(at));
    let mut loads = in_turn.map(|backend| (backend, load(backend, backend.in_flight())));
    let (mut backend, mut least) = loads.next()?;
    let mut second = f64::MAX;
    for (other, load) in loads {
        if load < least {
            second = least;
            (backend, least) = (other, load);
        } else {
            second = second.min(load);
        }
    }
    let after = second.min(load(backend, backend.in_flight() + 1));
    Some(Found { backend, load: least, after })
}

fn load(backend: &Backend, in_flight: usize) -> f64 {
    match in_flight {
        0 => 0.0,
        _ => (in_flight + 1) as f64 / f64::from(backend.share().max(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::named;

    #[test]
    fn every_backend_is_in_one_group() {
        for count in [17, 100, 101, 1000, 1023, 10_000] {
            let groups = Groups::new(&named("", &vec![1; count]));
            let mut next = 0;
            for group in 0..groups.notes.len() {
                for member in groups.members(group) {
                    assert_eq!((member, groups.group_of(member)), (next, group), "of {count}");
                    next += 1;
                }
            }
            assert_eq!(next, count);
        }
    }
}
