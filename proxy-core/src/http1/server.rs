//! The server side: one client connection, from its first byte to its last.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use http::{Method, Version};

use super::buffer::BLOCK;
use super::decode::Decoder;
use super::drain;
use super::encode::{self, Answering};
use super::framing::{Length, Options};
use super::parse::{self, ParsedRequest};
use super::reader::{Parked, Reader};
use super::relay::{Relay, WaitsFor};
use super::stream::Stream;
use super::timer::Timer;
use super::tunnel::Tunnel;
use crate::body::{Pace, RawBody, Source};
use crate::clock::Instant;
use crate::context::Link;
use crate::http2::{self, Sniffed};
use crate::message::Upgraded;
use crate::proxy::{Exchange, Shared, tunnel};
use crate::serve::Draining;
use crate::{Body, Context, ErrorKind, Request, Response, Result};

/// What a client may send ahead while its request waits for an answer.
const AHEAD: usize = BLOCK / 2;
/// How long a connection must have idled before a drain closes it: the next request of a client that was here a
/// moment ago may be on its way, and would be lost. It is answered, and told that the connection ends.
const QUIET: Duration = Duration::from_secs(1);
/// How long a closing connection is read from, so that its last answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(2);

/// Serves one client until either side has had enough, or the proxy has a successor that is to go on
/// with what is kept.
pub(crate) async fn serve(link: &Arc<Link>, draining: &Draining, kept: Option<Box<Kept>>) -> Served {
    let (Some(stream), Some(proxy)) = (&link.client, &link.proxy) else { return Served::All(0) };
    let mut connection = Connection::new(stream.clone(), link, proxy, draining);
    if let Some(kept) = kept {
        connection.take_over(*kept);
    }
    loop {
        let next = match connection.read_head().await {
            Heads::Request(parsed) => connection.exchange(parsed).await,
            Heads::Malformed(kind) => Box::pin(connection.refuse(kind)).await,
            Heads::Closed => Next::Close,
            Heads::Http2(reader) => return Served::Http2(reader),
            Heads::Renewed => return Served::Renewed(connection.keep()),
        };
        match next {
            Next::Request => {}
            Next::Close => break,
            Next::Linger => {
                Box::pin(connection.linger()).await;
                break;
            }
        }
    }
    poll_fn(|cx| connection.poll_close(cx)).await;
    Served::All(connection.requests)
}

/// Why a connection is served no longer.
pub(crate) enum Served {
    /// It has ended, after so many requests.
    All(u64),
    /// The proxy was replaced before the next request.
    Renewed(Box<Kept>),
    /// The client speaks HTTP/2.
    Http2(Reader),
}

/// What of a connection outlives the proxy that served it.
pub(crate) struct Kept {
    reader: Option<Reader>,
    timer: Timer,
    idle_since: Instant,
    requests: u64,
    unread: bool,
}

/// What happens with the connection after a request.
enum Next {
    Request,
    Close,
    /// Bytes of the client may still come in: closing at once would reset the answer away.
    Linger,
}

enum Heads {
    Request(ParsedRequest),
    Malformed(ErrorKind),
    Closed,
    /// It is none: the client speaks HTTP/2.
    Http2(Reader),
    /// Whatever comes next is the successor's.
    Renewed,
}

/// The wait for a head.
#[derive(Default)]
struct HeadWait {
    /// When its first byte was seen.
    started: Option<Instant>,
    /// What of the buffer is known not to hold a whole head.
    parsed_to: usize,
}

struct Connection<'a> {
    stream: Stream,
    /// `None` while a request body has it.
    reader: Option<Reader>,
    link: &'a Arc<Link>,
    shared: &'a Shared,
    draining: &'a Draining,
    timer: Timer,
    idle_since: Instant,
    requests: u64,
    /// Bytes of a refused request may still come in.
    unread: bool,
}

impl<'a> Connection<'a> {
    fn new(stream: Stream, link: &'a Arc<Link>, shared: &'a Shared, draining: &'a Draining) -> Self {
        let reader = Some(Reader::new(stream.clone()));
        Connection {
            stream,
            reader,
            link,
            shared,
            draining,
            timer: Timer::default(),
            idle_since: Instant::now(),
            requests: 0,
            unread: false,
        }
    }

    fn keep(&mut self) -> Box<Kept> {
        Box::new(Kept {
            reader: self.reader.take(),
            timer: std::mem::take(&mut self.timer),
            idle_since: self.idle_since,
            requests: self.requests,
            unread: self.unread,
        })
    }

    fn take_over(&mut self, kept: Kept) {
        let Kept { reader, timer, idle_since, requests, unread } = kept;
        self.stream.adopt();
        (self.reader, self.timer, self.idle_since) = (reader, timer, idle_since);
        (self.requests, self.unread) = (requests, unread);
    }

    /// Says that nothing more comes, where the stream has a word for it (TLS): without it the client
    /// cannot tell an end from a cut. A client that takes nothing in is not waited for.
    fn poll_close(&self, cx: &mut Task<'_>) -> Poll<()> {
        if !self.stream.is_tcp() {
            let _ = self.stream.poll_shutdown(cx);
        }
        Poll::Ready(())
    }

    async fn read_head(&mut self) -> Heads {
        let mut wait = HeadWait::default();
        poll_fn(|cx| self.poll_head(cx, &mut wait)).await
    }

    fn poll_head(&mut self, cx: &mut Task<'_>, wait: &mut HeadWait) -> Poll<Heads> {
        let Some(reader) = &mut self.reader else { return Poll::Ready(Heads::Closed) };
        loop {
            if self.draining.is_renewed(self.link) {
                return Poll::Ready(Heads::Renewed);
            }
            // Without a new line end there is no new head: bytes that drip in are not parsed again each time.
            let fresh = &reader.buffer.filled()[wait.parsed_to..];
            if wait.parsed_to == 0 && !fresh.is_empty()
                || fresh.contains(&b'\n')
                || reader.buffer.len() >= self.shared.limits.max_head_bytes
            {
                match parse::request(reader.buffer.filled(), &self.shared.limits) {
                    Ok(Some(parsed)) => {
                        reader.buffer.consume(parsed.consumed);
                        return Poll::Ready(Heads::Request(parsed));
                    }
                    Ok(None) => wait.parsed_to = reader.buffer.len(),
                    Err(kind) => match sniff(self.requests, self.link, self.shared, reader) {
                        Sniffed::Http2 => return Poll::Ready(self.reader.take().map_or(Heads::Closed, Heads::Http2)),
                        Sniffed::Maybe => wait.parsed_to = reader.buffer.len(),
                        Sniffed::Other => return Poll::Ready(Heads::Malformed(kind)),
                    },
                }
            }
            let partial = !reader.buffer.is_empty();
            match reader.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => continue,
                Poll::Ready(_) => return Poll::Ready(Heads::Closed),
                // Only now: a request that is here already is answered, not reset.
                Poll::Pending if !partial && self.draining.is_on() => {
                    return self.timer.poll_at(cx, self.idle_since + QUIET).map(|()| Heads::Closed);
                }
                Poll::Pending => {}
            }
            let timeouts = &self.shared.timeouts;
            let deadline = match partial {
                true => *wait.started.get_or_insert_with(Instant::now) + timeouts.head,
                false if self.requests == 0 => self.idle_since + timeouts.head,
                false => self.idle_since + timeouts.keep_alive,
            };
            return match self.timer.poll_at(cx, deadline) {
                Poll::Ready(()) if partial => Poll::Ready(Heads::Malformed(ErrorKind::HeadTimeout)),
                Poll::Ready(()) => Poll::Ready(Heads::Closed),
                Poll::Pending => Poll::Pending,
            };
        }
    }

    /// One request, from its head to the end of its response.
    async fn exchange(&mut self, parsed: ParsedRequest) -> Next {
        self.requests += 1;
        let answering = Asked::new(&parsed);
        let mut exchange = self.begin(&parsed);
        let options = parsed.options;
        let body = match self.body(&parsed) {
            Ok(body) => body,
            Err(kind) => {
                self.unread = true;
                let response = exchange.refuse(&kind.into());
                return Box::pin(self.answer(exchange, response, answering, false)).await;
            }
        };
        // A client that was refused a tunnel may have begun to use it.
        let connect = answering.method == Method::CONNECT;
        self.unread |= connect;
        let result = {
            let mut slot = Some(Request::new(parsed.head, body));
            self.run(&mut exchange, &mut slot, options).await
        };
        self.timer = std::mem::take(&mut exchange.ctx().timer);
        match result {
            Ok(response) => {
                let last =
                    self.draining.is_on() || self.shared.limits.max_requests_per_connection == Some(self.requests);
                let keep_alive = options.keep_alive && !last && !connect && !exchange.ends_connection();
                self.answer(exchange, response, answering, keep_alive).await
            }
            Err(ErrorKind::TotalTimeout) => {
                let response = exchange.refuse(&ErrorKind::TotalTimeout.into());
                Box::pin(self.answer(exchange, response, answering, false)).await
            }
            Err(kind) => {
                exchange.fail(kind);
                exchange.finish(Instant::now());
                Next::Close
            }
        }
    }

    fn begin(&mut self, parsed: &ParsedRequest) -> Exchange<&'a Shared> {
        let now = Instant::now();
        let mut ctx = crate::context::take(self.link, now);
        ctx.set_request(parsed.head.pristine());
        ctx.takes_interim = parsed.head.version() == Version::HTTP_11;
        ctx.timer = std::mem::take(&mut self.timer);
        ctx.clocks.deadline = self.shared.timeouts.total.map(|total| now + total);
        Exchange::new(self.shared, ctx)
    }

    /// The request's body; the reader goes with it where there is one.
    fn body(&mut self, parsed: &ParsedRequest) -> Result<Body, ErrorKind> {
        let max = self.shared.limits.max_body_bytes.unwrap_or(u64::MAX);
        match parsed.length {
            Length::Exact(0) => return Ok(Body::empty()),
            Length::Exact(length) if length > max => return Err(ErrorKind::BodyTooLarge),
            _ => {}
        }
        let Some(mut reader) = self.reader.take() else { return Ok(Body::empty()) };
        if parsed.expect_continue {
            reader.owe_continue();
        }
        let timeouts = &self.shared.timeouts;
        let pace = Pace { idle: timeouts.body_idle, min_rate: timeouts.min_body_rate };
        let decoder = Decoder::new(parsed.length);
        Ok(Body::raw(RawBody::new(Source::Client(reader), decoder, pace).with_allowance(max)))
    }

    /// Runs the request through filters and upstream, and watches the client meanwhile.
    async fn run(
        &mut self,
        exchange: &mut Exchange<&'a Shared>,
        request: &mut Option<Request>,
        options: Options,
    ) -> Result<Response, ErrorKind> {
        let deadline = exchange.ctx().clocks.deadline;
        // The connection's own timer is with the context, for the upstream's deadlines.
        let mut timer = Timer::default();
        let mut run = pin!(exchange.run(request, options));
        poll_fn(|cx| {
            if let Poll::Ready(response) = run.as_mut().poll(cx) {
                return Poll::Ready(Ok(response));
            }
            if self.client_left(cx) {
                return Poll::Ready(Err(ErrorKind::ClientGone));
            }
            match deadline.map(|at| timer.poll_at(cx, at)) {
                Some(Poll::Ready(())) => Poll::Ready(Err(ErrorKind::TotalTimeout)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Reads ahead while a request waits. The end of the client's side means that it left, unless
    /// half-closed clients are served.
    fn client_left(&mut self, cx: &mut Task<'_>) -> bool {
        self.take_home();
        let Some(reader) = &mut self.reader else { return false };
        while reader.buffer.len() < AHEAD && !reader.eof {
            match reader.poll_fill(cx) {
                Poll::Ready(Ok(0)) => return !self.shared.half_close,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return true,
                Poll::Pending => return false,
            }
        }
        reader.eof && !self.shared.half_close
    }

    /// Takes the reader back from a body that was read to its end.
    fn take_home(&mut self) {
        if self.reader.is_some() {
            return;
        }
        match self.stream.unpark() {
            Some(parked) if parked.decoder.is_end() => self.reader = Some(parked.reader),
            Some(parked) => self.stream.park(parked),
            None => {}
        }
    }

    /// Answers a head that cannot be served.
    async fn refuse(&mut self, kind: ErrorKind) -> Next {
        let mut exchange = Exchange::new(self.shared, crate::context::take(self.link, Instant::now()));
        let response = exchange.refuse(&kind.into());
        let asked = Asked { method: Method::GET, version: Version::HTTP_11 };
        self.answer(exchange, response, asked, false).await
    }

    /// Writes the response, beside what is left of the request body.
    async fn answer(
        &mut self,
        mut exchange: Exchange<&'a Shared>,
        mut response: Response,
        asked: Asked,
        mut keep_alive: bool,
    ) -> Next {
        keep_alive &= !self.must_close_after(exchange.ctx());
        let mut head = crate::scratch::take();
        let framing = encode::head(&mut response, &asked.answering(), &mut keep_alive, &mut head);
        let tunnel = response.take_tunnel();
        let mut relay = Relay::new(head, response.into_parts().1, framing);
        let result = self.relay(&mut exchange, &mut relay).await;
        exchange.sent(relay.sent());
        if relay.sent() == 0 {
            exchange.unanswered();
        }
        if let Err(kind) = result {
            exchange.fail(kind);
            exchange.finish(Instant::now());
            return Next::Close;
        }
        crate::scratch::give(relay.into_head());
        match tunnel {
            // Rare and large: boxed, so that an idle connection's task has no room for it.
            Some(upgraded) => Box::pin(self.tunnel(exchange, upgraded)).await,
            None => self.conclude(exchange, keep_alive).await,
        }
    }

    /// A body that nobody will read, and that is too large to be thrown away, ends the connection.
    fn must_close_after(&mut self, ctx: &mut Context) -> bool {
        self.take_home();
        if self.reader.is_some() {
            return false;
        }
        let upload = ctx.take_upload();
        let uploading = upload.is_some();
        ctx.set_upload(upload);
        if uploading {
            return false;
        }
        // It stays parked until the response is written: what is left of the body is no request.
        let Some(parked) = self.stream.unpark() else { return true };
        let too_much = self.is_too_much(&parked);
        self.stream.park(parked);
        too_much
    }

    fn is_too_much(&self, parked: &Parked) -> bool {
        let Parked { reader, decoder } = parked;
        let too_much = decoder.exact().is_some_and(|left| left > self.shared.limits.max_drain_bytes);
        too_much || (reader.owes_continue() && !decoder.is_end())
    }

    async fn relay(&mut self, exchange: &mut Exchange<&'a Shared>, relay: &mut Relay) -> Result<(), ErrorKind> {
        let mut upload = exchange.ctx().take_upload();
        let deadline = exchange.ctx().clocks.deadline;
        let mut stall: Option<(u64, Instant)> = None;
        let result = poll_fn(|cx| {
            if let Some(sending) = &mut upload
                && let Poll::Ready(result) = sending.poll(cx)
            {
                // A broken upload shows in the response, if it matters to it.
                exchange.ctx().received = sending.sent();
                upload = None;
                if let Err(error) = result
                    && error.fault() != crate::Fault::Upstream
                {
                    return Poll::Ready(Err(error));
                }
            }
            let mut waits = WaitsFor::Client;
            if let Poll::Ready(result) = relay.poll(cx, &self.stream, &mut waits) {
                return Poll::Ready(result);
            }
            self.poll_stall(cx, relay.sent(), waits, deadline, &mut stall)
        })
        .await;
        if let Some(sending) = upload {
            exchange.ctx().received = sending.sent();
        }
        result.map_err(|error| error.kind())
    }

    /// Ready with an error when the client takes nothing for too long, or the whole takes too long.
    fn poll_stall(
        &mut self,
        cx: &mut Task<'_>,
        sent: u64,
        waits: WaitsFor,
        deadline: Option<Instant>,
        stall: &mut Option<(u64, Instant)>,
    ) -> Poll<Result<()>> {
        if let Some(deadline) = deadline
            && self.timer.poll_at(cx, deadline).is_ready()
        {
            return Poll::Ready(Err(ErrorKind::TotalTimeout.into()));
        }
        if waits == WaitsFor::Body {
            *stall = None;
            return if self.client_left(cx) { Poll::Ready(Err(ErrorKind::ClientGone.into())) } else { Poll::Pending };
        }
        let since = match stall {
            Some((before, since)) if *before == sent => *since,
            _ => stall.insert((sent, Instant::now())).1,
        };
        match self.timer.poll_at(cx, since + self.shared.timeouts.write_idle) {
            Poll::Ready(()) => Poll::Ready(Err(ErrorKind::WriteTimeout.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The response is written: what becomes of the connection?
    async fn conclude(&mut self, exchange: Exchange<&'a Shared>, keep_alive: bool) -> Next {
        let now = Instant::now();
        if let Some(ctx) = exchange.finish(now) {
            crate::context::give(ctx);
        }
        self.idle_since = now;
        let unread = self.reader.is_none();
        if !unread {
            let ahead = self.unread || self.reader.as_ref().is_some_and(|reader| !reader.buffer.is_empty());
            return match (keep_alive, ahead) {
                (true, _) => Next::Request,
                (false, true) => Next::Linger,
                (false, false) => Next::Close,
            };
        }
        match self.unpark() {
            Some(None) if keep_alive => Next::Request,
            Some(Some(decoder)) if keep_alive => Box::pin(self.drain(decoder)).await,
            Some(_) => Next::Linger,
            None => Next::Close,
        }
    }

    /// Takes the reader back from a body that is done with. The decoder comes along where the body
    /// was not read to its end.
    fn unpark(&mut self) -> Option<Option<Decoder>> {
        let Parked { reader, decoder } = self.stream.unpark()?;
        self.reader = Some(reader);
        Some((!decoder.is_end()).then_some(decoder))
    }

    async fn drain(&mut self, mut decoder: Decoder) -> Next {
        let Some(reader) = &mut self.reader else { return Next::Close };
        let (mut left, deadline) =
            (self.shared.limits.max_drain_bytes, Instant::now() + self.shared.timeouts.body_idle);
        let timer = &mut self.timer;
        let drained = poll_fn(|cx| match drain::poll_drain(cx, reader, &mut decoder, &mut left) {
            Poll::Pending => timer.poll_at(cx, deadline).map(|()| false),
            ready => ready,
        })
        .await;
        if drained { Next::Request } else { Next::Linger }
    }

    async fn linger(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        let (mut left, deadline) = (self.shared.limits.max_drain_bytes, Instant::now() + LINGER);
        let (stream, timer, mut shut) = (&self.stream, &mut self.timer, false);
        poll_fn(|cx| {
            if !shut && stream.poll_shutdown(cx).is_ready() {
                shut = true;
            }
            match drain::poll_linger(cx, reader, &mut left) {
                Poll::Pending => timer.poll_at(cx, deadline),
                ready => ready,
            }
        })
        .await;
    }

    async fn tunnel(&mut self, mut exchange: Exchange<&'a Shared>, upgraded: Upgraded) -> Next {
        match self.reader.take() {
            Some(reader) => {
                tunnel::run(exchange, Tunnel::new(reader), upgraded, self.shared.timeouts.tunnel_idle).await;
            }
            None => {
                exchange.fail(ErrorKind::UnexpectedUpgrade);
                exchange.finish(Instant::now());
            }
        }
        Next::Close
    }
}

/// Whether what is no head of HTTP/1 is the beginning of HTTP/2. Over TLS that is agreed on before.
fn sniff(requests: u64, link: &Link, shared: &Shared, reader: &Reader) -> Sniffed {
    match requests == 0 && link.peer.tls.is_none() {
        true => http2::sniff(&shared.http2, reader.buffer.filled()),
        false => Sniffed::Other,
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.stream.abandon();
    }
}

/// What the response answers, kept while the request's head is away.
struct Asked {
    method: Method,
    version: Version,
}

impl Asked {
    fn new(parsed: &ParsedRequest) -> Self {
        Asked { method: parsed.head.method().clone(), version: parsed.head.version() }
    }

    fn answering(&self) -> Answering<'_> {
        Answering { method: &self.method, version: self.version }
    }
}
