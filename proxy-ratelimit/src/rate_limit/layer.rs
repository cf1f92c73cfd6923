//! A rate limit in a tower stack.

use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use proxy_core::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{First, Next, RateLimit, Refusal};
use crate::{Decision, Subject};

/// A [`RateLimit`] around any HTTP service.
///
/// The client's address is the [`Peer`](proxy_core::Peer) among the request's extensions.
///
/// ```
/// use http::{HeaderName, Request, Response};
/// use proxy_ratelimit::{Gcra, Key, Limiter, RateLimit};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = Key::header(HeaderName::from_static("x-api-key"));
/// let limit = RateLimit::new(Limiter::new(Gcra::new("1/m".parse()?)), key);
/// let inner = service_fn(async |_: Request<String>| Ok::<_, std::convert::Infallible>(Response::new(String::new())));
/// let mut service = limit.layer().layer(inner);
/// for expected in [200, 429] {
///     let response = service.ready().await?.call(Request::new(String::new())).await?;
///     assert_eq!(response.status(), expected);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitLayer(RateLimit);

impl RateLimitLayer {
    pub(super) fn new(limit: RateLimit) -> Self {
        RateLimitLayer(limit)
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> RateLimitService<S> {
        RateLimitService { limit: self.0.clone(), inner }
    }
}

/// A service with a [`RateLimit`] before it.
#[derive(Clone, Debug)]
pub struct RateLimitService<S> {
    limit: RateLimit,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for RateLimitService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = RateLimitFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let now = Instant::now();
        let (parts, body) = request.into_parts();
        let first = self.limit.0.first(&Subject::http(&parts, body.size_hint().exact()), now);
        let request = Request::from_parts(parts, body);
        let limit = self.limit.clone();
        let gate = match first {
            First::Pass => Gate::Open(None),
            First::Decided(decision) => Gate::after(limit.0.next(decision)),
            First::Ask(remote, key, cost) => {
                let limit = limit.clone();
                Gate::Asked(Box::pin(async move {
                    match limit.0.next_answered(remote.check(&key, now, cost).await) {
                        Next::Wait(delay, decision) => {
                            tokio::time::sleep(delay).await;
                            Next::Pass(Some(decision))
                        }
                        next => next,
                    }
                }))
            }
        };
        // The one that was made ready is called, now or later.
        let spare = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, spare);
        RateLimitFuture { limit, gate, call: Some((ready, request)), response: None, decision: None }
    }
}

/// What lies between a request and the service behind the limit.
enum Gate {
    Open(Option<Decision>),
    Delayed(Pin<Box<tokio::time::Sleep>>, Decision),
    Asked(Pin<Box<dyn Future<Output = Next> + Send>>),
    Closed(Option<Refusal>),
}

impl Gate {
    fn after(next: Next) -> Self {
        match next {
            Next::Pass(decision) => Gate::Open(decision),
            Next::Wait(delay, decision) => Gate::Delayed(Box::pin(tokio::time::sleep(delay)), decision),
            Next::Refuse(refusal) => Gate::Closed(Some(refusal)),
        }
    }

    fn poll(&mut self, cx: &mut Task<'_>) -> Poll<Result<Option<Decision>, Refusal>> {
        loop {
            *self = match self {
                Gate::Open(decision) => return Poll::Ready(Ok(decision.take())),
                Gate::Delayed(sleep, decision) => {
                    ready!(sleep.as_mut().poll(cx));
                    Gate::Open(Some(*decision))
                }
                Gate::Asked(asked) => Gate::after(ready!(asked.as_mut().poll(cx))),
                Gate::Closed(refusal) => match refusal.take() {
                    Some(refusal) => return Poll::Ready(Err(refusal)),
                    None => return Poll::Pending,
                },
            }
        }
    }
}

pin_project_lite::pin_project! {
    /// The response of a [`RateLimitService`].
    pub struct RateLimitFuture<S: Service<Request<B>>, B> {
        limit: RateLimit,
        gate: Gate,
        call: Option<(S, Request<B>)>,
        #[pin]
        response: Option<S::Future>,
        decision: Option<Decision>,
    }
}

impl<S, B, R> Future for RateLimitFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.response.is_none() {
            match ready!(this.gate.poll(cx)) {
                Ok(decision) => *this.decision = decision,
                Err(refusal) => return Poll::Ready(Ok(refuse(refusal))),
            }
            let Some((mut service, request)) = this.call.take() else { return Poll::Pending };
            this.response.set(Some(service.call(request)));
        }
        let Some(response) = this.response.as_mut().as_pin_mut() else { return Poll::Pending };
        let mut response = ready!(response.poll(cx))?;
        if let Some(decision) = this.decision.take() {
            let headers = response.headers_mut();
            // Fields beyond what a map can hold are dropped: it would panic.
            this.limit.0.answer.fields(&decision, |name, value| drop(headers.try_append(name, value)));
        }
        Poll::Ready(Ok(response))
    }
}

fn refuse<R: Default>(refusal: Refusal) -> Response<R> {
    let mut response = Response::new(R::default());
    *response.status_mut() = refusal.status;
    refusal.fields.into_iter().for_each(|(name, value)| drop(response.headers_mut().try_append(name, value)));
    response
}

impl<S: Service<Request<B>>, B> std::fmt::Debug for RateLimitFuture<S, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimitFuture").field("limit", &self.limit).finish_non_exhaustive()
    }
}
