//! A net under plugins: one that panics costs its own request, nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Error, ErrorKind, Result};

/// Runs a plugin's code; its panic is an error.
pub(crate) fn guarded<T>(code: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(code)).unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> Error {
    tracing::error!("a plugin panicked");
    ErrorKind::PluginPanic.into()
}
