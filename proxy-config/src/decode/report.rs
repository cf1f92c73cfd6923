//! Where the errors of one run gather.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::Registry;
use crate::error::{ConfigError, ConfigErrors};

/// Nobody reads more, and hostile input must not cost a suggestion per mistake.
const MAX_ERRORS: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct Report {
    errors: RefCell<Vec<ConfigError>>,
    omitted: Cell<usize>,
    /// The names that references may use; `None` while `upstreams` itself is wrong, which is reported once, there.
    upstreams: Option<BTreeMap<String, Leads>>,
    registry: Registry,
}

/// Where the backends of an upstream lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// They answer themselves.
    Nowhere,
    /// They are proxies.
    Anywhere,
}

impl Report {
    pub(crate) fn new(upstreams: Option<BTreeMap<String, Leads>>, registry: Registry) -> Self {
        Self { upstreams, registry, ..Self::default() }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn upstreams(&self) -> Option<&BTreeMap<String, Leads>> {
        self.upstreams.as_ref()
    }

    pub(crate) fn push(&self, error: ConfigError) {
        if self.is_full() {
            self.omitted.set(self.omitted.get() + 1);
        } else {
            self.errors.borrow_mut().push(error);
        }
    }

    /// The message, or nothing when it would be dropped anyway.
    pub(super) fn unless_full(&self, message: impl FnOnce() -> String) -> String {
        if self.is_full() { String::new() } else { message() }
    }

    /// `value`, if nothing was reported.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        let errors = self.errors.into_inner();
        match value {
            Some(value) if errors.is_empty() => Ok(value),
            _ => Err(ConfigErrors::new(errors, self.omitted.get())),
        }
    }

    fn is_full(&self) -> bool {
        self.errors.borrow().len() >= MAX_ERRORS
    }
}
