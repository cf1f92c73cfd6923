//! What a selector knows of each backend, by position and by backend.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use proxy_core::{Backend, Candidates};

/// The candidates of the last change, each with a state that stays while the backend does.
pub(crate) struct Roster<T> {
    listed: Box<[Backend]>,
    states: Box<[Arc<T>]>,
    positions: HashMap<Backend, usize, BuildHasherDefault<KeyHasher>>,
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Roster { listed: Box::default(), states: Box::default(), positions: HashMap::default() }
    }
}

impl<T: Default> Roster<T> {
    /// Of these backends: those that are on `self` keep their state.
    pub(crate) fn renewed(&self, backends: &[Backend]) -> Self {
        let state = |backend: &Backend| self.get(backend).map_or_else(Arc::default, |(_, state)| Arc::clone(state));
        Roster {
            listed: backends.into(),
            states: backends.iter().map(state).collect(),
            positions: backends.iter().cloned().zip(0..).collect(),
        }
    }
}

impl<T> Roster<T> {
    pub(crate) fn listed(&self) -> &[Backend] {
        &self.listed
    }

    /// Position and state of a backend that is on it.
    pub(crate) fn get(&self, backend: &Backend) -> Option<(usize, &Arc<T>)> {
        let position = *self.positions.get(backend)?;
        Some((position, &self.states[position]))
    }

    pub(crate) fn state(&self, position: usize) -> &T {
        &self.states[position]
    }
}

impl<T> fmt::Debug for Roster<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Roster").field(&self.listed).finish()
    }
}

/// The candidate that stood at `position` of the candidates of the last change, if it still is one.
///
/// Candidates keep their order when some are left out: down, or tried already. So one of them stands
/// at most as many places further to the front as there are missing.
pub(crate) fn find<'a>(listed: &[Backend], position: usize, candidates: &Candidates<'a>) -> Option<&'a Backend> {
    let wanted = &listed[position];
    let wanted_at = |at: usize| candidates.at(at).filter(|candidate| *candidate == wanted);
    wanted_at(position).or_else(|| {
        let missing = listed.len().saturating_sub(candidates.len());
        (position.saturating_sub(missing)..position).rev().find_map(wanted_at)
    })
}

/// Backends hash as a number that is unique already: one multiplication spreads it (Knuth, TAOCP 6.4).
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}
