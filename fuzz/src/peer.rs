//! hyper's view of the same bytes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request as HyperRequest, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use crate::strict::{Fields, Request};
use crate::{connection, forwarded};

/// hyper's server finds these requests in these bytes, each of them as it is, in order, and no other.
/// It may stop early: it has its own mind about some methods, targets and fields.
pub(crate) fn check(bytes: &[u8], expected: &[Request]) -> Result<(), String> {
    let seen = connection::runtime().block_on(serve(bytes));
    match seen.len() <= expected.len() {
        true => compare(&seen, expected),
        false => Err(format!("hyper sees {seen:?}, we {expected:?}")),
    }
}

/// The same where hyper may go on behind what we refuse.
pub(crate) fn check_first(bytes: &[u8], expected: &[Request]) -> Result<(), String> {
    compare(&connection::runtime().block_on(serve(bytes)), expected)
}

fn compare(seen: &[Seen], expected: &[Request]) -> Result<(), String> {
    match seen.iter().zip(expected).find(|(seen, expected)| !seen.is(expected)) {
        None => Ok(()),
        Some((seen, expected)) => Err(format!("hyper sees {seen:?}, we {expected:?}")),
    }
}

/// A request as hyper's server saw it.
#[derive(Debug)]
struct Seen {
    method: String,
    /// Path and query.
    target: String,
    fields: Fields,
    /// `None` where it was not whole.
    body: Option<Bytes>,
}

impl Seen {
    fn new(parts: &Parts, body: Option<Bytes>) -> Self {
        let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let fields = parts.headers.iter().map(|(name, value)| (name.as_str().into(), value.as_bytes().to_vec()));
        Seen { method: parts.method.to_string(), target, fields: sorted(fields.collect()), body }
    }

    fn is(&self, request: &Request) -> bool {
        let target = forwarded::origin_form(&request.target, &request.method);
        // `http::Uri` cannot say the target of `OPTIONS http://h`.
        let same_target = target == b"*" || target == self.target.as_bytes();
        self.method.as_bytes() == request.method
            && same_target
            && self.fields == sorted(request.fields.clone())
            && self.body.as_deref() == request.body.as_deref()
    }
}

/// By name, with the fields of one name in their order.
fn sorted(mut fields: Fields) -> Fields {
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

async fn serve(bytes: &[u8]) -> Vec<Seen> {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let (mut client, server) = tokio::io::duplex(bytes.len() + 64 * 1024);
    client.write_all(bytes).await.expect("there is room for all of it");
    client.shutdown().await.expect("an in-memory stream shuts down");
    let record = Arc::clone(&seen);
    let service = service_fn(move |request: HyperRequest<Incoming>| {
        let record = Arc::clone(&record);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.ok().map(http_body_util::Collected::to_bytes);
            record.lock().unwrap_or_else(PoisonError::into_inner).push(Seen::new(&parts, body));
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
