//! Files that are read anew when they change.

use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How often a file is looked at.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// Looks at a file every second and has it read anew when it has changed, on a thread for blocking work. One
/// that is away for a moment is left alone. It ends when it is dropped, or `reload` panics.
pub(crate) async fn watch<E>(path: &Path, reload: impl Fn() -> Result<(), E> + Clone + Send + 'static)
where
    E: Display + Send + 'static,
{
    let mut seen = stamp(path);
    loop {
        tokio::time::sleep(PERIOD).await;
        let now = stamp(path);
        if now.is_none() || now == seen {
            continue;
        }
        seen = now;
        match tokio::task::spawn_blocking(reload.clone()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "not read anew: what was read before stays"),
            Err(_) => return,
        }
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
