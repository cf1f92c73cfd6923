//! The head of a response.

use std::fmt;

use http::{Extensions, StatusCode, Version};

use super::Headers;
use super::raw::{SharedHead, Start};

/// The head of a response: status, reason phrase, version and fields.
#[derive(Clone)]
pub struct ResponseHead {
    headers: Headers,
    status: Option<StatusCode>,
    extensions: Extensions,
}

impl ResponseHead {
    /// A head with no fields.
    pub fn new(status: StatusCode) -> Self {
        let built = SharedHead::build(|raw| {
            write_status_line(status, &mut raw.bytes);
            raw.line_end = raw.bytes.len() as u32;
            raw.start = Start::Response { status };
            Ok::<(), std::convert::Infallible>(())
        });
        match built {
            Ok(raw) => ResponseHead::from_raw(raw),
            Err(never) => match never {},
        }
    }

    pub(crate) fn from_raw(raw: SharedHead) -> Self {
        ResponseHead { headers: Headers::new(raw), status: None, extensions: Extensions::new() }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        match (self.status, &self.headers.raw().start) {
            (Some(status), _) => status,
            (None, Start::Response { status }) => *status,
            _ => StatusCode::OK,
        }
    }

    /// Sends another status; the reason phrase becomes the usual one.
    pub fn set_status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The version the upstream spoke.
    pub fn version(&self) -> Version {
        self.headers.raw().version
    }

    /// The fields.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The fields, to be edited.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// What plugins attach to this head.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// What plugins attach to this head, to be changed.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// Writes status line and fields, without the empty line.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        let raw = self.headers.raw();
        match self.status {
            Some(status) => write_status_line(status, out),
            None if raw.version == Version::HTTP_11 => out.extend_from_slice(&raw.bytes[..raw.line_end as usize]),
            None => {
                // An HTTP/1.0 origin: the version is ours, code and reason are the origin's.
                out.extend_from_slice(b"HTTP/1.1");
                out.extend_from_slice(&raw.bytes[b"HTTP/1.x".len()..raw.line_end as usize]);
            }
        }
        self.headers.write_to(out);
    }
}

fn write_status_line(status: StatusCode, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status())
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
