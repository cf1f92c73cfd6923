//! Helpers shared by the tests.

mod authority;
mod bytes;
mod front;
mod listener;
mod log;
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme;
mod stage;

pub use authority::Authority;
pub use bytes::{GET, ok, post, status};
pub use front::{Front, Served};
pub use listener::{Dialer, MemoryListener, listen};
pub use log::Log;
pub use stage::Stage;
