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
//! # A filter
//! [`TestProxy::around`] puts it before an origin that says `200 ok`, and a [`Recorder`] beside it tells
//! which hooks ran and how each request ended.
//!
//! ```
//! use proxy_core::testing::{Recorder, Script, ScriptedConnector, TestProxy};
//! use proxy_core::{ErrorKind, Flow, Proxy, Response, Route, filter_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), proxy_core::BuildError> {
//! let teapot = filter_fn(|_, _| Ok(Flow::Respond(Response::status(http::StatusCode::IM_A_TEAPOT))));
//! let mut client = TestProxy::around(teapot).connect();
//! client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
//! assert_eq!(client.read_response().await.status(), 418);
//!
//! // A client that leaves while the origin thinks.
//! let (recorder, origin) = (Recorder::new("r"), ScriptedConnector::always(Script::new().read_request()));
//! let proxy = Proxy::builder().filter(recorder.clone()).upstream("slow", origin.cluster());
//! let mut client = TestProxy::new(proxy.route(Route::to("slow")).build()?).connect();
//! client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
//! client.leave().await;
//! assert_eq!(recorder.outcome().await.error, Some(ErrorKind::ClientGone));
//! # Ok(())
//! # }
//! ```
//!
//! # A deadline, a retry
//! Origins play their [`Script`]s connection by connection, and time passes only while all wait.
//!
//! ```
//! use proxy_core::testing::{Script, ScriptedConnector, TestProxy};
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let breaks = Script::new().read_request().close();
//! let slow = Script::new().read_request().wait(Duration::from_secs(59)).answer("HTTP/1.1 204 No Content\r\n\r\n");
//! let origin = ScriptedConnector::in_turn([breaks, slow]);
//! let mut client = TestProxy::over(origin.cluster()).connect();
//! client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
//! assert_eq!(client.read_response().await.status(), 204); // a minute later, and at once
//! assert_eq!(origin.connections(), 2);
//! # }
//! ```
//!
//! # A selector
//! It needs no proxy: [`BackendSet::with_candidates`](crate::BackendSet::with_candidates) shows it what a
//! cluster would.
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
