//! Plugins around every request.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use async_trait::async_trait;

use crate::{Backend, Context, Error, Outcome, Peer, Request, RequestHead, Response, Result};

mod edit_headers;
mod function;
mod request_id;

pub use edit_headers::{EditHeaders, HeaderEditError, HeaderEdits};
pub use function::{FilterFn, filter_fn};
pub use request_id::{RequestId, RequestIdValue};

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
/// Hooks run in this order: [`on_request`](Self::on_request) of each filter, first to last;
/// [`on_forward`](Self::on_forward), once per attempt; [`on_response`](Self::on_response), last to
/// first, of the filters whose `on_request` ran; [`on_done`](Self::on_done), of every filter, exactly
/// once, whatever happened. A hook that panics costs its own request (500), nothing else.
///
/// ```
/// use async_trait::async_trait;
/// use http::StatusCode;
/// use proxy_core::{Context, Filter, Flow, Request, Response, Result};
///
/// struct NoAdmin;
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
#[async_trait]
pub trait Filter: Send + Sync + 'static {
    /// A connection was accepted; before TLS.
    fn on_connection(&self, peer: &Peer) -> Admission {
        let _ = peer;
        Admission::Admit
    }

    /// A request came in. The only hook that may wait.
    ///
    /// # Errors
    /// An error is answered by [`on_error`](Self::on_error), or else with its own status.
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

    /// The request goes to `backend`. Once per attempt, on a fresh copy of the head's edits.
    ///
    /// # Errors
    /// An error ends the request.
    fn on_forward(&self, head: &mut RequestHead, backend: &Backend, context: &mut Context) -> Result<()> {
        let _ = (head, backend, context);
        Ok(())
    }

    /// The response, an upstream's or our own, is on its way to the client. Never for 1xx.
    ///
    /// # Errors
    /// An error replaces the response.
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
