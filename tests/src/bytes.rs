//! Messages that tests send.

/// The least request.
pub const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A `200 OK` with this body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A response of this status without a body.
pub fn status(code: u16) -> String {
    format!("HTTP/1.1 {code} Status\r\nContent-Length: 0\r\n\r\n")
}

/// A POST with this body.
pub fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
