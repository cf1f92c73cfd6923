//! Which backend gets a request.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::{Backend, Candidates, ErrorKind, RequestHead};

/// Chooses a backend. It never waits.
///
/// A complete plugin:
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
pub trait Selector: Send + Sync + 'static {
    /// The backend for this request; `None` refuses it with 503.
    ///
    /// The candidates are never empty.
    fn select(&self, candidates: &Candidates<'_>, context: &SelectionContext<'_>) -> Option<Backend>;

    /// The candidates changed: rebuild a ring or a table. Called once at the start as well, and never
    /// by two threads at once. The list has the shares of its moment; `select` may already be shown
    /// other candidates.
    fn on_change(&self, backends: &[Backend]) {
        let _ = backends;
    }

    /// An attempt ended. Called exactly once for each.
    fn on_outcome(&self, backend: &Backend, attempt: &Attempt) {
        let _ = (backend, attempt);
    }
}

/// What a choice may look at. One selector serves HTTP, TCP and UDP.
#[derive(Clone, Copy, Debug)]
pub struct SelectionContext<'a> {
    client: Option<IpAddr>,
    request: Option<&'a RequestHead>,
}

impl<'a> SelectionContext<'a> {
    /// A choice for this client and, where there is one, this request.
    pub fn new(client: Option<IpAddr>, request: Option<&'a RequestHead>) -> Self {
        SelectionContext { client, request }
    }

    /// The client's address; behind trusted proxies the forwarded one. `None` in memory and over Unix sockets.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// The request, where the choice is for one.
    pub fn request(&self) -> Option<&'a RequestHead> {
        self.request
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
