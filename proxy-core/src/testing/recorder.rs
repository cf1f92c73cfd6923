//! Who ran, and how it ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::PATIENCE;
use crate::{Admission, Backend, Context, Error, Filter, Flow, Outcome, Peer, Request, RequestHead, Response, Result};

/// A filter that records every hook and every [`Outcome`], and changes nothing.
///
/// A cheap handle: give a clone to the proxy. [`beside`](Self::beside) makes one of another name that
/// writes into the same record, so that the order among filters shows.
///
/// ```
/// use proxy_core::testing::{Recorder, TestProxy};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let recorder = Recorder::new("a");
/// let mut client = TestProxy::around(recorder.clone()).connect();
/// client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
/// client.read_response().await;
/// assert_eq!(recorder.outcome().await.error, None);
/// assert_eq!(recorder.calls(), ["a.on_request", "a.on_forward", "a.on_response", "a.on_done"]);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Recorder {
    name: Arc<str>,
    record: Arc<Record>,
}

#[derive(Debug, Default)]
struct Record {
    calls: Mutex<Vec<String>>,
    outcomes: Mutex<Vec<Outcome>>,
    done: Notify,
}

impl Recorder {
    /// A filter of this name, and an empty record.
    pub fn new(name: &str) -> Self {
        Recorder { name: name.into(), record: Arc::default() }
    }

    /// A filter of another name with the same record.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        Recorder { name: name.into(), record: Arc::clone(&self.record) }
    }

    /// The hooks that ran, in order: `name.on_request`.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.record.calls).clone()
    }

    /// How requests ended, in order. One for each filter that shares the record.
    pub fn outcomes(&self) -> Vec<Outcome> {
        lock(&self.record.outcomes).clone()
    }

    /// Waits for the first request to end.
    ///
    /// # Panics
    /// If none does within a day.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn outcome(&self) -> Outcome {
        self.wait_for(1).await.swap_remove(0)
    }

    /// Waits until there are so many outcomes, and returns all.
    ///
    /// # Panics
    /// If they do not come within a day.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn wait_for(&self, count: usize) -> Vec<Outcome> {
        let came = async {
            loop {
                let done = self.record.done.notified();
                if lock(&self.record.outcomes).len() >= count {
                    return self.outcomes();
                }
                done.await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, came).await;
        came.unwrap_or_else(|_| panic!("{count} requests should have ended; hooks so far: {:?}", self.calls()))
    }

    /// Adds a call of this filter's own to the record.
    pub fn note(&self, call: &str) {
        lock(&self.record.calls).push(format!("{}.{call}", self.name));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Filter for Recorder {
    fn on_connection(&self, _: &Peer) -> Admission {
        self.note("on_connection");
        Admission::Admit
    }

    async fn on_request(&self, _: &mut Request, _: &mut Context) -> Result<Flow> {
        self.note("on_request");
        Ok(Flow::Continue)
    }

    fn on_forward(&self, _: &mut RequestHead, _: &Backend, _: &mut Context) -> Result<()> {
        self.note("on_forward");
        Ok(())
    }

    fn on_response(&self, _: &mut Response, _: &mut Context) -> Result<()> {
        self.note("on_response");
        Ok(())
    }

    fn on_error(&self, _: &Error, _: &mut Context) -> Option<Response> {
        self.note("on_error");
        None
    }

    fn on_done(&self, outcome: &Outcome, _: &Context) {
        self.note("on_done");
        lock(&self.record.outcomes).push(outcome.clone());
        self.record.done.notify_waiters();
    }
}
