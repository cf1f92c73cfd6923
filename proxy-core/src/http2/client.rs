//! HTTP/2 with backends: the requests of all clients share a few connections.
//!
//! A [`Group`] has the connections to one target, hands out their streams one by one ([`Slot`]), and says when another
//! connection is needed. Each connection is driven by a task of its own: its streams belong to clients on every thread.

mod body;
mod exchange;
mod group;
mod head;
mod session;
mod upload;

pub(crate) use exchange::exchange;
pub(crate) use group::{Connecting, Entry, Grant, Group, Slot};
pub(crate) use session::{Life, open};
pub(crate) use upload::Upload;
