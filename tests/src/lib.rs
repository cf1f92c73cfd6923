//! Helpers shared by the tests.

mod bytes;
mod stage;

pub use bytes::{GET, ok, post, status};
pub use stage::Stage;
