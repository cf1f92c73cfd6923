//! Tells systemd how things are. Where it did not start this process, nothing is told to nobody.

use std::future::pending;

use sd_notify::NotifyState;

/// This process serves; whichever it was before, it is the main one now.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
}

/// A file is being read; [`ready`] follows.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "systemd is not told of the reload"),
    }
}

/// The unit stops. Not for a process that another has taken over from.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Shows that the runtime runs, twice in the time after which systemd would kill it (`WatchdogSec=`).
pub(crate) async fn watchdog() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return pending().await };
    loop {
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(patience / 2).await;
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}
