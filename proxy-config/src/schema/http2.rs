//! HTTP/2 with clients.

use crate::decode::Cursor;
use crate::values::size::memory_size;

/// `listeners.<name>.http.http2`: `false`, or limits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Http2 {
    /// It is spoken with clients that begin with its preface or agree on it by ALPN.
    On(Http2Limits),
    /// It is not.
    Off,
}

impl Default for Http2 {
    fn default() -> Self {
        Http2::On(Http2Limits::default())
    }
}

/// What a client may do over HTTP/2: windows are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Http2Limits {
    /// `max_streams`: requests of a connection at a time; 1 to 10,000.
    pub max_streams: Option<u32>,
    /// `stream_window`: of one request body; 16 KiB to 1 GiB.
    pub stream_window: Option<u32>,
    /// `connection_window`: of all request bodies of a connection; 64 KiB to 1 GiB.
    pub connection_window: Option<u32>,
    /// `max_resets`: requests that a client may take back; at least 1.
    pub max_resets: Option<u32>,
    /// `max_idle_frames`: frames that bring nothing; at least 100.
    pub max_idle_frames: Option<u32>,
}

const MAX_WINDOW: usize = 1 << 30;

pub(super) fn http2(cursor: Cursor<'_>) -> Option<Http2> {
    if cursor.is_false() {
        return Some(Http2::Off);
    }
    cursor.object("false or an object", |fields| {
        Some(Http2::On(Http2Limits {
            max_streams: fields.optional("max_streams", |cursor| cursor.integer(1..=10_000)),
            stream_window: fields.optional("stream_window", |cursor| window(cursor, 16)),
            connection_window: fields.optional("connection_window", |cursor| window(cursor, 64)),
            max_resets: fields.optional("max_resets", |cursor| cursor.integer(1..=1_000_000)),
            max_idle_frames: fields.optional("max_idle_frames", |cursor| cursor.integer(100..=1_000_000)),
        }))
    })
}

/// At least so many KiB.
pub(super) fn window(cursor: Cursor<'_>, least: usize) -> Option<u32> {
    match memory_size(cursor)? {
        size if (least * 1024..=MAX_WINDOW).contains(&size) => u32::try_from(size).ok(),
        _ => cursor.fail(format!("must be {least}KiB to 1GiB")),
    }
}
