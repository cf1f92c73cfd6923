use std::time::Duration;

/// How a relay behaves. The default has no timeouts and buffers of 64 KiB.
///
/// ```
/// use proxy_zerocopy::Options;
/// use std::time::Duration;
///
/// let options = Options::new().idle_timeout(Duration::from_secs(300)).buffer_size(16 * 1024);
/// assert_eq!(options.buffer_size, 16 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The relay ends once no byte has moved in either direction for this long.
    /// `None`, the default, waits forever.
    pub idle_timeout: Option<Duration>,
    /// The relay ends this long after its first poll, whatever moves. `None`, the default, sets no end.
    pub lifetime: Option<Duration>,
    /// Bytes taken from one side at a time, per direction; 0 counts as 1. Default: 64 KiB.
    /// Spliced bytes need no buffer, so [`copy_tcp_bidirectional`](crate::copy_tcp_bidirectional)
    /// ignores this.
    pub buffer_size: usize,
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Options::idle_timeout`]; `None` waits forever.
    #[must_use]
    pub fn idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = limit.into();
        self
    }

    /// Sets [`Options::lifetime`]; `None` sets no end.
    #[must_use]
    pub fn lifetime(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.lifetime = limit.into();
        self
    }

    /// Sets [`Options::buffer_size`], in bytes.
    #[must_use]
    pub fn buffer_size(mut self, bytes: usize) -> Self {
        self.buffer_size = bytes;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { idle_timeout: None, lifetime: None, buffer_size: crate::buffer::DEFAULT_SIZE }
    }
}
