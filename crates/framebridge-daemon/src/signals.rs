//! SIGHUP, for those who may have been told to ignore it.

use std::{fs, future::pending, io};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGHUP's bit in the masks of `/proc/PID/status`.
const HANGUP_BIT: u64 = 1;

/// Comes each time that SIGHUP does. A process that was started with SIGHUP ignored, as by `nohup`, goes on ignoring it.
#[derive(Debug)]
pub struct Hangups(Option<Signal>);

impl Hangups {
    /// Catches SIGHUP from now on, but where it is ignored.
    ///
    /// # Errors
    /// The system refuses.
    pub fn catch() -> io::Result<Self> {
        if is_ignored() {
            return Ok(Self(None));
        }
        signal(SignalKind::hangup()).map(Some).map(Self)
    }

    /// The next one. Cancel-safe.
    pub async fn recv(&mut self) {
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        pending().await
    }
}

/// Whether the kernel throws SIGHUP away before this process sees it.
fn is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores_hangup(&status)
}

fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & HANGUP_BIT != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_hangup_is_read_from_the_mask_of_ignored_signals() {
        assert!(ignores_hangup("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"));
        assert!(!ignores_hangup("Name:\tx\nSigIgn:\t0000000000001000\nSigCgt:\t1\n"));
        assert!(!ignores_hangup(""));
    }
}
