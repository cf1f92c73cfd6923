//! Runnable examples; see the `examples` folder beside this file. Here is what several of them need: an origin to
//! send requests to, an authority for certificates, and a client for their tests.

mod authority;
mod client;
mod origin;
mod words;

pub use authority::Authority;
pub use client::exchange;
pub use origin::{Origin, origin};
pub use words::{Text, Words, WordsClient};
