//! The client side: one exchange on a connection to an upstream.

use std::io;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use http::{Method, StatusCode};

use super::decode::Decoder;
use super::framing::{self, Length};
use super::parse::{self, ParsedResponse};
use super::stream::Out;
use super::upload::Upload;
use crate::body::{Pace, RawBody, Source};
use crate::clock::Instant;
use crate::forwarding;
use crate::head::Known;
use crate::interim::Interim;
use crate::pool::Lease;
use crate::{Body, Context, Error, ErrorKind, Limits, RequestHead, Response};

/// Interim responses one request may get: more is an attack on the client.
pub(crate) const MAX_INTERIM: u32 = 32;
/// How long the upstream may think about `Expect: 100-continue` before the body is sent unasked.
pub(crate) const EXPECT_WAIT: Duration = Duration::from_secs(1);

/// How an upstream is waited for.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) limits: Limits,
    /// Without any progress, until the response head.
    pub(crate) response: Duration,
    /// Without any progress, within the response body.
    pub(crate) idle: Duration,
    /// The upstream is a proxy: targets stay in absolute form.
    pub(crate) absolute: bool,
    /// Bytes of a request body kept for another attempt.
    pub(crate) replay: usize,
    /// Statuses of gRPC after which a call is tried again, one bit each.
    #[cfg(feature = "http2")]
    pub(crate) grpc_statuses: u32,
}

/// An exchange that failed, and what another attempt needs to know.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Nothing of a response was seen.
    pub(crate) unanswered: bool,
    /// The backend has said, or it is known, that nothing was done with the request.
    pub(crate) unprocessed: bool,
    /// The connection had carried an exchange before.
    pub(crate) reused: bool,
    /// The request body as it was, where it can be sent again.
    pub(crate) body: Option<Body>,
    /// What the client gets where it is not tried again, if that is not the error.
    pub(crate) response: Option<Box<Response>>,
}

impl Failure {
    /// Another attempt would not help.
    pub(crate) fn of_request(error: Error) -> Self {
        Failure { error, unanswered: false, unprocessed: false, reused: false, body: None, response: None }
    }

    /// Nothing was done with the request.
    #[cfg(feature = "http2")]
    pub(crate) fn unprocessed(error: Error, body: Option<Body>) -> Self {
        Failure { error, unanswered: true, unprocessed: true, reused: true, body, response: None }
    }
}

/// Sends a request and waits for the head of its response.
///
/// A plain struct rather than an async function: it lives in the future of each request, where every
/// argument that is moved twice is stored twice.
pub(crate) struct Exchange<'a> {
    lease: Lease,
    upload: Upload,
    uploaded: bool,
    /// Writing failed; what the upstream said before is still to be read.
    broken: Option<Error>,
    rules: &'a Rules,
    /// Interim responses on their way to the client. Rare, so out of line.
    interim: Option<Box<Out>>,
    interims: u32,
    answered: bool,
    progress: Option<(u64, Instant)>,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(mut lease: Lease, head: &mut RequestHead, body: Body, rules: &'a Rules) -> Self {
        let chunked = body.exact_length().is_none();
        let mut bytes = crate::scratch::take();
        write_head(head, &body, rules.absolute, &mut bytes);
        let stream = lease.connection().stream().clone();
        let replay = if head.method().is_idempotent() { rules.replay } else { 0 };
        Exchange {
            lease,
            upload: Upload::new(stream, bytes, body, chunked, replay),
            uploaded: false,
            broken: None,
            rules,
            interim: None,
            interims: 0,
            answered: false,
            progress: None,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Task<'_>, ctx: &mut Context) -> Poll<Result<ParsedResponse, Error>> {
        self.poll_upload(cx)?;
        loop {
            ready!(self.poll_interim(cx, ctx))?;
            if let Some(parsed) = self.parse()? {
                match parsed.head.status() {
                    status if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS => {
                        return Poll::Ready(Ok(parsed));
                    }
                    _ => self.accept_interim(cx, &parsed, ctx)?,
                }
                continue;
            }
            match self.lease.connection().reader().poll_fill(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.gone(None))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.gone(Some(error)))),
                Poll::Pending => {
                    ready!(self.poll_deadline(cx, ctx));
                    return Poll::Ready(Err(ErrorKind::ResponseTimeout.into()));
                }
            }
        }
    }

    fn poll_upload(&mut self, cx: &mut Task<'_>) -> Result<(), Error> {
        if self.uploaded {
            return Ok(());
        }
        match self.upload.poll(cx) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) if error.fault() == crate::Fault::Upstream => self.broken = Some(error),
            Poll::Ready(Err(error)) => return Err(error),
        }
        self.uploaded = true;
        Ok(())
    }

    fn parse(&mut self) -> Result<Option<ParsedResponse>, Error> {
        let buffer = &mut self.lease.connection().reader().buffer;
        if buffer.is_empty() {
            return Ok(None);
        }
        self.answered = true;
        let parsed = parse::response(buffer.filled(), &self.rules.limits)?;
        if let Some(parsed) = &parsed {
            buffer.consume(parsed.consumed);
        }
        Ok(parsed)
    }

    /// 100 lets the body go; the others are passed on (RFC 9110 §15.2).
    fn accept_interim(&mut self, cx: &mut Task<'_>, parsed: &ParsedResponse, ctx: &Context) -> Result<(), Error> {
        self.interims += 1;
        if self.interims > MAX_INTERIM {
            return Err(ErrorKind::BadResponse.into());
        }
        let is_continue = parsed.head.status() == StatusCode::CONTINUE;
        let wanted = !is_continue || self.upload.body_mut().owes_continue();
        if let Some(interim) = ctx.interim().filter(|_| wanted) {
            let mut head = parsed.head.clone();
            forwarding::strip_response(head.headers_mut(), false);
            match interim {
                Interim::Connection(_) => {
                    let out = self.interim.get_or_insert_default();
                    head.write_to(&mut out.bytes);
                    out.bytes.extend_from_slice(b"\r\n");
                }
                Interim::Stream(client) => client.interim(&head),
            }
        }
        if is_continue && self.upload.is_held() {
            self.upload.body_mut().forget_continue();
            self.upload.unhold();
            self.poll_upload(cx)?;
        }
        Ok(())
    }

    fn poll_interim(&mut self, cx: &mut Task<'_>, ctx: &Context) -> Poll<Result<(), Error>> {
        let Some(out) = &mut self.interim else { return Poll::Ready(Ok(())) };
        let Some(Interim::Connection(stream)) = ctx.interim() else { return Poll::Ready(Ok(())) };
        ready!(stream.poll_write_all(cx, out)).map_err(|error| Error::new(ErrorKind::ClientGone).with_source(error))?;
        self.interim = None;
        Poll::Ready(Ok(()))
    }

    /// Ready when nothing moved for too long.
    fn poll_deadline(&mut self, cx: &mut Task<'_>, ctx: &mut Context) -> Poll<()> {
        let sent = self.upload.sent();
        let since = match self.progress {
            Some((before, since)) if before == sent => since,
            _ => {
                // The first wait follows the connect at once: no need to ask the clock again.
                let now = if self.progress.is_none() { ctx.clocks.connected } else { None };
                self.progress.insert((sent, now.unwrap_or_else(Instant::now))).1
            }
        };
        if self.upload.is_held() {
            ready!(ctx.timer.poll_at(cx, since + EXPECT_WAIT));
            self.upload.unhold();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ctx.timer.poll_at(cx, since + self.rules.response)
    }

    fn gone(&mut self, error: Option<io::Error>) -> Error {
        let gone = match (self.broken.take(), error) {
            (Some(broken), _) => broken,
            (None, Some(error)) => Error::new(ErrorKind::UpstreamIo).with_source(error),
            (None, None) => ErrorKind::UpstreamGone.into(),
        };
        if self.answered { Error::new(ErrorKind::BadResponse).with_source(gone) } else { gone }
    }

    /// What [`poll`](Self::poll) came to. What is left of the request body goes to the context, to be
    /// polled beside the response.
    pub(crate) fn conclude(
        self,
        result: Result<ParsedResponse, Error>,
        method: &Method,
        ctx: &mut Context,
    ) -> Result<Response, Failure> {
        match result {
            Ok(parsed) => self.finish(parsed, method, ctx).map_err(Failure::of_request),
            Err(error) => {
                ctx.received = self.upload.sent();
                Err(Failure {
                    error,
                    unanswered: !self.answered,
                    unprocessed: false,
                    reused: self.lease.is_reused(),
                    body: self.upload.into_body(),
                    response: None,
                })
            }
        }
    }

    fn finish(self, parsed: ParsedResponse, method: &Method, ctx: &mut Context) -> Result<Response, Error> {
        let (lease, status) = (self.lease, parsed.head.status());
        let finished = self.uploaded && self.broken.is_none();
        let now = Instant::now();
        ctx.clocks.first_byte = Some(now);
        ctx.received = self.upload.sent();
        if opens_tunnel(method, status) {
            return match ctx.upgrade_requested && finished {
                true => Ok(Response::new(parsed.head, Body::empty()).with_tunnel(lease)),
                false => Err(ErrorKind::UnexpectedUpgrade.into()),
            };
        }
        let reusable = parsed.options.keep_alive && self.broken.is_none();
        if self.uploaded {
            crate::scratch::give(self.upload.into_head());
        } else {
            lease.set_uploading();
            // A body that was never asked for is not sent after the answer.
            if !self.upload.is_held() {
                ctx.set_upload(Some(crate::upload::Upload::Http1(self.upload)));
            }
        }
        let length = framing::body_of(parsed.length, method, status);
        let reusable = reusable && length != Length::UntilClose;
        Ok(Response::new(parsed.head, response_body(lease, length, reusable, self.rules.idle, now)))
    }
}

/// The body behind a head. Where all of it was read along with the head, the connection goes back to
/// its pool here, before the client has anything of it.
fn response_body(mut lease: Lease, length: Length, reusable: bool, idle: Duration, now: Instant) -> Body {
    let buffer = &mut lease.connection().reader().buffer;
    match length {
        Length::Exact(length) if length <= buffer.len() as u64 => {
            let clean = buffer.len() as u64 == length && reusable && !lease.is_uploading();
            let mut buffer = std::mem::take(&mut lease.connection().reader().buffer);
            buffer.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            if clean {
                lease.release(now);
            }
            Body::here(buffer)
        }
        length => {
            let pace = Pace { idle, min_rate: 0 };
            Body::raw(RawBody::new(Source::Upstream { lease, reusable }, Decoder::new(length), pace))
        }
    }
}

/// A switch of protocols, or a 2xx to CONNECT.
pub(crate) fn opens_tunnel(method: &Method, status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || (*method == Method::CONNECT && status.is_success())
}

/// The head as it goes to an origin, or to a proxy: framing fields are ours, in agreement with the body.
fn write_head(head: &mut RequestHead, body: &Body, absolute: bool, out: &mut Vec<u8>) {
    let length = body.exact_length();
    super::encode::keep_length(head.headers_mut(), length);
    match absolute {
        true => head.write_absolute_to(out),
        false => head.write_to(out),
    }
    match length {
        None => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Some(length)
            if !head.headers().has(Known::ContentLength)
                && (length > 0 || super::encode::wants_length(head.method())) =>
        {
            super::encode::write_length(length, out);
        }
        Some(_) => {}
    }
    out.extend_from_slice(b"\r\n");
}
