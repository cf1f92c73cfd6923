//! A line for each request.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use proxy_core::{Context, Filter, Observer, Outcome};

use crate::metrics::{LogCounts, Metrics};

mod escape;
mod field;
mod format;
mod number;
mod queue;
mod sink;
mod time;
mod wanted;

pub use format::{LogFormat, TemplateError};

use queue::Queue;
use sink::Sink;
use wanted::Wanted;

/// A line for each request: a cheap handle to a buffer in memory and to the thread that empties it.
///
/// A request puts its line into the buffer and goes on; it never waits for the file, the pipe or the
/// daemon behind it. Where they are too slow, or fail, lines are lost and counted:
/// [`dropped`](Self::dropped), and in the [`Metrics`] it was given.
///
/// It observes a proxy, or stands in it as a filter, where it sees the requests of that place only:
///
/// ```
/// use proxy_core::{Proxy, Route};
/// use proxy_metrics::{AccessLog, LogFormat, LogTarget, Metrics};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::temp_dir().join(format!("access-{}.log", std::process::id()));
/// let metrics = Metrics::new();
/// let log = AccessLog::builder(LogFormat::json()).metrics(&metrics).open(LogTarget::File(path.clone()))?;
/// let proxy = Proxy::builder().observer((metrics.listener("web"), log.clone()));
/// // On SIGUSR1, once a file has been moved away: log.reopen();
/// # let _ = (proxy, Route::to("x"));
/// # drop(log);
/// # std::fs::remove_file(path)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AccessLog(Arc<Shared>);

struct Shared {
    format: LogFormat,
    wanted: Wanted,
    random: AtomicU64,
    queue: Arc<Queue>,
    counts: Arc<LogCounts>,
}

/// Where the lines go.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogTarget {
    /// To the end of this file; it is made where there is none.
    File(PathBuf),
    /// To the standard output of the process.
    Stdout,
    /// To the daemon behind this socket, usually `/dev/log`, as RFC 5424 has it: facility local7, severity
    /// informational. It may be restarted.
    Syslog(PathBuf),
    /// Wherever this writes.
    Writer(Writer),
}

/// A writer of one's own, for [`LogTarget::Writer`].
pub struct Writer(pub(crate) Box<dyn io::Write + Send>);

impl LogTarget {
    /// Wherever this writes. It may block: another thread calls it.
    pub fn writer(writer: impl io::Write + Send + 'static) -> Self {
        LogTarget::Writer(Writer(Box::new(writer)))
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

/// Makes an [`AccessLog`].
#[derive(Debug)]
pub struct AccessLogBuilder {
    format: LogFormat,
    wanted: Wanted,
    seed: u64,
    buffer: usize,
    flush: Duration,
    metrics: Option<Metrics>,
}

impl AccessLogBuilder {
    /// Logs only this share of the requests, 0 to 1. Those that failed, or were answered with 5xx, are
    /// logged always. Default: 1.
    #[must_use]
    pub fn sample(mut self, share: f64) -> Self {
        self.wanted.sample(share);
        self
    }

    /// Logs requests that took as long always.
    #[must_use]
    pub fn slow(mut self, slow: Duration) -> Self {
        self.wanted.slow(slow);
        self
    }

    /// Logs requests that were answered with one of these always. May be called again for others.
    #[must_use]
    pub fn always(mut self, statuses: RangeInclusive<u16>) -> Self {
        self.wanted.always(statuses);
        self
    }

    /// Leaves out requests for this path, the query aside, unless they failed: those of a health check, say.
    /// `/static/*` is every path that begins with `/static/`. May be called again for others.
    #[must_use]
    pub fn except(mut self, path: impl Into<String>) -> Self {
        self.wanted.except(path.into());
        self
    }

    /// Makes sampling repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many bytes of lines may wait to be written. Default 4 MiB: some seconds of most servers.
    #[must_use]
    pub fn buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes;
        self
    }

    /// How long a line may wait for others to be written with. Default 100 ms.
    #[must_use]
    pub fn flush_every(mut self, time: Duration) -> Self {
        self.flush = time;
        self
    }

    /// Counts lines and losses there.
    #[must_use]
    pub fn metrics(mut self, metrics: &Metrics) -> Self {
        self.metrics = Some(metrics.clone());
        self
    }

    /// Opens the target, and starts the thread that writes to it. The thread ends when the last handle is
    /// dropped and all lines are written.
    ///
    /// # Errors
    /// If a file cannot be opened or made, or no thread be started. A daemon need not listen yet.
    pub fn open(self, target: LogTarget) -> io::Result<AccessLog> {
        let sink = Sink::open(target)?;
        let counts = match &self.metrics {
            Some(metrics) => metrics.count_log(),
            None => Arc::default(),
        };
        let queue = Arc::new(Queue::new(self.buffer, self.flush));
        let (queued, counted) = (Arc::clone(&queue), Arc::clone(&counts));
        let metrics = self.metrics;
        std::thread::Builder::new().name("access-log".into()).spawn(move || {
            queued.write_to(sink, &counted);
            if let Some(metrics) = metrics {
                metrics.log_ended(&counted);
            }
        })?;
        let random = AtomicU64::new(self.seed);
        let (format, wanted) = (self.format, self.wanted);
        Ok(AccessLog(Arc::new(Shared { format, wanted, random, queue, counts })))
    }
}

impl AccessLog {
    /// Starts a log with lines of this format.
    pub fn builder(format: LogFormat) -> AccessLogBuilder {
        AccessLogBuilder {
            format,
            wanted: Wanted::default(),
            seed: 0,
            buffer: 4 << 20,
            flush: Duration::from_millis(100),
            metrics: None,
        }
    }

    /// Opens the file anew, for those who have moved it away; soon, in the thread that writes. Lines that
    /// were logged before go to the old one.
    pub fn reopen(&self) {
        self.0.queue.reopen();
    }

    /// Blocks until what was logged so far is written, or `within` has passed; says whether it was. For the
    /// end of a program.
    pub fn flush(&self, within: Duration) -> bool {
        self.0.queue.flush(within)
    }

    /// Lines that were made: those written, those that wait, those [`dropped`](Self::dropped).
    pub fn lines(&self) -> u64 {
        self.0.counts.lines.load(Ordering::Relaxed)
    }

    /// Lines that were lost.
    pub fn dropped(&self) -> u64 {
        self.0.counts.dropped.load(Ordering::Relaxed)
    }

    fn log(&self, outcome: &Outcome, context: &Context) {
        if self.0.wanted.wants(outcome, context, || self.0.draw()) {
            self.0.log(outcome, context, SystemTime::now());
        }
    }
}

thread_local! {
    /// Where this thread makes its lines.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A line longer than this is not kept in memory for the next one.
const USUAL_LINE: usize = 8 * 1024;

impl Shared {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn draw(&self) -> u64 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn log(&self, outcome: &Outcome, context: &Context, now: SystemTime) {
        let _ = LINE.try_with(|line| {
            let mut line = line.borrow_mut();
            line.clear();
            self.format.write(&mut line, outcome, context, now);
            line.push(b'\n');
            self.counts.lines.fetch_add(1, Ordering::Relaxed);
            if !self.queue.push(&line) {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
            line.shrink_to(USUAL_LINE);
        });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Observer for AccessLog {
    fn on_request_ended(&self, outcome: &Outcome, context: &Context) {
        self.log(outcome, context);
    }

    /// A raw connection, and a session of datagrams, has a line too: what it has no field for is empty.
    fn on_relayed(&self, outcome: &Outcome, context: &Context) {
        self.log(outcome, context);
    }
}

impl Filter for AccessLog {
    fn on_done(&self, outcome: &Outcome, context: &Context) {
        self.log(outcome, context);
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("format", &self.0.format).finish_non_exhaustive()
    }
}
