//! What is left of a request body when its response begins.

use std::task::{Context as Task, Poll};

use crate::Result;
use crate::{http1, http2};

/// A request body on its way to a backend; polled beside the response.
#[derive(Debug)]
pub(crate) enum Upload {
    Http1(http1::upload::Upload),
    #[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "nobody speaks it"))]
    Http2(Box<http2::client::Upload>),
}

impl Upload {
    /// Ready when everything is sent.
    pub(crate) fn poll(&mut self, cx: &mut Task<'_>) -> Poll<Result<()>> {
        match self {
            Upload::Http1(upload) => upload.poll(cx),
            Upload::Http2(upload) => upload.poll(cx),
        }
    }

    /// Bytes of the body taken so far.
    pub(crate) fn sent(&self) -> u64 {
        match self {
            Upload::Http1(upload) => upload.sent(),
            Upload::Http2(upload) => upload.sent(),
        }
    }
}
