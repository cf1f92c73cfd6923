//! Runnable examples; see the `examples` folder beside this file. Here is what their tests share.

mod client;

pub use client::exchange;
