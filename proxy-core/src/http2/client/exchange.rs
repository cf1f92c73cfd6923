//! One request on a stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use h2::RecvStream;
use h2::client::ResponseFuture;
use http::{Method, StatusCode, response};

use super::body::RecvBody;
use super::group::Slot;
use super::head;
use super::upload::Upload;
use crate::clock::Instant;
use crate::http1::client::{EXPECT_WAIT, Failure, MAX_INTERIM, Rules};
use crate::http1::framing;
use crate::http1::stream::Out;
use crate::http2::failure;
use crate::http2::grpc::{self, Grpc};
use crate::interim::Interim;
use crate::{Body, Context, Error, ErrorKind, RequestHead, Response, Result, forwarding, upload};

/// Sends a request, and waits for the head of its response. `secure`: over TLS.
pub(crate) async fn exchange(
    slot: Slot,
    (head, body): (&mut RequestHead, Body),
    secure: bool,
    rules: &Rules,
    ctx: &mut Context,
) -> Result<Response, Failure> {
    let method = head.method().clone();
    let mut exchange = Exchange::begin(slot, head, body, secure, rules)?;
    let result = poll_fn(|cx| exchange.poll(cx, ctx)).await;
    exchange.conclude(result, &method, ctx)
}

struct Exchange<'a> {
    response: ResponseFuture,
    upload: Upload,
    uploaded: bool,
    rules: &'a Rules,
    /// An interim response on its way to a client that has the connection for itself.
    interim: Option<Box<Out>>,
    interims: u32,
    progress: Option<(u64, Instant)>,
    is_grpc: bool,
    /// What the connection had brought when the request was sent.
    received: u64,
    slot: Arc<Slot>,
}

impl<'a> Exchange<'a> {
    fn begin(slot: Slot, head: &mut RequestHead, body: Body, secure: bool, rules: &'a Rules) -> Result<Self, Failure> {
        let length = body.exact_length();
        let request = head::request(head, length, secure).map_err(Failure::of_request)?;
        // Nothing was sent yet: whatever fails here may be tried again.
        let Some(mut sender) = slot.sender() else {
            return Err(Failure::unprocessed(ErrorKind::UpstreamGone.into(), Some(body)));
        };
        let (ended, is_grpc) = (length == Some(0), Grpc::of(request.method(), request.headers()).is_some());
        match sender.send_request(request, ended) {
            Ok((response, send)) => {
                let slot = Arc::new(slot);
                let received = slot.received();
                let upload = Upload::new(send, body, ended, rules.replay, Arc::clone(&slot));
                let (interim, interims, progress) = (None, 0, None);
                Ok(Exchange {
                    response,
                    upload,
                    uploaded: ended,
                    rules,
                    interim,
                    interims,
                    progress,
                    is_grpc,
                    received,
                    slot,
                })
            }
            Err(error) => {
                slot.retire();
                Err(Failure::unprocessed(failure::of_response(error), Some(body)))
            }
        }
    }

    fn poll(&mut self, cx: &mut Task<'_>, ctx: &mut Context) -> Poll<Result<http::Response<RecvStream>>> {
        self.poll_upload(cx)?;
        loop {
            ready!(self.poll_interim(cx, ctx))?;
            match self.response.poll_informational(cx) {
                Poll::Ready(Some(interim)) => {
                    let parts = interim.map_err(failure::of_response)?.into_parts().0;
                    self.accept_interim(cx, &parts, ctx)?;
                }
                // What it brings is no interim response: asked for it before, it would lose one that comes meanwhile.
                Poll::Ready(None) => {
                    let response = ready!(Pin::new(&mut self.response).poll(cx));
                    return Poll::Ready(response.map_err(failure::of_response));
                }
                Poll::Pending => break,
            }
        }
        ready!(self.poll_deadline(cx, ctx));
        if self.slot.received() == self.received {
            // It may be dead: the next request is to find out on another.
            self.slot.retire();
        }
        Poll::Ready(Err(ErrorKind::ResponseTimeout.into()))
    }

    /// A broken upload shows in the response.
    fn poll_upload(&mut self, cx: &mut Task<'_>) -> Result<()> {
        if !self.uploaded
            && let Poll::Ready(result) = self.upload.poll(cx)
        {
            self.uploaded = true;
            return match result {
                Err(error) if error.fault() != crate::Fault::Upstream => Err(error),
                _ => Ok(()),
            };
        }
        Ok(())
    }

    /// 100 lets the body go; the others are passed on (RFC 9110 §15.2).
    fn accept_interim(&mut self, cx: &mut Task<'_>, parts: &response::Parts, ctx: &Context) -> Result<()> {
        self.interims += 1;
        if self.interims > MAX_INTERIM {
            return Err(ErrorKind::BadResponse.into());
        }
        let is_continue = parts.status == StatusCode::CONTINUE;
        let wanted = !is_continue || self.upload.body_mut().owes_continue();
        if let Some(interim) = ctx.interim().filter(|_| wanted) {
            let mut head = head::response(parts, &self.rules.limits)?.0;
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

    fn poll_interim(&mut self, cx: &mut Task<'_>, ctx: &Context) -> Poll<Result<()>> {
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
            _ => self.progress.insert((sent, Instant::now())).1,
        };
        if self.upload.is_held() {
            ready!(ctx.timer.poll_at(cx, since + EXPECT_WAIT));
            self.upload.unhold();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ctx.timer.poll_at(cx, since + self.rules.response)
    }

    /// What is left of the request body goes to the context, to be polled beside the response.
    fn conclude(
        self,
        result: Result<http::Response<RecvStream>>,
        method: &Method,
        ctx: &mut Context,
    ) -> Result<Response, Failure> {
        ctx.received = self.upload.sent();
        match result {
            Ok(response) if self.is_refusal(&response) => self.refused(&response, ctx),
            Ok(response) => self.finish(response, method, ctx).map_err(Failure::of_request),
            Err(error) => {
                let unprocessed = failure::is_unprocessed(&error);
                let unanswered = error.kind() != ErrorKind::BadResponse;
                let reused = self.slot.is_reused();
                let body = self.upload.into_body();
                Err(Failure { error, unanswered, unprocessed, reused, body, response: None })
            }
        }
    }

    /// Whether a call of gRPC got nothing but a status, and one after which it is tried again.
    fn is_refusal(&self, response: &http::Response<RecvStream>) -> bool {
        let statuses = self.rules.grpc_statuses;
        let tried_again = |code: u32| 1_u32.checked_shl(code).is_some_and(|bit| statuses & bit != 0);
        statuses != 0
            && self.is_grpc
            && response.body().is_end_stream()
            && grpc::status(response.headers()).is_some_and(tried_again)
    }

    /// It goes to the client where it cannot be tried again.
    fn refused(self, response: &http::Response<RecvStream>, ctx: &mut Context) -> Result<Response, Failure> {
        let mut parts = http::Response::new(()).into_parts().0;
        (parts.status, parts.headers) = (response.status(), response.headers().clone());
        let head = head::response(&parts, &self.rules.limits).map_err(Failure::of_request)?.0;
        ctx.clocks.first_byte = Some(Instant::now());
        let response = Some(Box::new(Response::new(head, Body::empty())));
        let (error, body) = (ErrorKind::GrpcStatus.into(), self.upload.into_body());
        Err(Failure { error, unanswered: false, unprocessed: false, reused: false, body, response })
    }

    fn finish(self, response: http::Response<RecvStream>, method: &Method, ctx: &mut Context) -> Result<Response> {
        let (parts, recv) = response.into_parts();
        let (head, length) = head::response(&parts, &self.rules.limits)?;
        // Switching protocols is none of HTTP/2 (RFC 9113 §8.6).
        if head.status().is_informational() {
            return Err(ErrorKind::UnexpectedUpgrade.into());
        }
        ctx.clocks.first_byte = Some(Instant::now());
        let ended = recv.is_end_stream();
        // A body that was never asked for is not sent after the answer.
        if !self.uploaded && !self.upload.is_held() {
            ctx.set_upload(Some(upload::Upload::Http2(Box::new(self.upload))));
        }
        let body = match ended || framing::has_no_body(method, head.status()) {
            true => Body::empty(),
            false => response_body(recv, length, self.rules.idle, self.slot),
        };
        Ok(Response::new(head, body))
    }
}

fn response_body(recv: RecvStream, length: Option<u64>, idle: Duration, slot: Arc<Slot>) -> Body {
    Body::boxed(RecvBody::new(recv, length, idle, slot))
}
