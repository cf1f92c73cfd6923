//! What an input made its target do: a poor man's coverage, without a special compiler.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};

thread_local! {
    static SEEN: Cell<u64> = const { Cell::new(0) };
}

/// Something the target did that tells this input from others.
pub(crate) fn note(what: impl Hash) {
    let mut hasher = DefaultHasher::new();
    (SEEN.get(), what).hash(&mut hasher);
    SEEN.set(hasher.finish());
}

/// Everything noted since the last call, in one number.
pub(crate) fn take() -> u64 {
    SEEN.replace(0)
}
