//! Values of which no two may be the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Display;
use std::hash::Hash;

use super::Cursor;

/// The values so far, each with the path where it stood first.
pub(crate) struct Unique<T>(HashMap<T, String>);

impl<T: Eq + Hash> Unique<T> {
    pub(crate) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Reports if `value`, which the user knows as `name`, is there already.
    pub(crate) fn claim(&mut self, value: T, name: impl Display, cursor: Cursor<'_>) {
        match self.0.entry(value) {
            Entry::Vacant(entry) => {
                entry.insert(cursor.path.to_string());
            }
            Entry::Occupied(first) => {
                cursor.fail::<()>(format!("{name} is already used by {}", first.get()));
            }
        }
    }
}
