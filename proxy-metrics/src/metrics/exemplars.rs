//! Requests that stand for a bucket.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use proxy_core::{Context, Trace};

use crate::times::{BUCKETS, bucket};

/// Of each bucket a request that lies in it and whose trace was sampled: the youngest.
#[derive(Default)]
pub(crate) struct Exemplars(OnceLock<Box<Kept>>);

type Kept = Mutex<[Option<Exemplar>; BUCKETS]>;

/// A request whose trace somebody has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exemplar {
    trace: Trace,
    pub(crate) time: Duration,
    pub(crate) at: SystemTime,
}

impl Exemplar {
    /// The trace's id.
    pub(crate) fn trace_id(&self) -> &str {
        self.trace.trace_id()
    }
}

impl Exemplars {
    /// Remembers a request that took so long, if its trace is sampled; not while another thread does, as any will do.
    pub(super) fn note(&self, context: &Context, time: Duration) {
        let Some(trace) = context.get::<Trace>().filter(|trace| trace.is_sampled()) else { return };
        if let Ok(mut kept) = self.0.get_or_init(Box::default).try_lock() {
            kept[bucket(time)] = Some(Exemplar { trace: *trace, time, at: SystemTime::now() });
        }
    }

    /// By bucket; `None` where no trace was sampled so far.
    pub(super) fn all(&self) -> Option<Box<[Option<Exemplar>; BUCKETS]>> {
        self.0.get().map(|kept| Box::new(*super::lock(kept)))
    }
}
