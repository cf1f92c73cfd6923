//! A backend is well if it says so by the health protocol of gRPC.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use proxy_core::{
    Backend, Body, ClientHandshake, Connector, Error, Request, RequestHead, Response, SharedPool, UpstreamHttp2,
};

use super::http::{explain, pool, send};
use super::{Check, CheckFailure};

/// The path of `grpc.health.v1.Health/Check`.
const PATH: &str = "/grpc.health.v1.Health/Check";
/// What an answer may have: the one that there is has two bytes behind its head.
const MAX_ANSWER: usize = 4096;
/// The length of a message's head: whether it is compressed, and its length.
const HEAD: usize = 5;
/// `SERVING`, of `HealthCheckResponse.ServingStatus`.
const SERVING: u64 = 1;

/// A backend is well if it says so by the [health protocol of gRPC](https://github.com/grpc/grpc/blob/master/doc/health-checking.md):
/// `grpc.health.v1.Health/Check` answers `SERVING`.
///
/// It is asked over HTTP/2, and the connection is kept for the next question.
///
/// ```
/// use proxy_lb::GrpcCheck;
///
/// let server = GrpcCheck::new()?;
/// let service = GrpcCheck::new()?.service("shop.v1.Orders");
/// # let _ = (server, service);
/// # Ok::<(), proxy_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GrpcCheck {
    head: RequestHead,
    message: Arc<[u8]>,
    tls: Option<Arc<dyn ClientHandshake>>,
    pool: SharedPool,
}

impl GrpcCheck {
    /// Asks for the health of the server.
    ///
    /// # Errors
    /// Never: its path is legal.
    pub fn new() -> Result<Self, Error> {
        let mut head = RequestHead::new(Method::POST, PATH)?;
        let fields = [(CONTENT_TYPE, "application/grpc"), (TE, "trailers"), (USER_AGENT, "proxy-lb health check")];
        for (name, value) in fields {
            head.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(GrpcCheck { head, message: question("").into(), tls: None, pool: pool(None) })
    }

    /// Asks for that of this service.
    #[must_use]
    pub fn service(mut self, name: &str) -> Self {
        self.message = question(name).into();
        self
    }

    /// The authority it asks. Default: the address.
    #[must_use]
    pub fn host(mut self, host: HeaderValue) -> Self {
        self.head.headers_mut().insert(HOST, host);
        self
    }

    /// Speaks TLS to the backends, as traffic does.
    #[must_use]
    pub fn tls(mut self, handshake: impl ClientHandshake) -> Self {
        self.tls = Some(Arc::new(handshake));
        self
    }

    /// Connects in this way.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.pool = pool(Some(connector));
        self
    }
}

#[async_trait]
impl Check for GrpcCheck {
    async fn check(&self, backend: &Backend) -> Result<(), CheckFailure> {
        let request = Request::new(self.head.clone(), Body::full(self.message.to_vec()));
        let response = send(backend, request, UpstreamHttp2::Always, self.tls.as_ref(), &self.pool).await?;
        judge(response).await
    }
}

async fn judge(response: Response) -> Result<(), CheckFailure> {
    let (head, body) = response.into_parts();
    if head.status() != StatusCode::OK {
        return Err(CheckFailure::new(format!("status {}", head.status().as_u16())));
    }
    // Where there is no message, the head is all there is.
    if let Some(status) = head.headers().get_str("grpc-status") {
        ended_well(status, head.headers().get_str("grpc-message"))?;
    }
    let (message, trailers) = read(body).await?;
    let field = |name| trailers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    ended_well(field("grpc-status").unwrap_or("missing"), field("grpc-message"))?;
    match status(&message).ok_or_else(|| CheckFailure::new("the answer is no HealthCheckResponse"))? {
        SERVING => Ok(()),
        0 => Err(CheckFailure::new("UNKNOWN")),
        2 => Err(CheckFailure::new("NOT_SERVING")),
        3 => Err(CheckFailure::new("SERVICE_UNKNOWN")),
        other => Err(CheckFailure::new(format!("serving status {other}"))),
    }
}

fn ended_well(status: &str, message: Option<&str>) -> Result<(), CheckFailure> {
    match (status, message) {
        ("0", _) => Ok(()),
        (status, None) => Err(CheckFailure::new(format!("grpc-status {status}"))),
        (status, Some(message)) => Err(CheckFailure::new(format!("grpc-status {status}: {message}"))),
    }
}

async fn read(body: Body) -> Result<(Vec<u8>, HeaderMap), CheckFailure> {
    let (mut message, mut trailers, mut body) = (Vec::new(), HeaderMap::new(), pin!(body));
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame.map_err(|error| explain(&error))?.into_data() {
            Ok(data) if message.len() + data.len() > MAX_ANSWER => return Err(CheckFailure::new("a long answer")),
            Ok(data) => message.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok((message, trailers))
}

// Two messages of protocol buffers, of one field each: that is not worth a library.

/// `HealthCheckRequest { service }`, with a message's head.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | 2); // the first field, of a length
        write_varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let length = (message.len() as u32).to_be_bytes();
    [&[0][..], &length, &message].concat()
}

/// The status in a `HealthCheckResponse` with its head; `None` where it is none.
fn status(bytes: &[u8]) -> Option<u64> {
    let (head, mut message) = bytes.split_at_checked(HEAD)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?);
    if head[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    // What is left out is 0.
    let mut status = 0;
    while !message.is_empty() {
        let key = read_varint(&mut message)?;
        let value = read_value(key & 7, &mut message)?;
        if key >> 3 == 1 && key & 7 == 0 {
            status = value;
        }
    }
    Some(status)
}

/// A field's number, or 0 for one that is skipped.
fn read_value(kind: u64, bytes: &mut &[u8]) -> Option<u64> {
    let skipped = match kind {
        0 => return read_varint(bytes),
        1 => 8,
        2 => read_varint(bytes)?,
        5 => 4,
        _ => return None,
    };
    *bytes = bytes.get(usize::try_from(skipped).ok()?..)?;
    Some(0)
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_a_message() {
        assert_eq!(question(""), [0; 5]);
        assert_eq!(question("a.B"), b"\0\0\0\0\x05\x0a\x03a.B");
        let long = question(&"x".repeat(300));
        assert_eq!((&long[..8], long.len()), (&b"\0\0\0\x01\x2f\x0a\xac\x02"[..], 308));
    }

    #[test]
    fn the_answer_is_read_and_nothing_else_is_one() {
        let check = |bytes: &[u8], expected| assert_eq!(status(bytes), expected, "{bytes:?}");
        check(b"\0\0\0\0\x02\x08\x01", Some(1));
        check(b"\0\0\0\0\x02\x08\x02", Some(2));
        check(b"\0\0\0\0\0", Some(0));
        check(b"\0\0\0\0\x07\x12\x01x\x08\x01\x18\x07", Some(1)); // fields of a later version
        check(b"\0\0\0\0\x03\x08\x81\x00", Some(1));
        check(b"\0\0\0\0\x04\x08\x01\x08\x03", Some(3)); // the last one counts
        for wrong in [
            &b""[..],
            b"\0\0\0\0",
            b"\0\0\0\0\x02\x08",
            b"\0\0\0\0\x03\x08\x01",
            b"\x01\0\0\0\x02\x08\x01",
            b"\0\0\0\0\x02\x08\x80",
            b"\0\0\0\0\x02\x0a\x05",
            b"\0\0\0\0\x01\x0b",
            b"\0\xff\xff\xff\xff\x08\x01",
            b"\0\0\0\0\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            check(wrong, None);
        }
    }
}
