//! What a program owns and a library does not: the runtime, the log, the signals.

use std::io::{self, IsTerminal};

use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

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
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
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
