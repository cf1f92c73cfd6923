//! What a client may do over HTTP/2.

/// What a client may do over HTTP/2. What [`Limits`](crate::Limits) and [`Timeouts`](crate::Timeouts) say
/// holds for its requests as for any other; this is about the connection that they share.
///
/// ```
/// let http2 = proxy_core::Http2 { max_streams: 32, ..Default::default() };
/// assert_eq!(http2.max_resets, 200);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Requests of one connection at a time; more are refused, and safe to send again. Default 128.
    pub max_streams: u32,
    /// What a client may send of one request body before it is taken, in bytes. Default 256 KiB.
    pub stream_window: u32,
    /// The same for all bodies of a connection together: the memory they can take. Default 1 MiB.
    pub connection_window: u32,
    /// Requests that a client may take back before they are answered; each answered one earns another, and so
    /// does each 50th of a second. Beyond, the connection is closed. Default 200.
    pub max_resets: u32,
    /// Frames that bring nothing (pings, settings, priorities, empty data) which a client may send at once.
    /// Requests, bodies and what it is sent earn more, and so does time: twice as many a minute. Beyond, the
    /// connection is closed. Default 2000.
    pub max_idle_frames: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Http2 {
            max_streams: 128,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            max_resets: 200,
            max_idle_frames: 2000,
        }
    }
}

/// A proxy's; `None` where it does not speak it.
#[derive(Clone, Debug)]
pub(crate) struct Settings(pub(crate) Option<Http2>);

impl Default for Settings {
    fn default() -> Self {
        Settings(Some(Http2::default()))
    }
}
