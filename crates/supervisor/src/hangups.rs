//! What SIGHUP means: read the configuration again, or, where a terminal is closed that this process was started in, stop.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt as _};

use rustix::fs::OFlags;

/// What is wanted of us by a SIGHUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// Read the configuration again.
    Reload,
    /// The terminal is closed, and we were started in it: stop.
    Stop,
}

/// What the SIGHUP means that has just come to a process that was started in a terminal, or was not.
pub(crate) fn hangup(had_terminal: bool) -> Hangup {
    if had_terminal && !has_terminal() {
        Hangup::Stop
    } else {
        Hangup::Reload
    }
}

/// Whether there is a terminal that controls this process. One that was closed is none.
pub(crate) fn has_terminal() -> bool {
    let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open("/dev/tty")
        .is_ok()
}
