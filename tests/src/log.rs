//! What the library logs.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

/// Reason codes of the requests that failed, from the events of this thread.
///
/// ```
/// let log = tests::Log::start();
/// assert!(log.codes().is_empty());
/// ```
#[derive(Debug)]
pub struct Log {
    codes: Arc<Mutex<Vec<String>>>,
    /// Until it is dropped, this is what the thread's events go to.
    _default: DefaultGuard,
}

impl Log {
    /// Listens on this thread until it is dropped. Others on the same thread hear nothing meanwhile.
    #[must_use]
    pub fn start() -> Self {
        let codes = Arc::<Mutex<Vec<String>>>::default();
        let default = tracing::subscriber::set_default(Listener(Arc::clone(&codes)));
        Log { codes, _default: default }
    }

    /// The codes of all events so far.
    pub fn codes(&self) -> Vec<String> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Listener(Arc<Mutex<Vec<String>>>);

impl Visit for &Listener {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "code" {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("proxy_core") && *metadata.level() <= Level::DEBUG
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut &*self);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
