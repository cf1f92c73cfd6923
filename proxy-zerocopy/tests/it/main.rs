//! What the relays and the pump promise, over memory and over loopback sockets.

#[cfg(unix)]
mod file;
mod idle;
mod pair;
mod pump;
mod relay;
mod reset;
mod script;
