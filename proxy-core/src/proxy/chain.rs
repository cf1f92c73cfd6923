//! The filters around a request, and their hooks with a net under them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use super::{Named, Route, Shared};
use crate::guard::guarded;
use crate::{Backend, Context, Error, ErrorKind, Filter, Flow, Outcome, Request, RequestHead, Response, Result};

/// Filters in the order they run.
pub(crate) type Filters = Box<[Arc<dyn Filter>]>;

impl Shared {
    /// The filters of this request: the listener's, then its route's and its upstream's, once it has them.
    pub(crate) fn chain<'a>(&'a self, ctx: &Context) -> impl DoubleEndedIterator<Item = &'a Arc<dyn Filter>> + use<'a> {
        let of_route = ctx.route.and_then(|index| self.route_at(index)).map_or(&[][..], Route::filters);
        let of_upstream = ctx.upstream.and_then(|index| self.upstream_at(index)).map_or(&[][..], Named::filters);
        self.filters.iter().chain(of_route).chain(of_upstream)
    }

    pub(crate) fn has_filters(&self, ctx: &Context) -> bool {
        self.chain(ctx).next().is_some()
    }

    pub(crate) fn run_on_forward(&self, head: &mut RequestHead, backend: &Backend, ctx: &mut Context) -> Result<()> {
        for filter in self.chain(ctx) {
            guarded(|| filter.on_forward(head, backend, ctx))?;
        }
        Ok(())
    }

    /// Runs the response hooks of the first `ran` filters, last to first. A hook that fails replaces
    /// the response; the hooks before it see the replacement.
    pub(super) fn run_on_response(&self, ran: usize, response: &mut Response, ctx: &mut Context) -> Option<ErrorKind> {
        if ran == 0 {
            return None;
        }
        let mut failed = None;
        let chain: Vec<_> = self.chain(ctx).take(ran).collect();
        for filter in chain.into_iter().rev() {
            if let Err(error) = guarded(|| filter.on_response(response, ctx)) {
                failed = Some(error.kind());
                *response = plain_answer(&error);
            }
        }
        failed
    }

    /// The answer to a failed request: the first filter's that has one, last to first, or a plain one.
    pub(super) fn run_on_error(&self, error: &Error, ctx: &mut Context) -> Response {
        let chain: Vec<_> = self.chain(ctx).collect();
        let answer =
            chain.into_iter().rev().find_map(|filter| guarded(|| Ok(filter.on_error(error, ctx))).ok().flatten());
        answer.unwrap_or_else(|| plain_answer(error))
    }

    pub(super) fn run_on_done(&self, outcome: &Outcome, ctx: &Context) {
        for filter in self.chain(ctx) {
            let _ = guarded(|| {
                filter.on_done(outcome, ctx);
                Ok(())
            });
        }
        if let Some(observer) = &self.observer {
            let _ = guarded(|| {
                observer.on_request_ended(outcome, ctx);
                Ok(())
            });
        }
    }
}

/// Runs one request hook.
pub(super) async fn run_on_request(filter: &Arc<dyn Filter>, request: &mut Request, ctx: &mut Context) -> Result<Flow> {
    let hook = guarded(|| Ok(filter.on_request(request, ctx)))?;
    CatchPanic(hook).await
}

fn plain_answer(error: &Error) -> Response {
    let status = error.status();
    let reason = status.canonical_reason().unwrap_or("error");
    Response::text(status, format!("{} {reason}: {}\n", status.as_str(), error.code()))
}

/// A boxed future whose panic is an error.
pub(crate) struct CatchPanic<'a, T>(pub(crate) Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>);

impl<T> Future for CatchPanic<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        match guarded(|| Ok(self.0.as_mut().poll(cx))) {
            Ok(polled) => polled,
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }
}
