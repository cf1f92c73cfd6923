//! The signals that stop a server.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ready after so many of SIGTERM and SIGINT, counted from the call on.
pub(crate) fn after(count: usize) -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for _ in 0..count {
            tokio::select! {
                _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
                _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
            }
        }
    })
}
