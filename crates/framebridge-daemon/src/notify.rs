//! Tells the service manager that started this process how it is. Without one (no `NOTIFY_SOCKET`) every call does nothing.

use std::{
    env,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// A tenth of the units' `WatchdogSec`.
const PULSE: Duration = Duration::from_secs(1);

/// A loop without a round for this long hangs: far longer than any round takes.
const HANGS: Duration = Duration::from_secs(5);

/// When a work loop has done its last round, if one has begun.
static LAST_ROUND: Mutex<Option<Instant>> = Mutex::new(None);

/// Whether this process's work loop hangs. Without one, as before it begins, nothing does.
pub(crate) fn hangs() -> bool {
    let last = LAST_ROUND.lock().unwrap_or_else(PoisonError::into_inner);
    last.is_some_and(|last| last.elapsed() > HANGS)
}

/// Whether a service manager has started this process: it is not left alone then, whoever else is gone.
pub(crate) fn is_managed() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

/// The process does its work now: others may count on it.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// The pulse of a work loop: an arm of the loop's own `select!`, so that it stops when the loop hangs, and never a task
/// beside it that would go on. The service manager's watchdog is fed from it, and heartbeats to the supervisor end with it.
#[derive(Debug)]
pub struct Pulse(Interval);

impl Drop for Pulse {
    /// The loop is over, and what follows is the process's end.
    fn drop(&mut self) {
        LAST_ROUND.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

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
        LAST_ROUND
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(Instant::now());
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
