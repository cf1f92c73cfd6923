//! With hyper: its server on the one side, its upgraded streams on the other.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Extensions, Method, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;
use tower_service::Service;

use crate::clock::Instant;
use crate::http1::{client, parse};
use crate::message::Upgraded;
use crate::pool::{Connection, Lease};
use crate::proxy::{Exchange, tunnel};
use crate::relay::End;
use crate::{Body, Error, ErrorKind, Limits, Response, Result, upstream};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What lies between the two sides of a tunnel into a service, in bytes each way. It is held as long
/// as the tunnel is: large enough for a WebSocket's usual messages, small enough for thousands.
const ROOM: usize = 16 * 1024;

/// Its bytes went through hyper: they are copied.
impl End for TokioIo<hyper::upgrade::Upgraded> {}

/// A request that hyper takes for an upgrade. The service never sees it.
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nhost: proxy\r\nconnection: upgrade\r\nupgrade: any\r\n\r\n";
/// The same for CONNECT, whose answer is a 2xx.
const CONNECT: &[u8] = b"CONNECT proxy:1 HTTP/1.1\r\nhost: proxy:1\r\n\r\n";

/// The client's stream, once the server in front has written the response.
pub(crate) struct ClientUpgrade(OnUpgrade);

impl ClientUpgrade {
    /// What a hyper server left with its request.
    pub(crate) fn take(extensions: &mut Extensions) -> Option<Self> {
        extensions.remove().map(ClientUpgrade)
    }

    /// Runs the tunnel in a task of its own: the server is done with the request when it has written
    /// the response.
    pub(crate) fn tunnel(self, mut exchange: Exchange, upgraded: Upgraded, idle: Duration) {
        tokio::spawn(async move {
            match tokio::time::timeout(idle, self.0).await {
                Ok(Ok(client)) => tunnel::run(exchange, TokioIo::new(client), upgraded, idle).await,
                // The client left before it had the response, or a layer sent it another one.
                Ok(Err(_)) | Err(_) => {
                    exchange.fail(ErrorKind::ClientGone);
                    exchange.finish(Instant::now());
                }
            }
        });
    }
}

/// Calls the service with an upgrade on offer. Where it accepts, the response has the stream.
///
/// A hyper server on a stream in memory makes the offer, since nobody else can. Only that goes over
/// the stream: request and response are handed over as they are.
pub(crate) async fn call<S, B>(service: S, mut request: http::Request<Body>) -> Result<Response>
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Send,
    S::Future: Send,
    S::Error: Into<Source>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Source>,
{
    let method = request.method().clone();
    let (mut ours, theirs) = tokio::io::duplex(ROOM);
    let asked = if method == Method::CONNECT { CONNECT } else { UPGRADE };
    ours.write_all(asked).await.map_err(failed)?;

    let (offer, mut offered) = oneshot::channel();
    let (accept, accepted) = oneshot::channel();
    let seat = Mutex::new(Some((offer, accepted)));
    let server = service_fn(|request| answer(seat.lock().unwrap_or_else(PoisonError::into_inner).take(), request));
    let mut serving = pin!(http1::Builder::new().serve_connection(TokioIo::new(theirs), server).with_upgrades());
    let offered = tokio::select! {
        biased;
        offered = &mut offered => offered.map_err(failed)?,
        ended = &mut serving => return Err(ended.err().map_or_else(|| ErrorKind::ServiceFailed.into(), failed)),
    };

    request.extensions_mut().insert::<OnUpgrade>(offered);
    let response = upstream::call(service, request).await?;
    let status = response.head().status();
    if !client::opens_tunnel(&method, status) {
        return Ok(response);
    }
    let _ = accept.send(status);
    serving.await.map_err(failed)?;
    Ok(response.with_tunnel(behind_head(ours).await?))
}

type Seat = (oneshot::Sender<OnUpgrade>, oneshot::Receiver<StatusCode>);

/// Hands the offer out, and answers as the service does.
async fn answer(seat: Option<Seat>, request: http::Request<Incoming>) -> io::Result<http::Response<Empty<Bytes>>> {
    let (offer, accepted) = seat.ok_or(io::ErrorKind::NotConnected)?;
    let _ = offer.send(hyper::upgrade::on(request));
    let mut response = http::Response::new(Empty::new());
    *response.status_mut() = accepted.await.map_err(io::Error::other)?;
    Ok(response)
}

/// The stream, behind the head that hyper wrote.
async fn behind_head(stream: DuplexStream) -> Result<Lease> {
    let mut connection = Connection::new(stream);
    let reader = connection.reader();
    loop {
        if poll_fn(|cx| reader.poll_fill(cx)).await.map_err(failed)? == 0 {
            return Err(ErrorKind::ServiceFailed.into());
        }
        if let Some(head) = parse::response(reader.buffer.filled(), &Limits::default())? {
            reader.buffer.consume(head.consumed);
            return Ok(Lease::once(connection));
        }
    }
}

fn failed(error: impl Into<Source>) -> Error {
    Error::new(ErrorKind::ServiceFailed).with_source(error)
}
