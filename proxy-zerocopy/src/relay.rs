//! Both directions between two streams, in one task.

mod any;
mod copy_lane;
mod settle;
mod tcp;
mod tcp_lane;

pub use any::{Relay, copy_bidirectional};
pub use tcp::{TcpRelay, copy_tcp_bidirectional};
