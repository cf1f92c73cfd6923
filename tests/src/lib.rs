//! Helpers shared by the tests.

mod authority;
mod bytes;
mod front;
mod full_lb;
mod listener;
mod log;
mod peers;
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme;
mod stage;

pub use authority::Authority;
pub use bytes::{GET, ok, post, status};
pub use front::{Front, Served};
pub use full_lb::FullLb;
pub use listener::{Dialer, MemoryListener, listen};
pub use log::Log;
pub use peers::{PYTHON, free_address, have, have_module};
pub use stage::Stage;
