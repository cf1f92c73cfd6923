//! Plugins around every request.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use async_trait::async_trait;

use crate::{Backend, Context, Error, Outcome, Peer, Request, RequestHead, Response, Result};

mod client_access;
#[cfg(feature = "tls")]
mod client_certificate_fields;
mod edit_headers;
mod function;
mod hsts;
mod https_redirect;
mod ids;
mod request_id;
mod trace_context;

pub use client_access::ClientAccess;
#[cfg(feature = "tls")]
pub use client_certificate_fields::ClientCertificateFields;
pub use edit_headers::{EditHeaders, HeaderEditError, HeaderEdits};
pub use function::{FilterFn, filter_fn};
pub use hsts::Hsts;
pub use https_redirect::HttpsRedirect;
pub use request_id::{RequestId, RequestIdValue};
pub use trace_context::{Trace, TraceContext};

pub(crate) use request_id::unique;
#[cfg(feature = "fuzzing")]
pub(crate) use trace_context::{is_state, read_parent};

/// What happens next with a request.
#[derive(Debug)]
pub enum Flow {
    /// On to the next filter, and to the upstream at last.
    Continue,
    /// This is the answer; nothing behind this filter sees the request.
    Respond(Response),
}

/// What happens with a new connection.
pub enum Admission {
    /// It is served.
    Admit,
    /// It is served, and the guard is dropped when it ends.
    Hold(Box<dyn Any + Send>),
    /// It is closed without a word.
    Refuse,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Admission::Admit => "Admit",
            Admission::Hold(_) => "Hold",
            Admission::Refuse => "Refuse",
        })
    }
}

/// A plugin around every request. Implement only the hooks you need.
///
/// | hook | when | order | may |
/// |---|---|---|---|
/// | [`on_connection`](Self::on_connection) | a client connected; before TLS | first to last | admit, hold a guard, refuse |
/// | [`on_request`](Self::on_request) | a request came in | first to last | wait, edit, answer, fail, choose the upstream |
/// | [`on_forward`](Self::on_forward) | once per attempt at a backend | first to last | edit a copy of the head, fail |
/// | [`on_response`](Self::on_response) | once, for an upstream's answer or our own | last to first | edit, wrap the body, fail |
/// | [`on_error`](Self::on_error) | the request failed before it had a response | last to first | make the answer |
/// | [`on_done`](Self::on_done) | it ended, exactly once, whatever happened | first to last | count, log |
///
/// The filters of the proxy come first, then those of the route, then those of the upstream. A filter
/// that answers or fails ends the way in: nothing behind it sees the request, and `on_response` runs
/// for the filters before it, so that a security header reaches our own 4xx and 5xx too. `on_done`
/// runs for all of them.
///
/// ```
/// use async_trait::async_trait;
/// use http::StatusCode;
/// use proxy_core::{Context, Filter, Flow, Request, Response, Result};
///
/// struct NoAdmin;
///
/// #[async_trait]
/// impl Filter for NoAdmin {
///     async fn on_request(&self, request: &mut Request, _: &mut Context) -> Result<Flow> {
///         match request.head().path().starts_with("/admin") {
///             true => Ok(Flow::Respond(Response::status(StatusCode::FORBIDDEN))),
///             false => Ok(Flow::Continue),
///         }
///     }
/// }
/// ```
///
/// # State
/// What a filter knows about a request it keeps in the [`Context`], under a type of its own. What
/// must be undone is a guard kept there: it is dropped after `on_done`, however the request ends.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use async_trait::async_trait;
/// use proxy_core::{Context, Filter, Flow, Request, Result};
///
/// #[derive(Clone, Default)]
/// struct Running(Arc<AtomicUsize>);
///
/// struct Guard(Running);
///
/// impl Drop for Guard {
///     fn drop(&mut self) {
///         self.0.0.fetch_sub(1, Ordering::Relaxed);
///     }
/// }
///
/// #[async_trait]
/// impl Filter for Running {
///     async fn on_request(&self, _: &mut Request, context: &mut Context) -> Result<Flow> {
///         self.0.fetch_add(1, Ordering::Relaxed);
///         context.insert(Guard(self.clone()));
///         Ok(Flow::Continue)
///     }
/// }
/// ```
///
/// # Bodies
/// `request.body_mut().peek(n)` looks at a body and leaves it as it is;
/// [`Request::replace_body`] and [`Response::replace_body`] with [`Body::transform`](crate::Body::transform)
/// change it on its way. A body that no filter touches is moved without being looked at.
///
/// # Panics
/// A hook that panics costs its own request (500), nothing else.
#[async_trait]
pub trait Filter: Send + Sync + 'static {
    /// A connection was accepted; before TLS. Of the filters of a route it is not asked: no request, and
    /// no route, is known yet. It runs in the accept loop: decide, and return.
    fn on_connection(&self, peer: &Peer) -> Admission {
        let _ = peer;
        Admission::Admit
    }

    /// A request came in: its head is whole, its body still to come. The only hook that may wait.
    ///
    /// [`Context::route_to`] sends the request to another upstream than its route's.
    ///
    /// # Errors
    /// An error is answered by [`on_error`](Self::on_error), or else with its own status:
    /// [`Error::plugin`] for what is not the client's fault, [`Error::with_status`] for the rest.
    ///
    /// # Cancel safety
    /// The future is dropped when the client leaves or the total deadline passes; `on_done` still runs.
    // Written by hand: a filter that does not override it allocates nothing.
    fn on_request<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        request: &'life1 mut Request,
        context: &'life2 mut Context,
    ) -> Pin<Box<dyn Future<Output = Result<Flow>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        let _ = (request, context);
        Box::pin(Continue)
    }

    /// The request goes to `backend`. Once per attempt, on a fresh copy of the head's edits: what is
    /// signed, named or counted per backend belongs here.
    ///
    /// # Errors
    /// An error ends the request; it is not tried again.
    fn on_forward(&self, head: &mut RequestHead, backend: &Backend, context: &mut Context) -> Result<()> {
        let _ = (head, backend, context);
        Ok(())
    }

    /// The response, an upstream's or our own, is on its way to the client. Never for 1xx but 101.
    /// Its body is still to come: [`Response::replace_body`] wraps it.
    ///
    /// # Errors
    /// An error replaces the response; the filters before this one see the replacement.
    fn on_response(&self, response: &mut Response, context: &mut Context) -> Result<()> {
        let _ = (response, context);
        Ok(())
    }

    /// The request failed: the first filter that returns a response decides the answer.
    fn on_error(&self, error: &Error, context: &mut Context) -> Option<Response> {
        let _ = (error, context);
        None
    }

    /// The request ended, well or not. Exactly once per request, also when the client left.
    fn on_done(&self, outcome: &Outcome, context: &Context) {
        let _ = (outcome, context);
    }
}

/// `Ok(Flow::Continue)`, at once and without memory of its own.
struct Continue;

impl Future for Continue {
    type Output = Result<Flow>;

    fn poll(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Flow::Continue))
    }
}

macro_rules! forward {
    ($pointer:ident) => {
        impl<F: Filter + ?Sized> Filter for $pointer<F> {
            fn on_connection(&self, peer: &Peer) -> Admission {
                (**self).on_connection(peer)
            }

            fn on_request<'life0, 'life1, 'life2, 'async_trait>(
                &'life0 self,
                request: &'life1 mut Request,
                context: &'life2 mut Context,
            ) -> Pin<Box<dyn Future<Output = Result<Flow>> + Send + 'async_trait>>
            where
                'life0: 'async_trait,
                'life1: 'async_trait,
                'life2: 'async_trait,
                Self: 'async_trait,
            {
                (**self).on_request(request, context)
            }

            fn on_forward(&self, head: &mut RequestHead, backend: &Backend, context: &mut Context) -> Result<()> {
                (**self).on_forward(head, backend, context)
            }

            fn on_response(&self, response: &mut Response, context: &mut Context) -> Result<()> {
                (**self).on_response(response, context)
            }

            fn on_error(&self, error: &Error, context: &mut Context) -> Option<Response> {
                (**self).on_error(error, context)
            }

            fn on_done(&self, outcome: &Outcome, context: &Context) {
                (**self).on_done(outcome, context);
            }
        }
    };
}

forward!(Box);
forward!(Arc);

impl fmt::Debug for dyn Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}
