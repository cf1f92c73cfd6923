//! Filters and selectors that are not ours.

/// A filter or a selector of a [`Registry`](crate::Registry).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plugin {
    /// The name that it is registered under.
    pub name: String,
    /// What it is given: JSON, `null` where only the name was written.
    pub settings: String,
}

impl Plugin {
    pub(super) fn new(name: String, settings: String) -> Self {
        Self { name, settings }
    }
}
