//! hyper's view of the same bytes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use proxy_core::fuzzing::Head;
use tokio::io::AsyncWriteExt;

/// A request as hyper's server saw it: method, path and the length of its body, where that was whole.
pub(crate) type Seen = (String, String, Option<usize>);

/// Behind an accepted head comes its body and another request: hyper must find both, or refuse.
pub(crate) fn check_framing(bytes: &[u8], head: &Head) -> Result<(), String> {
    let length = head.length.unwrap_or(0);
    if length > 4096 || head.start.0 == "CONNECT" {
        return Ok(());
    }
    let body = if head.chunked { b"3\r\nabc\r\n0\r\n\r\n".to_vec() } else { vec![b'A'; length as usize] };
    let sentinel: &[u8] = b"GET /sentinel HTTP/1.1\r\nHost: s\r\n\r\n";
    let seen = requests(&[bytes, &body, sentinel].concat());
    let expected = if head.chunked { 3 } else { length as usize };
    match &seen[..] {
        // hyper has its own mind about some methods and targets.
        [] => Ok(()),
        [(method, _, length), rest @ ..] if *method == head.start.0 && *length == Some(expected) => match rest {
            [(_, path, _)] if path == "/sentinel" => Ok(()),
            [] => Ok(()),
            _ => Err(format!("hyper sees {seen:?} behind {head:?}")),
        },
        _ => Err(format!("hyper sees {seen:?}, we {head:?}")),
    }
}

/// The requests that hyper's server finds in these bytes.
pub(crate) fn requests(bytes: &[u8]) -> Vec<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without a driver").block_on(serve(bytes))
}

async fn serve(bytes: &[u8]) -> Vec<Seen> {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let (mut client, server) = tokio::io::duplex(bytes.len() + 64 * 1024);
    client.write_all(bytes).await.expect("there is room for all of it");
    client.shutdown().await.expect("an in-memory stream shuts down");
    let record = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        let record = Arc::clone(&record);
        async move {
            let start = (request.method().to_string(), request.uri().path().to_owned());
            let body = request.into_body().collect().await.ok().map(|body| body.to_bytes().len());
            record.lock().unwrap_or_else(PoisonError::into_inner).push((start.0, start.1, body));
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    // Malformed bytes end the connection with an error, which is hyper's answer.
    let _ = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(server), service)
        .await;
    drop(client);
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *seen)
}
