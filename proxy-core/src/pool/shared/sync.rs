//! The primitives that the concurrency core stands on. `tests/pool_loom.rs` compiles the core with
//! loom's in their place, so nothing else from `std::sync` but `Arc` may be used in it.

pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};
