//! Proxies in memory: scripted origins, a client to type bytes with, no socket, no real time.
//!
//! Everything runs in the test's own runtime. Start it with `start_paused = true` and every deadline
//! fires at once when nothing else is left to do.
//!
//! ```
//! use proxy_core::testing::{Script, ScriptedConnector, TestProxy};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let origin = ScriptedConnector::always(
//!     Script::new().read_request().answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
//! );
//! let mut client = TestProxy::over(origin.cluster()).connect();
//! client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
//! let response = client.read_response().await;
//! assert_eq!((response.status(), response.text()), (200, "hi"));
//! assert!(origin.received(0).starts_with("GET / HTTP/1.1\r\nHost: a.example\r\n"));
//! # }
//! ```
//!
//! A filter is tried the same way: [`TestProxy::around`] puts it before an origin that says `200 ok`,
//! and a [`Recorder`] beside it tells which hooks ran and how each request ended.
//!
//! # Panics
//! This is for tests: what goes wrong panics with what was expected and what came. Nothing waits for
//! ever: a read that brings nothing for a day of the runtime's time panics.

use std::time::Duration;

mod client;
mod connector;
mod load;
mod message;
mod proxy;
mod recorder;
mod script;

pub use client::TestClient;
pub use connector::ScriptedConnector;
pub use load::{Busy, attempt};
pub use message::Message;
pub use proxy::TestProxy;
pub use recorder::Recorder;
pub use script::Script;

/// How long a read may bring nothing: longer than every default deadline of a proxy.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// The room of an in-memory stream, in bytes each way: about a socket's.
const ROOM: usize = 64 * 1024;
