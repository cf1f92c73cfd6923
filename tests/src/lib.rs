//! Helpers shared by the tests.

mod bytes;
mod listener;
mod log;
mod stage;

pub use bytes::{GET, ok, post, status};
pub use listener::{Dialer, MemoryListener, listen};
pub use log::Log;
pub use stage::Stage;
