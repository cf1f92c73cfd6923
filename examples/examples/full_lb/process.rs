//! What a program owns and a library does not: the runtime, the log, the signals.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use proxy_metrics::Logging;
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// One worker needs no other thread, nor what it costs to share work with one.
pub(crate) fn runtime(workers: usize) -> io::Result<Runtime> {
    match workers {
        1 => runtime::Builder::new_current_thread().enable_all().build(),
        _ => runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    }
}

/// `RUST_LOG`, or else what happens beside requests.
pub(crate) fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(filter).with(lines).init();
    let _ = LEVEL.set(handle);
}

/// There is one log, and who changes it does so whenever it likes.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// What is logged, for the administration interface.
pub(crate) struct Level;

impl Logging for Level {
    fn level(&self) -> String {
        LEVEL.get().and_then(|level| level.with_current(ToString::to_string).ok()).unwrap_or_default()
    }

    fn set_level(&self, level: &str) -> Result<(), String> {
        let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
        let handle = LEVEL.get().ok_or("there is no log")?;
        handle.reload(filter).map_err(|error| error.to_string())
    }
}

/// Ready after so many of SIGTERM and SIGINT, counted from the call on.
pub(crate) fn signals(count: usize) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for _ in 0..count {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
    })
}
