//! What the library logs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_core::span::Current;

thread_local! {
    /// What this thread has heard, while it listens.
    static HEARD: RefCell<Option<Vec<LogEvent>>> = const { RefCell::new(None) };
    /// The spans that ended on it since.
    static ENDED: RefCell<Vec<LogEvent>> = const { RefCell::new(Vec::new()) };
    /// The spans that began on it and live, by their ids.
    static OPEN: RefCell<BTreeMap<u64, Open>> = const { RefCell::new(BTreeMap::new()) };
    /// Those it is in.
    static WITHIN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The fields of an event, its message among them, as text.
pub type LogEvent = BTreeMap<String, String>;

/// A span that lives.
struct Open {
    metadata: &'static Metadata<'static>,
    fields: Fields,
    handles: usize,
}

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
        ENDED.take();
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

    /// The spans that began and ended on this thread, in the order of their ends, as their fields: `name` is that of
    /// the span, and `within` that of the one it began in.
    pub fn spans(&self) -> Vec<LogEvent> {
        ENDED.with_borrow(Vec::clone)
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

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (id, metadata) = (NEXT.fetch_add(1, Ordering::Relaxed), attributes.metadata());
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        fields.0.insert("name".into(), metadata.name().into());
        let parent = WITHIN.with_borrow(|within| within.last().copied()).unwrap_or_default();
        OPEN.with_borrow_mut(|open| {
            let within = open.get(&parent).map(|parent| parent.metadata.name().to_owned());
            fields.0.extend(within.map(|name| ("within".to_owned(), name)));
            open.insert(id, Open { metadata, fields, handles: 1 });
        });
        Id::from_u64(id)
    }

    fn clone_span(&self, id: &Id) -> Id {
        OPEN.with_borrow_mut(|open| {
            if let Some(span) = open.get_mut(&id.into_u64()) {
                span.handles += 1;
            }
        });
        id.clone()
    }

    /// On a thread that another one's span goes over to it is nothing that is known.
    fn try_close(&self, id: Id) -> bool {
        let closed = OPEN.try_with(|open| {
            let mut open = open.borrow_mut();
            let span = open.get_mut(&id.into_u64())?;
            span.handles -= 1;
            if span.handles == 0 { open.remove(&id.into_u64()) } else { None }
        });
        if let Ok(Some(span)) = closed {
            let _ = ENDED.try_with(|ended| {
                if HEARD.with_borrow(Option::is_some) {
                    ended.borrow_mut().push(span.fields.0);
                }
            });
            return true;
        }
        false
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        OPEN.with_borrow_mut(|open| {
            if let Some(span) = open.get_mut(&id.into_u64()) {
                values.record(&mut span.fields);
            }
        });
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, id: &Id) {
        WITHIN.with_borrow_mut(|within| within.push(id.into_u64()));
    }

    fn exit(&self, _: &Id) {
        let _ = WITHIN.try_with(|within| within.borrow_mut().pop());
    }

    fn current_span(&self) -> Current {
        let within = WITHIN.with_borrow(|within| within.last().copied());
        let known = within.and_then(|id| OPEN.with_borrow(|open| open.get(&id).map(|span| (id, span.metadata))));
        known.map_or_else(Current::none, |(id, metadata)| Current::new(Id::from_u64(id), metadata))
    }
}
