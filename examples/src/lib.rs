//! Runnable examples; see the `examples` folder beside this file. Here is what several of them need: an origin to
//! send requests to, and a client for their tests.

mod client;
mod origin;

pub use client::exchange;
pub use origin::{Origin, origin};
