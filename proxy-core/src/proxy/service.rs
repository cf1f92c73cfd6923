//! A proxy as a tower service.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;
use tower_service::Service;

use super::{Exchange, Proxy, Shared};
use crate::clock::Instant;
use crate::context::Link;
use crate::http1::framing::{self, Options};
use crate::upgrade::ClientUpgrade;
use crate::upload::Upload;
use crate::{Body, Context, Error, ErrorKind, Fault, Peer, Request, RequestHead, Response, Result, Transform};

/// The response of a [`Proxy`] used as a service.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

/// The proxy mounts wherever a service goes: as the fallback of a router, under any layer.
///
/// The client's address is taken from a [`Peer`] among the request's extensions, where there is one.
/// A request ends, and `on_done` runs, when the body of its response has ended or is dropped.
///
/// The client's connection is another server's: `on_connection` is not asked, no connection is
/// observed, and of [`Limits`](crate::Limits) and [`Timeouts`](crate::Timeouts) only
/// `max_body_bytes`, `total` and `tunnel_idle` hold. [`Outcome::bytes_sent`](crate::Outcome::bytes_sent)
/// counts bodies without heads.
///
/// # Upgrades
/// With the feature `tower-upgrade` the client's stream is taken from the `hyper::upgrade::OnUpgrade`
/// that a hyper server (axum's, too) leaves among the request's extensions. Once the upstream has
/// answered 101, or 2xx to CONNECT, a task of its own moves bytes both ways, under
/// [`Timeouts::tunnel_idle`](crate::Timeouts::tunnel_idle); the request ends with the tunnel. As with
/// axum's own WebSockets, the drain of the server in front does not wait for it.
///
/// Where there is no such stream, and without the feature, nobody is asked to upgrade: `Upgrade` is
/// not forwarded, and the upstream's ordinary answer is the client's.
///
/// # Panics
/// A tunnel has to begin within a tokio runtime.
impl<B> Service<http::Request<B>> for Proxy
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        let (parts, body) = request.into_parts();
        let body = if body.is_end_stream() { Body::empty() } else { Body::boxed(body) };
        Box::pin(async move { Ok(answer(shared, parts, body).await) })
    }
}

async fn answer(shared: Arc<Shared>, mut parts: http::request::Parts, body: Body) -> http::Response<Body> {
    let peer = parts.extensions.get::<Peer>().cloned().unwrap_or_default();
    let client = ClientUpgrade::take(&mut parts.extensions);
    let link = Link { peer, proxy: Some(Arc::clone(&shared)), raw: None, client: None, generation: 0 };
    let context = Box::new(Context::new(Some(Arc::new(link)), Instant::now()));
    let mut pending = Unanswered(Some(Exchange::new(Arc::clone(&shared), context)));
    let response = match (request(&shared, parts, body), pending.exchange()) {
        (Ok((request, options)), exchange) => {
            exchange.ctx().set_request(request.head().pristine());
            exchange.ctx().clocks.deadline = shared.timeouts.total.map(|total| Instant::now() + total);
            let options = Options { upgrade: options.upgrade && client.is_some(), ..options };
            run(exchange, request, options).await
        }
        (Err(error), exchange) => exchange.refuse(&error),
    };
    finish(pending.answered(), response, client, shared.timeouts.tunnel_idle)
}

/// A request whose answer is not there yet: whoever drops it has left.
struct Unanswered(Option<Exchange>);

impl Unanswered {
    fn exchange(&mut self) -> &mut Exchange {
        self.0.as_mut().expect("the exchange is there until it is answered")
    }

    fn answered(mut self) -> Exchange {
        self.0.take().expect("the exchange is there until it is answered")
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(exchange) = &mut self.0 {
            exchange.fail(ErrorKind::ClientGone);
        }
    }
}

/// A tower request is held to the engine's rules.
fn request(shared: &Shared, parts: http::request::Parts, body: Body) -> Result<(Request, Options)> {
    let mut head = RequestHead::try_from(parts)?;
    if let Some(authority) = head.authority().map(str::to_owned)
        && !head.headers().contains("host")
    {
        // HTTP/2 has an authority instead.
        head.headers_mut().add(b"Host", authority.as_bytes());
    }
    let options = match head.version() {
        Version::HTTP_11 => framing::check_request(&head)?.options,
        _ => Options::default(),
    };
    let body = match (body.exact_length(), shared.limits.max_body_bytes) {
        (Some(length), Some(max)) if length > max => return Err(ErrorKind::BodyTooLarge.into()),
        (None, Some(max)) => body.transform(Allowance(max)),
        _ => body,
    };
    Ok((Request::new(head, body), options))
}

/// What a body of unknown length may still bring.
struct Allowance(u64);

impl Transform for Allowance {
    fn chunk(&mut self, chunk: Bytes) -> Result<Bytes> {
        self.0 = self.0.checked_sub(chunk.len() as u64).ok_or(ErrorKind::BodyTooLarge)?;
        Ok(chunk)
    }
}

async fn run(exchange: &mut Exchange, request: Request, options: Options) -> Response {
    let request = &mut Some(request);
    match exchange.ctx().clocks.deadline {
        None => exchange.run(request, options).await,
        Some(deadline) => match tokio::time::timeout_at(deadline, exchange.run(request, options)).await {
            Ok(response) => response,
            Err(_) => {
                // The answer that says so may be read.
                exchange.ctx().clocks.deadline = None;
                exchange.refuse(&ErrorKind::TotalTimeout.into())
            }
        },
    }
}

fn finish(
    mut exchange: Exchange,
    mut response: Response,
    client: Option<ClientUpgrade>,
    tunnel_idle: Duration,
) -> http::Response<Body> {
    let upload = exchange.ctx().take_upload();
    let tunnel = response.take_tunnel();
    let (head, body) = response.into_parts();
    let parts = match http::response::Parts::try_from(head) {
        Ok(parts) => parts,
        Err(error) => return broken(exchange, &error),
    };
    match (tunnel, client) {
        (None, _) => {
            let deadline = exchange.ctx().clocks.deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
            let guarded = Guarded { body, upload, deadline, exchange: Some(exchange), sent: 0 };
            http::Response::from_parts(parts, Body::boxed(guarded))
        }
        (Some(upgraded), Some(client)) => {
            client.tunnel(exchange, upgraded, tunnel_idle);
            http::Response::from_parts(parts, Body::empty())
        }
        (Some(_), None) => broken(exchange, &ErrorKind::NoTunnel.into()),
    }
}

/// The response cannot be handed over.
fn broken(mut exchange: Exchange, error: &Error) -> http::Response<Body> {
    exchange.fail(error.kind());
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = error.status();
    response
}

/// A response body that owns its request: `on_done` fires when it has ended, or is dropped.
struct Guarded {
    body: Body,
    upload: Option<Upload>,
    deadline: Option<Pin<Box<Sleep>>>,
    exchange: Option<Exchange>,
    sent: u64,
}

impl Guarded {
    fn end(&mut self, error: Option<ErrorKind>) {
        if let Some(mut exchange) = self.exchange.take() {
            if let Some(upload) = self.upload.take() {
                exchange.ctx().received = upload.sent();
            }
            exchange.sent(self.sent);
            if let Some(kind) = error {
                exchange.fail(kind);
            }
            exchange.finish(Instant::now());
        }
    }

    fn is_late(&mut self, cx: &mut Task<'_>) -> bool {
        self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready())
    }

    fn poll_upload(&mut self, cx: &mut Task<'_>) -> Result<()> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let Poll::Ready(result) = upload.poll(cx) else { return Ok(()) };
        if let Some(exchange) = &mut self.exchange {
            exchange.ctx().received = upload.sent();
        }
        self.upload = None;
        match result {
            Err(error) if error.fault() != Fault::Upstream => Err(error),
            _ => Ok(()),
        }
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let polled = match this.poll_upload(cx) {
            Err(error) => Poll::Ready(Some(Err(error))),
            Ok(()) if this.is_late(cx) => Poll::Ready(Some(Err(ErrorKind::TotalTimeout.into()))),
            Ok(()) => Pin::new(&mut this.body).poll_frame(cx),
        };
        match &polled {
            Poll::Ready(None) => this.end(None),
            Poll::Ready(Some(Err(error))) => this.end(Some(error.kind())),
            Poll::Ready(Some(Ok(frame))) => this.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let error = if self.body.is_empty() { None } else { Some(ErrorKind::ClientGone) };
        self.end(error);
    }
}
