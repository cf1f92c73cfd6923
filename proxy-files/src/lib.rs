//! Files of a folder as an [`Upstream`](proxy_core::Upstream).
//!
//! ```no_run
//! use proxy_core::{Proxy, TcpListener, serve};
//! use proxy_files::Files;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let files = Files::builder("public").precompressed(true).build()?;
//! let listener = TcpListener::bind("127.0.0.1:8080".parse()?)?;
//! serve(listener, Proxy::over(files)).await;
//! # Ok(())
//! # }
//! ```
//!
//! | request | answer |
//! |---|---|
//! | GET or HEAD of a file | 200, with type, length, date, `Last-Modified` and `ETag` |
//! | with `Range` | 206: one range as it is, several as `multipart/byteranges`; 416 where there is no such part |
//! | with conditions | 304 or 412, in the order of RFC 9110 §13.2.2; `If-Range`, too |
//! | with `Accept-Encoding`, where siblings are on | `name.br`, `name.zst` or `name.gz`, if there is one |
//! | a folder without the slash at its end | 301 to the one with it |
//! | a folder | its index; a list where that is on; otherwise 404 |
//! | another method | 405 |
//! | what is not there, hidden, behind a link, or no plain file | 404 |
//!
//! # What cannot be reached
//!
//! A path is decoded once and has to be in the one spelling that names the file: no empty, `.` or `..`
//! segment, no encoded slash, no backslash, no control byte. What is left is opened beneath the folder by `openat2`, which
//! refuses whatever leads out of it, and symbolic links. Where the kernel has no such call, each
//! segment is opened by itself, without following links. Names that begin with a dot are not there unless
//! [`hidden`](FilesBuilder::hidden) is on.
//!
//! # Disks are slow
//!
//! No task waits for one. A file is looked up in the task that asks only if the kernel can do that from memory
//! (`RESOLVE_CACHED`, since Linux 5.12), else on a thread for blocking work; nothing is cached here, so nothing is
//! stale. What of its bytes is not in memory is read by such a thread, too: see
//! [`Body::file`](proxy_core::Body::file).
//! `cargo bench -p proxy-files` has what a look-up costs in place and on a thread. A file system of the network or in user
//! space may wait all the same: [`slow_storage`](FilesBuilder::slow_storage) is for those.

mod answer;
mod beneath;
mod coding;
mod condition;
mod date;
mod files;
mod list;
mod listing;
mod look_up;
mod multipart;
mod range;
mod wanted;

pub use files::{BuildError, Files, FilesBuilder};
