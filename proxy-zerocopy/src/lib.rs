//! Relaying bytes without touching them: splice, sendfile, pooled pipes and buffers, and a portable fallback.
//!
//! ```
//! use proxy_zerocopy::{Options, copy_bidirectional};
//! use tokio::io::AsyncWriteExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut client, mut front) = tokio::io::duplex(64);
//! let (mut back, mut server) = tokio::io::duplex(64);
//! client.write_all(b"hello").await?;
//! client.shutdown().await?;
//! server.shutdown().await?;
//! let transferred = copy_bidirectional(&mut front, &mut back, &Options::new()).await?;
//! assert_eq!((transferred.a_to_b, transferred.b_to_a), (5, 0));
//! # Ok(())
//! # }
//! ```
//!
//! | you have | take |
//! |---|---|
//! | two byte streams of any kind | [`copy_bidirectional`], or [`Relay`] to poll it yourself |
//! | two TCP sockets | [`copy_tcp_bidirectional`], or [`TcpRelay`] to poll it yourself |
//! | one direction between TCP sockets, such as a body of known length | [`splice::copy_exact`], or [`splice::Pump`] |
//! | a file, or a part of one, for a TCP socket or for any stream | [`send_file`], or [`FileRange`] |
//!
//! Everything runs inside the task that polls it: no spawned tasks, no channels and no blocking
//! threads, but for what of a file has to come from its disk. A poll does a bounded amount of work and then lets other tasks run. An idle stream
//! holds neither a buffer nor a pipe; both are lent from a per-thread pool while bytes are in
//! flight.
//!
//! # From which size on?
//!
//! `cargo bench -p proxy-zerocopy` prints what a message costs, 1 KiB to 64 MiB. Processor time in microseconds, of one round
//! on two cores that were busy with other work, so that only the order of the columns means something:
//!
//! | size | splice | buffers of 64 KiB | tokio's `copy_bidirectional` | a file by sendfile | read and written |
//! |--:|--:|--:|--:|--:|--:|
//! | 4 KiB | 16 | 14 | 15 | 15 | 15 |
//! | 32 KiB | 20 | 21 | 48 | 18 | 22 |
//! | 128 KiB | 54 | 46 | 163 | 27 | 39 |
//! | 256 KiB | 48 | 119 | 274 | 76 | 81 |
//! | 1 MiB | 181 | 348 | 803 | 120 | 326 |
//! | 64 MiB | 19,696 | 34,203 | 65,688 | 10,063 | 23,109 |
//!
//! So `proxy-core` splices bodies from 128 KiB on, and lets the kernel send files from 32 KiB on.
//!
//! # Platforms
//!
//! On Linux the bytes between TCP sockets stay in the kernel. Elsewhere, and with
//! `RUSTFLAGS="--cfg proxy_portable"`, the same API moves them through pooled buffers.
//!
//! # Panics
//!
//! Everything here needs a Tokio runtime with its I/O driver, and its time driver where
//! [`Options::idle_timeout`] or [`Options::lifetime`] is set; Tokio panics without them.
//!
//! # `SIGPIPE`
//!
//! Writing to a socket whose peer is gone raises `SIGPIPE` when bytes are spliced. Rust programs
//! ignore that signal from their start; a host in another language has to ignore it itself.

mod buffer;
mod deadlines;
mod error;
#[cfg(unix)]
mod file;
mod options;
mod relay;
pub mod splice;
mod transferred;

pub use error::{Error, ErrorKind, Side};
#[cfg(unix)]
pub use file::{FileRange, send_file};
pub use options::Options;
pub use relay::{Relay, TcpRelay, copy_bidirectional, copy_tcp_bidirectional};
pub use transferred::Transferred;
