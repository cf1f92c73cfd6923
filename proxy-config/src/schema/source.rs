//! Where a configuration comes from.

use std::path::PathBuf;
use std::sync::Arc;

/// Where a configuration comes from: it says nothing about what is configured, and all are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    pub(super) file: Option<PathBuf>,
    /// The text as JSON, its secrets hidden.
    pub(super) shown: Arc<str>,
}

impl PartialEq for Source {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
