//! One direction between two TCP sockets, without copying the bytes through this process.
//!
//! [`copy_exact`] moves a known number of bytes. [`Pump`] is the same as a state to poll, with an
//! optional limit. [`Pipe`] is the pooled kernel pipe underneath.
//!
//! On Linux the bytes travel socket → pipe → socket by `splice(2)`. Where no pipe is to be had
//! (out of descriptors, over the user's share of pipe memory) or on other platforms, they travel
//! through a pooled buffer instead; callers see no difference.

#[cfg(all(target_os = "linux", not(proxy_portable)))]
mod auto;
mod copied;
mod copy_exact;
#[cfg(all(target_os = "linux", not(proxy_portable)))]
mod kernel;
mod pipe;
#[cfg(all(target_os = "linux", not(proxy_portable)))]
mod pool;
mod pump;

pub use copy_exact::copy_exact;
pub use pipe::Pipe;
pub use pump::{Ended, Pump};

#[cfg(all(target_os = "linux", not(proxy_portable)))]
use auto::Auto as Store;
#[cfg(not(all(target_os = "linux", not(proxy_portable))))]
use copied::Copied as Store;
