//! Hooks that are done at once.

use std::pin::Pin;
use std::task::{Context as Task, Poll};

use proxy_core::{Flow, Response, Result};

/// What an `on_request` hook returns.
pub(crate) type Hook<'a> = Pin<Box<dyn Future<Output = Result<Flow>> + Send + 'a>>;

/// On to the next filter. It has no size, so the box takes no memory.
struct Continue;

impl Future for Continue {
    type Output = Result<Flow>;

    fn poll(self: Pin<&mut Self>, _: &mut Task<'_>) -> Poll<Result<Flow>> {
        Poll::Ready(Ok(Flow::Continue))
    }
}

pub(crate) fn pass<'a>() -> Hook<'a> {
    Box::pin(Continue)
}

pub(crate) fn respond<'a>(response: Response) -> Hook<'a> {
    Box::pin(std::future::ready(Ok(Flow::Respond(response))))
}
