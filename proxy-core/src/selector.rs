//! Which backend gets a request.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::{Backend, Candidates, ErrorKind, RequestHead};

/// Chooses a backend of a [`Cluster`](crate::Cluster). It never waits, and should not allocate: it runs
/// for every attempt. A complete plugin:
///
/// ```
/// use proxy_core::{Backend, Candidates, SelectionContext, Selector};
///
/// struct FewestInFlight;
/// impl Selector for FewestInFlight {
///     fn select(&self, candidates: &Candidates<'_>, _: &SelectionContext<'_>) -> Option<Backend> {
///         candidates.iter().min_by_key(|backend| backend.in_flight()).cloned()
///     }
/// }
/// ```
///
/// A [`Backend`] owns what is counted about it ([`in_flight`](Backend::in_flight),
/// [`latency`](Backend::latency), labels), so a selector need not, and cannot leak it. What else it
/// learns it keeps under the backend as a key, and drops in `on_change`. [`selector_fn`] makes one of a
/// closure.
///
/// # Panics
/// A panic in `select` costs the request (500); one in `on_outcome` is caught and logged; one in
/// `on_change` is that of whoever changed the set.
pub trait Selector: Send + Sync + 'static {
    /// The backend for this attempt; `None` refuses the request with 503 (`no_backend`).
    ///
    /// The candidates are never empty. When a request is tried again, those that failed it are not
    /// among them, as long as others are.
    fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend>;

    /// The candidates changed: rebuild a ring or a table. Called once at the start as well, and never
    /// by two threads at once. The list has the shares of its moment; `select` may already be shown
    /// other candidates.
    fn on_change(&self, backends: &[Backend]) {
        let _ = backends;
    }

    /// An attempt ended. Called exactly once for each, when its response was relayed whole, failed or
    /// was given up: with the result, the time to the first byte, and the time in all.
    fn on_outcome(&self, backend: &Backend, attempt: &Attempt) {
        let _ = (backend, attempt);
    }
}

/// What a choice may look at. One selector serves HTTP, TCP and UDP.
#[derive(Clone, Copy, Debug)]
pub struct SelectionContext<'a> {
    client: Option<IpAddr>,
    request: Option<&'a RequestHead>,
    tried: &'a [Backend],
}

impl<'a> SelectionContext<'a> {
    /// A choice for this client and, where there is one, this request.
    pub fn new(client: Option<IpAddr>, request: Option<&'a RequestHead>) -> Self {
        SelectionContext { client, request, tried: &[] }
    }

    /// The same, after these backends have failed it.
    #[must_use]
    pub fn after(self, tried: &'a [Backend]) -> Self {
        SelectionContext { tried, ..self }
    }

    /// The client's address; behind trusted proxies the forwarded one. `None` in memory and over Unix sockets.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The request, where the choice is for one.
    pub fn request(&self) -> Option<&'a RequestHead> {
        self.request
    }

    /// The backends that have failed it. They are no candidates while there are others, so only a
    /// selector that looks beyond the candidates needs to know.
    pub fn tried(&self) -> &'a [Backend] {
        self.tried
    }
}

/// One try at one backend, as it ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// How it ended.
    pub result: AttemptResult,
    /// From its start to the first byte of the response head, where one came.
    pub first_byte: Option<Duration>,
    /// From its start to its end.
    pub total: Duration,
    /// Which of its request it is, from 1 on.
    pub number: u32,
}

impl Attempt {
    pub(crate) fn new(result: AttemptResult, first_byte: Option<Duration>, total: Duration) -> Self {
        Attempt { result, first_byte, total, number: 1 }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptResult {
    /// The backend answered with this status, and the response was relayed whole.
    Response(http::StatusCode),
    /// The backend was connected to, and the raw connection relayed; whatever ended it was not the backend's fault.
    Relayed,
    /// It failed.
    Failed(ErrorKind),
    /// It was given up through no fault of the backend: the client left.
    Abandoned,
}

/// A selector from a closure.
///
/// ```
/// let first = proxy_core::selector_fn(|candidates, _| candidates.at(0).cloned());
/// # let _: &dyn proxy_core::Selector = &first;
/// ```
pub fn selector_fn<F>(f: F) -> SelectorFn<F>
where
    F: Fn(&Candidates<'_>, &SelectionContext<'_>) -> Option<Backend> + Send + Sync + 'static,
{
    SelectorFn(f)
}

/// See [`selector_fn`].
#[derive(Clone, Copy)]
pub struct SelectorFn<F>(F);

impl<F> fmt::Debug for SelectorFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SelectorFn")
    }
}

impl<F> Selector for SelectorFn<F>
where
    F: Fn(&Candidates<'_>, &SelectionContext<'_>) -> Option<Backend> + Send + Sync + 'static,
{
    fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend> {
        (self.0)(candidates, context)
    }
}

macro_rules! forward {
    ($pointer:ident) => {
        impl<S: Selector + ?Sized> Selector for $pointer<S> {
            fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend> {
                (**self).select(candidates, context)
            }

            fn on_change(&self, backends: &[Backend]) {
                (**self).on_change(backends);
            }

            fn on_outcome(&self, backend: &Backend, attempt: &Attempt) {
                (**self).on_outcome(backend, attempt);
            }
        }
    };
}

forward!(Box);
forward!(Arc);
