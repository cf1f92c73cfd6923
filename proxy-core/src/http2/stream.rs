//! One request, from its head to the end of its response.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Method;

use super::body::RecvBody;
use super::grpc::{self, Grpc};
use super::head::{self, Asked};
use super::relay::Relay;
use super::seats::Seat;
use super::tunnel::Tunnel;
use crate::body::Pace;
use crate::clock::Instant;
use crate::context::Link;
use crate::http1::encode::{self, Answering, Framing};
use crate::http1::framing::Options;
use crate::http1::timer::Timer;
use crate::interim::Responder;
use crate::message::Upgraded;
use crate::proxy::{Exchange, Shared, tunnel};
use crate::{Body, ErrorKind, Fault, Request, Response};

/// What a seat is for: it serves requests for ever.
pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long the rest of a request is taken in behind its answer.
const DRAIN: Duration = Duration::from_secs(2);

/// A request that came, and whom to answer.
pub(super) struct Incoming {
    pub(super) link: Arc<Link>,
    pub(super) request: http::Request<RecvStream>,
    pub(super) respond: SendResponse<Bytes>,
}

/// How a request ended, as far as its connection is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Answered,
    /// The client took it back, or made us do so.
    Reset,
    /// Anything else that went wrong.
    Failed,
}

pub(super) fn work(seat: Arc<Seat>) -> Work {
    Box::pin(async move {
        let mut timer = Timer::default();
        loop {
            let incoming = poll_fn(|_| seat.poll_incoming()).await;
            let ended = serve(&seat, incoming, &mut timer).await;
            seat.end(ended);
        }
    })
}

async fn serve(seat: &Arc<Seat>, incoming: Incoming, timer: &mut Timer) -> Ended {
    let Incoming { link, request, respond } = incoming;
    let Some(shared) = link.proxy.as_deref() else { return Ended::Failed };
    seat.answer_through(respond);
    let (parts, recv) = request.into_parts();
    seat.keep_rest(recv.stream_id());
    let ended = recv.is_end_stream();
    let asked = head::request(&parts, &shared.limits, ended);
    let tunnels = asked.as_ref().is_ok_and(Asked::tunnels);
    // A WebSocket is asked for by GET, as far as its answer is concerned.
    let grpc = Grpc::of(&parts.method, &parts.headers);
    let method = asked.as_ref().map_or(parts.method, |asked| asked.head.method().clone());
    let mut exchange = begin(seat, &link, shared, timer);
    exchange.ctx().clocks.ends_within(grpc.and_then(|grpc| grpc.timeout));
    let mut stream = Stream { seat, exchange: &mut exchange, method, grpc, tunnels, tunnel: None, upgraded: None };
    let result = match asked {
        Ok(asked) => stream.exchange(asked, recv).await,
        Err(kind) => {
            seat.leave(recv);
            let response = stream.exchange.refuse(&kind.into());
            stream.answer(response).await
        }
    };
    let tunnelled = stream.tunnel.take().zip(stream.upgraded.take());
    if let Some((client, upgraded)) = tunnelled {
        Box::pin(tunnel::run(exchange, client, upgraded, shared.timeouts.tunnel_idle)).await;
        return Ended::Answered;
    }
    if let Err(kind) = result {
        exchange.fail(kind);
    }
    drop(seat.take_response());
    *timer = std::mem::take(&mut exchange.ctx().timer);
    if let Some(ctx) = exchange.finish(Instant::now()) {
        crate::context::give(ctx);
    }
    if let (Some(rest), Ok(())) = (seat.take_rest(), result) {
        Box::pin(drain(rest, shared.limits.max_drain_bytes, timer)).await;
    }
    match result {
        Ok(()) => Ended::Answered,
        Err(ErrorKind::ClientGone) => Ended::Reset,
        Err(_) => Ended::Failed,
    }
}

/// Takes in what is left of a request that was answered early, within a bound: many a client sends all of it before it
/// looks at an answer, and takes the reset that RFC 9113 §8.1 allows for a failure.
async fn drain(mut rest: RecvStream, mut left: u64, timer: &mut Timer) {
    let deadline = Instant::now() + DRAIN;
    poll_fn(|cx| {
        while let Poll::Ready(data) = rest.poll_data(cx) {
            match data {
                Some(Ok(data)) if data.len() as u64 <= left => {
                    left -= data.len() as u64;
                    let _ = rest.flow_control().release_capacity(data.len());
                }
                _ => return Poll::Ready(()),
            }
        }
        timer.poll_at(cx, deadline)
    })
    .await;
}

fn begin<'a>(seat: &Arc<Seat>, link: &Arc<Link>, shared: &'a Shared, timer: &mut Timer) -> Exchange<&'a Shared> {
    let now = Instant::now();
    let mut ctx = crate::context::take(link, now);
    ctx.takes_interim = true;
    ctx.set_responder(Arc::<Seat>::clone(seat) as Arc<dyn Responder>);
    ctx.timer = std::mem::take(timer);
    ctx.clocks.deadline = shared.timeouts.total.map(|total| now + total);
    Exchange::new(shared, ctx)
}

/// A request under way.
struct Stream<'a, 'b> {
    seat: &'a Arc<Seat>,
    exchange: &'a mut Exchange<&'b Shared>,
    method: Method,
    grpc: Option<Grpc>,
    /// What the client sends goes through a tunnel, if one opens.
    tunnels: bool,
    /// What a tunnel's bytes go through, once there is one.
    tunnel: Option<Tunnel>,
    upgraded: Option<Upgraded>,
}

impl Stream<'_, '_> {
    async fn exchange(&mut self, asked: Asked, recv: RecvStream) -> Result<(), ErrorKind> {
        self.exchange.ctx().set_request(asked.head.pristine());
        let mut recv = Some(recv);
        let response = match self.body(&asked, &mut recv) {
            Ok(body) => {
                let mut slot = Some(Request::new(asked.head, body));
                match self.run(&mut slot, asked.options).await {
                    Err(ErrorKind::TotalTimeout) => {
                        // The answer that says so may be sent.
                        self.exchange.ctx().clocks.deadline = None;
                        self.exchange.refuse(&ErrorKind::TotalTimeout.into())
                    }
                    result => result?,
                }
            }
            Err(kind) => self.exchange.refuse(&kind.into()),
        };
        if self.tunnels {
            return self.connected(response, recv).await;
        }
        if let Some(recv) = recv {
            self.seat.leave(recv);
        }
        self.answer(response).await
    }

    /// The request's body. That of a tunnel is none, but what goes through it.
    fn body(&mut self, asked: &Asked, recv: &mut Option<RecvStream>) -> Result<Body, ErrorKind> {
        let shared = self.exchange.shared();
        let max = shared.limits.max_body_bytes.unwrap_or(u64::MAX);
        if asked.length.is_some_and(|length| length > max) {
            return Err(ErrorKind::BodyTooLarge);
        }
        if asked.is_empty || self.tunnels {
            return Ok(Body::empty());
        }
        let Some(recv) = recv.take() else { return Ok(Body::empty()) };
        let body = RecvBody::new(recv, Arc::clone(self.seat), asked.length, max, self.pace());
        Ok(match asked.expects_continue {
            true => Body::boxed_expecting(body, Arc::<Seat>::clone(self.seat)),
            false => Body::boxed(body),
        })
    }

    /// How slow the request's body may be. A call of gRPC may be open for hours while nobody has anything to say.
    fn pace(&self) -> Pace {
        let timeouts = &self.exchange.shared().timeouts;
        match self.grpc {
            Some(_) => Pace { idle: timeouts.tunnel_idle, min_rate: 0 },
            None => Pace { idle: timeouts.body_idle, min_rate: timeouts.min_body_rate },
        }
    }

    /// Runs the request through filters and upstream, and watches the client meanwhile.
    async fn run(&mut self, slot: &mut Option<Request>, options: Options) -> Result<Response, ErrorKind> {
        let deadline = self.exchange.ctx().clocks.deadline;
        // The seat's own timer is with the context, for the upstream's deadlines.
        let mut timer = Timer::default();
        let mut run = pin!(self.exchange.run(slot, options));
        poll_fn(|cx| {
            if let Poll::Ready(response) = run.as_mut().poll(cx) {
                return Poll::Ready(Ok(response));
            }
            if self.seat.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(ErrorKind::ClientGone));
            }
            match deadline.map(|at| timer.poll_at(cx, at)) {
                Some(Poll::Ready(())) => Poll::Ready(Err(ErrorKind::TotalTimeout)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Sends the response, beside what is left of the request body.
    async fn answer(&mut self, mut response: Response) -> Result<(), ErrorKind> {
        if let Some(made) = self.exchange.made_here()
            && self.grpc.is_some()
            && !response.head().headers().get("content-type").is_some_and(grpc::is_type)
        {
            return self.refuse_grpc(&mut response, made).await;
        }
        let framing = encode::framing(&mut response, &Answering::over_http2(&self.method));
        let length = match framing {
            Framing::Exact(length) => Some(length),
            _ => None,
        };
        let head = head::response(response.head(), length).map_err(|error| error.kind());
        let mut respond = self.seat.take_response().ok_or(ErrorKind::ClientGone)?;
        let head = match head {
            Ok(head) => head,
            Err(kind) => {
                self.exchange.unanswered();
                respond.send_reset(Reason::INTERNAL_ERROR);
                return Err(kind);
            }
        };
        let body = if framing == Framing::None { Body::empty() } else { response.into_parts().1 };
        let ends = matches!(framing, Framing::None | Framing::Exact(0));
        let Ok(send) = respond.send_response(head, ends) else {
            self.exchange.unanswered();
            return Err(ErrorKind::ClientGone);
        };
        drop(respond);
        match ends {
            true => Ok(()),
            false => self.relay(Relay::new(send, body, length.is_some())).await,
        }
    }

    /// An answer of ours to a call of gRPC: all of it is in its head.
    async fn refuse_grpc(&mut self, response: &mut Response, error: Option<ErrorKind>) -> Result<(), ErrorKind> {
        grpc::refuse(response.head_mut(), error);
        let mut respond = self.seat.take_response().ok_or(ErrorKind::ClientGone)?;
        let head = head::response(response.head(), None).map_err(|error| error.kind())?;
        match respond.send_response(head, true) {
            Ok(_) => Ok(()),
            Err(_) => {
                self.exchange.unanswered();
                Err(ErrorKind::ClientGone)
            }
        }
    }

    async fn relay(&mut self, mut relay: Relay) -> Result<(), ErrorKind> {
        let mut upload = self.exchange.ctx().take_upload();
        let deadline = self.exchange.ctx().clocks.deadline;
        let write_idle = self.exchange.shared().timeouts.write_idle;
        let exchange = &mut *self.exchange;
        let result = poll_fn(|cx| {
            if let Some(sending) = &mut upload
                && let Poll::Ready(result) = sending.poll(cx)
            {
                // A broken upload shows in the response, if it matters to it.
                exchange.ctx().received = sending.sent();
                upload = None;
                if let Err(error) = result
                    && error.fault() != Fault::Upstream
                {
                    return Poll::Ready(Err(error));
                }
            }
            if let Poll::Ready(result) = relay.poll(cx) {
                return Poll::Ready(result);
            }
            relay.poll_deadlines(cx, &mut exchange.ctx().timer, write_idle, deadline)
        })
        .await;
        if let Some(sending) = upload {
            self.exchange.ctx().received = sending.sent();
        }
        self.exchange.sent(relay.sent());
        result.map_err(|error| {
            relay.reset(&error);
            error.kind()
        })
    }

    /// The answer to CONNECT, or for a WebSocket: it opens a tunnel, or is like any other (RFC 9113 §8.5).
    async fn connected(&mut self, mut response: Response, recv: Option<RecvStream>) -> Result<(), ErrorKind> {
        let (Some(upgraded), Some(recv)) = (response.take_tunnel(), recv) else {
            return self.answer(response).await;
        };
        let mut respond = self.seat.take_response().ok_or(ErrorKind::ClientGone)?;
        let head = head::tunnel(response.head()).map_err(|error| error.kind())?;
        let Ok(send) = respond.send_response(head, false) else {
            self.exchange.unanswered();
            return Err(ErrorKind::ClientGone);
        };
        self.tunnel = Some(Tunnel::new(send, recv));
        self.upgraded = Some(upgraded);
        Ok(())
    }
}
