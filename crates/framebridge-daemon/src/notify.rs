//! Words to the service manager that started us. Without one (no `NOTIFY_SOCKET`) each says nothing to nobody.

use sd_notify::NotifyState;

/// The process does its work now: others may count on it.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// Work was done just now. Called from a work loop, never from a timer that would go on beside a loop that hangs.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// The process is on its way out.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
