//! Helpers shared by the tests.

mod authority;
mod bytes;
mod frames;
mod front;
mod full_lb;
mod http2;
mod listener;
mod log;
mod origin;
mod peers;
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme;
mod stage;

pub use authority::Authority;
pub use bytes::{GET, ok, post, status};
pub use frames::{Frame, Frames, fields};
pub use front::{Front, Served};
pub use full_lb::FullLb;
pub use http2::{Answer, Http2Client, request};
pub use listener::{Dialer, MemoryListener, listen};
pub use log::{Log, LogEvent};
pub use origin::{Call, MemoryOrigin};
pub use peers::{PYTHON, free_address, have, have_module};
pub use stage::Stage;
