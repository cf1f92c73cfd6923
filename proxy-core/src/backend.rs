//! A place where requests can go, and the set of them.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Instant;

mod address;
mod attached;
mod candidates;
mod eligibility;
mod events;
mod set;
mod snapshot;
mod status;

pub use address::{Address, ParseAddressError};
pub use candidates::Candidates;
pub use eligibility::{Eligibility, Usable};
pub use events::{SetChanges, SetEvent, SetWatch};
pub use set::{BackendSet, SetError};
pub use status::{BackendState, HealthSource, Status, Verdict};

use attached::Attached;
use status::Verdicts;

/// A cheap handle to one backend. It owns what is counted about it, so the counts survive a refresh
/// of the set.
///
/// ```
/// use proxy_core::Backend;
///
/// let backend = Backend::builder("127.0.0.1:9000".parse()?).weight(3).label("zone", "a").build();
/// assert_eq!((backend.id(), backend.weight(), backend.label("zone")), ("127.0.0.1:9000", 3, Some("a")));
/// # Ok::<(), proxy_core::ParseAddressError>(())
/// ```
#[derive(Clone)]
pub struct Backend(Arc<Inner>, u32);

struct Inner {
    /// Unique in this process, also among backends that share an address.
    key: u64,
    id: Box<str>,
    address: Address,
    labels: Vec<(Box<str>, Box<str>)>,
    weight: AtomicU32,
    /// Of 256.
    ramp: AtomicU32,
    /// The state of `verdicts`, to be read without a lock.
    state: AtomicU8,
    verdicts: Mutex<Verdicts>,
    in_flight: AtomicUsize,
    latency_nanos: AtomicU64,
    attached: Attached,
}

impl Backend {
    /// Starts a backend at this address. Its id is the address, its weight 1.
    pub fn builder(address: Address) -> BackendBuilder {
        BackendBuilder { id: None, address, weight: 1, labels: Vec::new(), start: None }
    }

    /// A backend at this address with weight 1.
    pub fn new(address: Address) -> Self {
        Backend::builder(address).build()
    }

    /// The name it is known by; the address where nothing else was given.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// Its share relative to the others, 0 to 65,535; 0 drains it.
    pub fn weight(&self) -> u32 {
        self.0.weight.load(Ordering::Relaxed)
    }

    /// Changes its weight from the next choice on.
    pub fn set_weight(&self, weight: u32) {
        self.0.weight.store(weight.min(65_535), Ordering::Relaxed);
    }

    /// What its weight counts for now, as a multiple of 1/65,536: the weight itself, or less while the
    /// backend warms up, or where this handle is a [scaled](Self::scaled) one. Only the relation between
    /// shares means anything: selectors choose by it.
    pub fn share(&self) -> u32 {
        // At most 65,535 · 256 · 65,536 / 256, which is below 2^32.
        let full = u64::from(self.weight() * self.0.ramp.load(Ordering::Relaxed));
        let scaled = (full * u64::from(self.1)) >> 8;
        scaled.max(u64::from(full > 0 && self.1 > 0)) as u32
    }

    /// A handle to the same backend whose share counts only in part, in 65,536ths, 65,536 at most; a
    /// scaled handle is scaled further. For an [`Eligibility`]: the backend itself, and what other
    /// clusters see of it, stay as they are.
    #[must_use]
    pub fn scaled(&self, of_65536: u32) -> Backend {
        let scale = (u64::from(self.1) * u64::from(of_65536.min(65_536))) >> 16;
        Backend(Arc::clone(&self.0), scale as u32)
    }

    /// Lets its weight count only in part from the next choice on, in 256ths, 256 at most: slow start,
    /// or less traffic for a far zone.
    pub fn set_ramp(&self, of_256: u32) {
        self.0.ramp.store(of_256.min(256), Ordering::Relaxed);
    }

    /// Whether requests may go to it: it is healthy and has a weight.
    pub fn is_usable(&self) -> bool {
        self.state() == BackendState::Healthy && self.weight() > 0
    }

    /// A label: zone, priority, or whatever was given.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.0.labels.iter().find(|(candidate, _)| &**candidate == name).map(|(_, value)| &**value)
    }

    /// All its labels, as they were given.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.labels.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether it gets requests.
    pub fn state(&self) -> BackendState {
        BackendState::from_u8(self.0.state.load(Ordering::Relaxed))
    }

    /// Its state, since when, who says so and why. Takes a lock for a moment.
    pub fn status(&self) -> Status {
        self.verdicts().status().clone()
    }

    /// Takes a verdict in; returns the state before if it is another now.
    fn judge(&self, verdict: Verdict, now: Instant) -> Option<BackendState> {
        let mut verdicts = self.verdicts();
        let before = verdicts.take(verdict, now);
        self.0.state.store(verdicts.status().state() as u8, Ordering::Relaxed);
        before
    }

    fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.0.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it stands for the same server as another: id, address and labels are equal.
    fn is_same(&self, other: &Backend) -> bool {
        self.0.id == other.0.id && self.0.address == other.0.address && self.0.labels == other.0.labels
    }

    /// What a plugin keeps about this backend, as long as that lives: the first value of the type that is
    /// `mine`, or else what `make` returns. For the data path: no lock, no hashing, nothing to clean up.
    /// Attach a fixed number of values, as they are never taken off.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// struct Asked(AtomicU64);
    ///
    /// let backend = proxy_core::Backend::new("127.0.0.1:9000".parse()?);
    /// for _ in 0..3 {
    ///     backend.attached(|_: &Asked| true, || Asked(AtomicU64::new(0))).0.fetch_add(1, Ordering::Relaxed);
    /// }
    /// assert_eq!(backend.attached(|_: &Asked| true, || Asked(AtomicU64::new(0))).0.load(Ordering::Relaxed), 3);
    /// # Ok::<(), proxy_core::ParseAddressError>(())
    /// ```
    pub fn attached<T: Send + Sync + 'static>(&self, mine: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> &T {
        self.0.attached.get(mine, make)
    }

    /// Attempts that were started and have not ended.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// The decaying average of the time to the first byte; `None` before the first response.
    pub fn latency(&self) -> Option<Duration> {
        match self.0.latency_nanos.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Folds a time to first byte into the average: an eighth of the difference, as TCP does for its
    /// round-trip time (RFC 6298 §2). Two at once may lose one sample, which an average can bear.
    pub(crate) fn observe_latency(&self, sample: Duration) {
        let sample = u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX / 2).max(1);
        let old = self.0.latency_nanos.load(Ordering::Relaxed);
        let new = if old == 0 { sample } else { old - old / 8 + sample / 8 };
        self.0.latency_nanos.store(new.max(1), Ordering::Relaxed);
    }

    /// Counts an attempt until its [`end`](Self::end): the business of its guard.
    pub(crate) fn begin(&self) {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PartialEq for Backend {
    /// The same handle: two backends at one address are two backends.
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Backend {}

impl std::hash::Hash for Backend {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.key);
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("id", &self.id())
            .field("weight", &self.weight())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Makes a [`Backend`].
#[derive(Clone, Debug)]
pub struct BackendBuilder {
    id: Option<Box<str>>,
    address: Address,
    weight: u32,
    labels: Vec<(Box<str>, Box<str>)>,
    start: Option<Verdict>,
}

impl BackendBuilder {
    /// The name it is known by.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Its share relative to the others, 0 to 65,535. Default 1.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight.min(65_535);
        self
    }

    /// Adds a label that selectors can read.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// The state it is in, for this reason, until [`HealthSource::Start`] takes it back: `Unhealthy` keeps
    /// requests away from it until it has been checked.
    #[must_use]
    pub fn start(mut self, state: BackendState, reason: &str) -> Self {
        self.start = Some(Verdict::new(HealthSource::Start, state, reason));
        self
    }

    /// The backend.
    pub fn build(self) -> Backend {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = self.id.unwrap_or_else(|| self.address.to_string().into());
        let now = Instant::now();
        let inner = Inner {
            key: NEXT.fetch_add(1, Ordering::Relaxed),
            id,
            address: self.address,
            labels: self.labels,
            weight: AtomicU32::new(self.weight),
            ramp: AtomicU32::new(256),
            state: AtomicU8::new(BackendState::Healthy as u8),
            verdicts: Mutex::new(Verdicts::new(now)),
            in_flight: AtomicUsize::new(0),
            latency_nanos: AtomicU64::new(0),
            attached: Attached::default(),
        };
        let backend = Backend(Arc::new(inner), 65_536);
        if let Some(start) = self.start {
            backend.judge(start, now);
        }
        backend
    }
}
