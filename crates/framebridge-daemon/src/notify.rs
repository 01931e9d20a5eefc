//! Words to the service manager that started us. Without one (no `NOTIFY_SOCKET`) each says nothing to nobody.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// A tenth of the units' `WatchdogSec`.
const PULSE: Duration = Duration::from_secs(1);

/// The process does its work now: others may count on it.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// The pulse of a work loop, for the service manager's watchdog: an arm of the loop's own `select!`, so that it stops
/// when the loop hangs, and never a task beside it that would go on.
#[derive(Debug)]
pub struct Pulse(Interval);

impl Pulse {
    /// One for a loop that starts now.
    pub fn new() -> Self {
        let mut interval = interval(PULSE);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self(interval)
    }

    /// Waits for the next beat, and passes it on. Cancel-safe.
    pub async fn beat(&mut self) {
        self.0.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
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
