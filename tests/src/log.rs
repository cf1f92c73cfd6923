//! What the library logs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    /// What this thread has heard, while it listens.
    static HEARD: RefCell<Option<Vec<LogEvent>>> = const { RefCell::new(None) };
}

/// The fields of an event, its message among them, as text.
pub type LogEvent = BTreeMap<String, String>;

/// The library's events on this thread.
///
/// ```
/// let log = tests::Log::start();
/// assert!(log.codes().is_empty());
/// ```
#[derive(Debug)]
pub struct Log(());

impl Log {
    /// Listens on this thread until it is dropped.
    ///
    /// # Panics
    /// If the thread listens already.
    #[must_use]
    pub fn start() -> Self {
        Log::prepare();
        let before = HEARD.replace(Some(Vec::new()));
        assert!(before.is_none(), "two logs on one thread");
        Log(())
    }

    /// Has events made from here on, on every thread. Whoever runs the library beside others that listen does this
    /// first: an event that happens for the first time while somebody begins to listen would be lost to both.
    pub fn prepare() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            tracing::subscriber::set_global_default(Listener).expect("nothing else listens in the tests");
        });
    }

    /// All events so far.
    pub fn events(&self) -> Vec<LogEvent> {
        HEARD.with_borrow(|heard| heard.clone().unwrap_or_default())
    }

    /// The reason codes of all events so far: of the requests that failed.
    pub fn codes(&self) -> Vec<String> {
        self.events().into_iter().filter_map(|mut event| event.remove("code")).collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        HEARD.set(None);
    }
}

struct Listener;

#[derive(Default)]
struct Fields(LogEvent);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("proxy_core") && *metadata.level() <= Level::DEBUG
    }

    fn event(&self, event: &Event<'_>) {
        HEARD.with_borrow_mut(|heard| {
            if let Some(heard) = heard {
                let mut fields = Fields::default();
                event.record(&mut fields);
                heard.push(fields.0);
            }
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
